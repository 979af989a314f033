"""PuTTY's programs through the gate: plink, pscp, psftp of Debian's putty-tools."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.cluster import free_port
from tests.hosts import Host
from tests.ssh_clients import need
from tests.ssh_setting import SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: look
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "cat **", "head **", "printenv *"]
  - {see: ["HOME/putty/**"], change: ["HOME/putty/**"]}
---
kind: Task
name: open
resource: target
for: {groups: [testers]}
permit:
  - shell: [open]
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    need("plink", "putty-tools")
    with running_ssh_gate(ssh_host, TASKS.replace("HOME", str(ssh_host.home))) as found:
        ssh_host.run(f"mkdir -p {ssh_host.home}/putty")
        yield found


def putty(
    place: SshSetting, program: str, task: str, *arguments: str, stdin: str = "", batch: bool = True
) -> "subprocess.CompletedProcess[bytes]":
    """Signs in by the token in a file, or, without `batch`, asked on standard input."""
    token = place.grant(task)
    secret = place.client / "token"
    secret.write_text(token + "\n")
    given = ("-batch", "-pwfile", str(secret)) if batch else ()
    text = stdin if batch else f"{token}\n{stdin}"
    return run(place, program, task, *given, *arguments, text=text, key=gates_key(place))


def plink(
    place: SshSetting, task: str, *arguments: str, key: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    """Without a token."""
    return run(place, "plink", task, "-batch", *arguments, key=key or gates_key(place))


def run(
    place: SshSetting, program: str, task: str, *arguments: str, key: str, text: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    common = ("-P", str(place.port), "-l", task, "-hostkey", key, "-noagent")
    return subprocess.run(
        [program, *common, *arguments], input=text.encode(), capture_output=True, check=False,
        timeout=120, env={**place.environment("-"), "HOME": str(place.client)},
    )  # fmt: skip


def gates_key(place: SshSetting) -> str:
    known = (place.client / "known_hosts").read_text().split()
    return next(word for word in known if word.startswith("AAAA"))


@pytest.mark.parametrize("batch", [True, False])
def test_a_command(place: SshSetting, batch: bool) -> None:
    done = putty(place, "plink", "look", "localhost", "echo a  'b  c'", batch=batch)
    assert (done.returncode, done.stdout) == (0, b"a b  c\n"), done.stderr
    assert b"Keyboard-interactive authentication prompts" in done.stderr
    refused = putty(place, "plink", "look", "localhost", "rm x", batch=batch)
    assert refused.returncode == 126
    assert b"no rule of task look permits it" in refused.stderr


def test_megabytes_both_ways(place: SshSetting) -> None:
    done = putty(place, "plink", "look", "localhost", "head -c 9000000 /dev/zero")
    assert (done.returncode, len(done.stdout)) == (0, 9_000_000), done.stderr
    done = putty(place, "plink", "look", "localhost", "cat", stdin="x" * 3_000_000)
    assert (done.returncode, len(done.stdout)) == (0, 3_000_000), done.stderr


def test_its_own_requests_are_answered(place: SshSetting, tmp_path: Path) -> None:
    """Where it forwards as well it measures windows by a request that nobody knows, and goes on
    once that has failed (`winadj@putty.projects.tartarus.org`)."""
    log = tmp_path / "log"
    forward = ("-L", f"{free_port()}:localhost:1", "-sshlog", str(log))
    done = putty(place, "plink", "look", *forward, "localhost", "head -c 6000000 /dev/zero")
    assert (done.returncode, len(done.stdout)) == (0, 6_000_000), done.stderr
    said = log.read_text(errors="replace")
    # In the log's dump of bytes names are cut; the last ones may cross the channel's end.
    asked, failed = said.count("winadj@p"), said.count("SSH2_MSG_CHANNEL_FAILURE")
    assert 1 < failed <= asked
    assert said.count("SSH2_MSG_CHANNEL_SUCCESS") == 1  # to the command alone


def test_a_shell_with_a_terminal(place: SshSetting) -> None:
    done = putty(place, "plink", "open", "-t", "localhost", stdin="tty; echo $((40+2)); exit 3\n")
    assert b"42" in done.stdout, done.stderr
    assert b"/dev/pts/" in done.stdout
    assert done.returncode == 3


def test_new_keys_on_the_way(place: SshSetting) -> None:
    """PuTTY changes its keys by itself after so much data."""
    session = place.client / ".putty" / "sessions" / "often"
    session.parent.mkdir(parents=True, exist_ok=True)
    session.write_text("HostName=localhost\nProtocol=ssh\nRekeyBytes=1M\n")
    done = putty(place, "plink", "look", "-v", "-load", "often", "head -c 6000000 /dev/zero")
    assert (done.returncode, len(done.stdout)) == (0, 6_000_000), done.stderr
    assert b"Initiating key re-exchange" in done.stderr


@pytest.mark.parametrize("program", ["pscp", "psftp"])
def test_files(place: SshSetting, tmp_path: Path, program: str) -> None:
    there = f"{place.home}/putty"
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(os.urandom(3_000_000))
    if program == "pscp":
        sent = putty(place, "pscp", "look", "-sftp", str(up), f"localhost:{there}/{program}")
        got = putty(place, "pscp", "look", f"localhost:{there}/{program}", str(down))
        assert (sent.returncode, got.returncode) == (0, 0), sent.stderr + got.stderr
    else:
        batch = tmp_path / "batch"
        batch.write_text(
            f"cd {there}\nput {up} psftp\nls\nchmod 600 psftp\nget psftp {down}\nmv psftp p2\n"
            "mkdir d\nrmdir d\nrm p2\nquit\n"
        )
        done = putty(place, "psftp", "look", "-b", str(batch), "localhost")
        assert done.returncode == 0, done.stdout + done.stderr
    assert down.read_bytes() == up.read_bytes()
    refused = putty(place, "pscp", "look", "localhost:/etc/passwd", str(tmp_path / "passwd"))
    assert refused.returncode != 0
    assert not (tmp_path / "passwd").exists()


def test_a_registered_key_of_puttygen(place: SshSetting, tmp_path: Path) -> None:
    private, public = tmp_path / "key.ppk", tmp_path / "key.pub"
    making = ("puttygen", "-t", "ed25519", "--new-passphrase", "/dev/null", "-o", private)
    subprocess.run(making, check=True, capture_output=True)
    subprocess.run(
        ["puttygen", private, "-O", "public-openssh", "-o", public], check=True, capture_output=True
    )
    opened = tmp_path / "key"
    subprocess.run(
        ["puttygen", private, "-O", "private-openssh", "-o", opened],
        check=True,
        capture_output=True,
    )
    assert place.own.command("operator", "keys", "add", str(public)).returncode == 0
    opened.unlink()
    place.grant("look")
    done = plink(place, "look", "-i", str(private), "localhost", "echo by key")
    assert (done.returncode, done.stdout) == (0, b"by key\n"), done.stderr


def test_a_key_that_is_not_the_gates(place: SshSetting) -> None:
    done = plink(place, "look", "localhost", "echo x", key="SHA256:" + "A" * 43)
    assert done.returncode != 0
    assert done.stdout == b""
