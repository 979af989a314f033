"""Masks on what commands answer: OpenSSH's client, a real sshd, and what the recording says."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.masking.samples import JWT, PEM
from tests.patience import eventually
from tests.readable import is_readable
from tests.ssh_setting import SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: support
resource: target
for: {groups: [testers]}
permit:
  - run: ["cat HOME/*", "cat", "sh HOME/script", "gzip -c HOME/*", "id", "head -c * HOME/*"]
  - terminal: [cat, sh]
  - {see: ["HOME/**"], change: ["HOME/**"]}
mask:
  - {kinds: [credit_card, email, jwt, private_key], as: redact}
---
kind: Task
name: partial
resource: target
for: {groups: [testers]}
permit:
  - run: ["cat HOME/*"]
mask:
  - {kinds: [credit_card], as: partial}
  - {kinds: [email], as: hash}
limits: {bytes: 1kB}
---
kind: Task
name: through
resource: target
for: {groups: [testers]}
permit:
  - run: ["cat HOME/*", "gzip -c HOME/*"]
  - {see: ["HOME/**"]}
mask:
  - {kinds: [credit_card], as: redact}
binary: pass
---
kind: Role
name: auditors
for: {groups: [testers]}
may: [audit]
"""
CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS.replace("HOME", str(ssh_host.home))) as found:
        yield found


def put(place: SshSetting, name: str, content: bytes) -> Path:
    """A file at the host."""
    path = place.home / name
    path.write_bytes(content)
    path.chmod(0o644)
    return path


def finished(place: SshSetting, task: str) -> dict[str, Any]:
    (facts,) = [f for kind, f in place.recorded(task) if kind == EventKind.REQUEST_FINISHED]
    return facts


def test_values_are_hidden_in_an_answer_and_counted(place: SshSetting) -> None:
    text = f"card {CARD}, mail jane@example.com\n{JWT}\n\x1b[31m4111 11\x1b[0m11 1111 1111\n"
    path = put(place, "values", text.encode())
    done = place.ssh("support", f"cat {path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "card [masked:credit_card], mail [masked:email]\n[masked:jwt]\n"
        "\x1b[31m[masked:credit_card]\x1b[0m\n"
    )
    facts = finished(place, "support")
    assert facts["kinds"] == {"credit_card": 2, "email": 1, "jwt": 1}
    assert facts["masked"] == {"support/mask[0]": 4}
    assert facts["bytes_to_client"] == len(done.stdout)


def test_a_private_key_is_hidden_whole(place: SshSetting) -> None:
    path = put(place, "key", f"before\n{PEM}\nafter\n".encode())
    done = place.ssh("support", f"cat {path}")
    assert done.stdout == "before\n[masked:private_key]\nafter\n"


def test_standard_error_is_masked_too(place: SshSetting) -> None:
    script = put(place, "script", f"echo {CARD} >&2; echo {CARD}; exit 3\n".encode())
    done = place.ssh("support", f"sh {script}")
    assert done.returncode == 3
    assert (done.stdout, done.stderr) == ("[masked:credit_card]\n",) * 2


def test_other_transforms_and_the_limit_count_what_the_client_is_given(place: SshSetting) -> None:
    path = put(place, "mail", f"{CARD} jane@example.com\n".encode())
    first = place.ssh("partial", f"cat {path}").stdout
    shown, hashed = first.split()
    assert shown == "****1111"
    assert len(hashed) == 32
    assert place.ssh("partial", f"cat {path}").stdout == first
    long = put(place, "long", (CARD + "\n").encode() * 100)
    assert place.ssh("partial", f"cat {long}").returncode == 0


def test_what_has_no_values_passes_as_it_is(place: SshSetting) -> None:
    data = "".join(f"line {n} of «text» \x1b[1mbold\x1b[m\r\n" for n in range(20_000)).encode()
    path = put(place, "clean", data + b"no end of line")
    done = subprocess.run(
        [*place.arguments("support"), f"cat {path}"], capture_output=True, check=True, timeout=90,
        stdin=subprocess.DEVNULL, env=place.environment(place.grant("support")),
    )  # fmt: skip
    assert done.stdout == data + b"no end of line"
    assert "kinds" not in finished(place, "support")


def test_a_prompt_comes_before_its_answer_and_an_echo_before_the_next_key(
    place: SshSetting,
) -> None:
    put(place, "script", b'printf "Name? "; read name; printf "Hello $name"; read x\n')
    said = (("", "Name? "), ("J", "J"), ("o", "o"), ("\r", "\r\nHello Jo"))
    with place.start("support", f"sh {place.home}/script", "-tt") as running:
        # Each waits for the one before: nothing else would make it come.
        for typed, shown in said:
            _type(running, typed)
            assert _read(running, len(shown)) == shown
        _type(running, "\r")
        running.wait(60)


def _type(running: "subprocess.Popen[str]", text: str) -> None:
    assert running.stdin is not None
    running.stdin.write(text)
    running.stdin.flush()


def _read(running: "subprocess.Popen[str]", count: int) -> str:
    """So many characters of the answer, as they come."""
    assert running.stdout is not None
    file, got = running.stdout.fileno(), b""
    while len(got) < count:
        assert is_readable(file, 60), got
        got += os.read(file, count - len(got))
    return got.decode()


def test_what_is_no_text_is_refused_unless_the_task_lets_it_pass(place: SshSetting) -> None:
    path = put(place, "cards", (CARD + "\n").encode() * 1000)
    done = place.ssh("support", f"gzip -c {path}")
    assert (done.returncode, done.stdout) == (126, "")
    assert "the answer is no text" in done.stderr
    assert "support/mask[0]" in done.stderr
    assert finished(place, "support")["binary"] == "refused"
    passed = subprocess.run(
        [*place.arguments("through"), f"gzip -c {path}"], capture_output=True, check=True,
        timeout=90, stdin=subprocess.DEVNULL, env=place.environment(place.grant("through")),
    )  # fmt: skip
    assert passed.stdout.startswith(b"\x1f\x8b")
    assert finished(place, "through")["binary"] == "passed"


def test_files_are_read_by_commands_unless_the_task_lets_them_pass(
    place: SshSetting, tmp_path: Path
) -> None:
    path = put(place, "file", f"{CARD}\n".encode())
    got = tmp_path / "got"
    done = place.sftp("support", f"get {path} {got}")
    assert done.returncode == 1
    assert "the task masks what it shows, and files are not masked" in done.stderr
    assert not got.exists() or got.read_text() == ""
    assert place.scp("support", f"HOST:{path}", str(got)).returncode != 0
    assert place.sftp("support", f"put {__file__} {place.home}/new").returncode == 0
    assert place.sftp("through", f"get {path} {got}").returncode == 0
    assert got.read_text() == f"{CARD}\n"


def test_an_audit_finds_who_was_shown_which_kind(place: SshSetting) -> None:
    path = put(place, "found", f"{CARD}\n".encode())
    place.ssh("support", f"cat {path}")
    place.recorded("support")
    search = "/v1/audit/search?kind=credit_card&limit=1000"
    eventually(lambda: str(path) in str(place.own.ask("operator", "GET", search)))
