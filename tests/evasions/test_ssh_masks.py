"""Ways to bring a value past the masks of an SSH task, each tried by OpenSSH's client at a real
host: the user does not see it. What no detector can know stands at the end, so that nobody
believes more."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.masking.samples import PEM
from tests.recorded import contents
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: support
resource: target
for: {groups: [testers]}
permit:
  - run: ["sh HOME/script", "cat HOME/*", "gzip -c HOME/*", "head -c * HOME/*"]
  - terminal: [sh, cat]
  - see: ["HOME/**"]
mask:
  - {kinds: [credit_card, email, private_key], as: redact}
---
kind: Task
name: admin
resource: target
for: {groups: [testers]}
permit:
  - shell: [open]
mask:
  - {kinds: [credit_card, email, private_key], as: redact}
"""
CARD = "4012888888881881"
_SLOWLY = "for c in 4 0 1 2 8 8 8 8 8 8 8 8 1 8 8 1; do printf $c; sleep {}; done; echo"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS.replace("HOME", str(ssh_host.home))) as found:
        yield found


def seen(place: SshSetting, script: str, *options: str) -> str:
    """All that a script at the host shows."""
    path = place.home / "script"
    path.write_text(script + "\n")
    path.chmod(0o644)
    done = subprocess.run(
        [*place.arguments("support", *options), f"sh {path}"], capture_output=True, check=False,
        timeout=90, stdin=subprocess.DEVNULL, env=place.environment(place.grant("support")),
    )  # fmt: skip
    return (done.stdout + done.stderr).decode(errors="replace")


def digits_in(text: str) -> str:
    """What digits a person would read."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return "".join(str(int(c)) for c in plain if c.isdecimal())


@pytest.mark.parametrize("options", [(), ("-tt",)], ids=["command", "terminal"])
@pytest.mark.parametrize(
    "script",
    [
        f"echo {CARD}",
        "printf '4012\\033[31m8888\\033[1;32m8888\\033[m1881\\n'",
        "printf '40129\\b8888888\\b881881\\n'",
        "printf 'XXXX888888881881\\r4012\\n'",
        "printf '4012\\033[1C8888\\033[1C8888\\033[1C1881\\n'",
        "printf '4012\\033]0;a title\\0078888\\033[?25l88881881\\n'",
        "printf '4012\\033[7;7H8888\\033[7;11H88881881\\n'",
        "printf 4012; printf ' ' >&2; printf 8888; printf ' ' >&2; echo 88881881",
        "printf '\\357\\274\\224\\357\\274\\220\\357\\274\\221\\357\\274\\2228888 8888 1881\\n'",
        "printf '4012\\342\\200\\2138888\\342\\200\\21388881881\\n'",
        "printf '\\001\\002\\0034012\\0178888\\01688881881\\n'",
    ],
)
def test_a_card_is_not_shown_however_it_is_written(
    place: SshSetting, script: str, options: tuple[str, ...]
) -> None:
    text = seen(place, script, *options)
    assert "[masked:credit_card]" in text
    # A first digit that another was put over is all that may be left.
    assert len(digits_in(text)) <= 2, text


@pytest.mark.parametrize("options", [(), ("-tt",)], ids=["command", "terminal"])
def test_a_card_with_zero_bytes_in_it_is_not_shown(
    place: SshSetting, options: tuple[str, ...]
) -> None:
    text = seen(place, "printf '4012\\0008888\\00088881881\\n'", *options)
    assert ("[masked:credit_card]" if options else "the answer is no text") in text
    assert digits_in(text) in ("", "0"), text


@pytest.mark.parametrize("pause", ["0.01", "0.1", "0.5", "1"])
@pytest.mark.parametrize("options", [(), ("-tt",)], ids=["command", "terminal"])
def test_a_card_that_drips_shows_no_more_than_six_digits(
    place: SshSetting, pause: str, options: tuple[str, ...]
) -> None:
    text = seen(place, _SLOWLY.format(pause), *options)
    assert "[masked:credit_card]" in text
    assert CARD[:6].startswith(digits_in(text)), text


def test_halves_with_a_long_pause_between_them_are_no_way_round(place: SshSetting) -> None:
    text = seen(place, "printf 'to jane@'; sleep 3; printf example.; sleep 3; echo com")
    assert "example" not in text
    text = seen(place, "printf 401288888888; sleep 3; echo 1881")
    assert CARD[:6].startswith(digits_in(text)), text


@pytest.mark.parametrize(
    "script",
    [
        "cat {key}",
        "cat -n {key}",
        "sed 's/^/> /' {key}",
        "sed 's/MII/\\x1b[31mMII/' {key}",
        "head -n 3 {key}; echo and on",
        'while read -r line; do echo "$line"; sleep 0.3; done < {key}',
        "cat {key} >&2",
    ][:7],
)
@pytest.mark.parametrize("options", [(), ("-tt",)], ids=["command", "terminal"])
def test_a_private_key_is_not_shown_however_it_is_set(
    place: SshSetting, script: str, options: tuple[str, ...]
) -> None:
    lines = PEM.splitlines()
    body = ["MIIEowIBAAKC" * 5 + "ABCD"] * 4
    key = place.home / "id"
    key.write_text("\n".join([lines[0], *body, lines[-1], ""]))
    key.chmod(0o644)
    text = seen(place, script.format(key=key), *options)
    assert "[masked:private_key]" in text
    assert "MIIE" not in text, text


def test_what_is_compressed_or_fetched_as_a_file_is_refused(place: SshSetting) -> None:
    path = place.home / "cards"
    path.write_text(f"{CARD}\n" * 50)
    path.chmod(0o644)
    done = place.ssh("support", f"gzip -c {path}")
    assert done.returncode == 126
    assert "the answer is no text" in done.stderr
    got = place.client / "got"
    assert "files are not masked" in place.sftp("support", f"get {path} {got}").stderr
    assert not got.exists() or got.read_bytes() == b""


def test_no_record_holds_what_was_hidden(place: SshSetting) -> None:
    path = place.home / "cards"
    path.write_text(f"{CARD}\n" * 50)
    path.chmod(0o644)
    for command in (f"cat {path}", f"gzip -c {path}", f"head -c 9999 {path}"):
        place.ssh("support", command)
    place.recorded("support")
    for file, content in contents(place.own.directory).items():
        assert CARD.encode() not in content, file


@pytest.mark.parametrize("options", [("-tt",), ("-T",)], ids=["terminal", "none"])
def test_a_shell_shows_and_records_no_more(place: SshSetting, options: tuple[str, ...]) -> None:
    path = place.home / "cards"
    path.write_text(f"card {CARD}\n" * 3)
    path.chmod(0o644)
    done = subprocess.run(
        place.arguments("admin", *options), input=f"cat {path}; exit 3\n", check=False, timeout=90,
        capture_output=True, text=True, env=place.environment(place.grant("admin")),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("card [masked:credit_card]") == 3
    assert CARD not in done.stdout + done.stderr
    events = place.recorded("admin")
    shown = "".join(str(f.get("text")) for kind, f in events if kind == EventKind.TERMINAL_OUTPUT)
    assert shown.count("card [masked:credit_card]") == 3
    assert CARD not in str(events)
    (finished,) = [f for kind, f in events if kind == EventKind.REQUEST_FINISHED]
    assert finished["kinds"] == {"credit_card": 3}


@pytest.mark.parametrize(
    "script",
    [
        f"echo {CARD} | rev",
        f"echo {CARD} | base64",
        f"echo {CARD} | fold -w 8",
        "printf 40128888 >&2; echo 88881881",
        "printf '4012 8888 8888\\033[2K\\rthe rest is 1881\\n'",
    ],
)
def test_what_no_detector_knows_is_shown(place: SshSetting, script: str) -> None:
    """The limit that docs/ssh.md and docs/threat-model.md tell of."""
    assert "[masked" not in seen(place, script)
