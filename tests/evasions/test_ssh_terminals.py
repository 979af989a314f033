"""Ways to be unseen, or to see what one may not, by a terminal."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host
from tests.terminals import at_terminal

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: admin
resource: target
for: {groups: [testers]}
permit:
  - shell: [open]
  - env: [TG_A]
deny:
  - {run: ["rm **", "sudo **"], reason: not here}
"""
SECRET = "hunter2-pazz"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS) as found:
        yield found


@pytest.mark.parametrize(
    "prompt",
    ["read -s -p 'Secret: ' x", "stty -echo; printf 'Secret: '; head -1 >/dev/null; stty echo"],
    ids=["a raw terminal", "a cooked one"],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["pasted", "typed"])
def test_a_password_is_not_in_the_recording(place: SshSetting, prompt: str, at_once: bool) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment) as typist:
        typist.until(r"\$ ")
        typist.type(f"{prompt}; echo ok-$((1+1))\r")
        typist.until("[^']Secret: ")
        for part in [SECRET] if at_once else SECRET:
            typist.type(part)
        typist.type("\r")
        typist.until("ok-2")
        typist.type("exit\r")
        assert typist.ended() == 0
    session = place.newest_session("admin")
    events = place.recorded("admin")
    hidden = [f["hidden"] for k, f in events if k == EventKind.TERMINAL_INPUT and "hidden" in f]
    assert len(SECRET) <= sum(hidden) <= len(SECRET) + 2
    raw = next(place.own.recordings.rglob(f"*{session}*")).read_bytes()
    assert SECRET.encode() not in raw
    # Neither in pieces: no event holds even a part of it.
    assert not re.search(rb'"text":"(hunt|[^"]*pazz)', raw)


def test_variables_are_left_out_of_an_open_shell_too(place: SshSetting) -> None:
    arguments = place.arguments("admin", "-T", "-o", "SetEnv=TG_A=1 TG_B=2 BASH_ENV=/tmp/x")
    done = subprocess.run(
        arguments, input='echo "$TG_A-$TG_B-$BASH_ENV"\n', text=True, check=True, timeout=90,
        capture_output=True, env=place.environment(place.grant("admin")),
    )  # fmt: skip
    assert done.stdout == "1--\n"
    finished = next(f for k, f in place.recorded("admin") if k == EventKind.REQUEST_FINISHED)
    assert finished["variables_left_out"] == ["TG_B", "BASH_ENV"]


@pytest.mark.parametrize(
    "command",
    ["rm x", "bash -c 'rm x'", "if true; then sudo id; fi", "x=$(rm y)", "echo a | xargs rm"],
)
@pytest.mark.parametrize("terminal", [(), ("-tt",)], ids=["", "at a terminal"])
def test_a_deny_is_not_escaped_by_the_open_tier(
    place: SshSetting, command: str, terminal: tuple[str, ...]
) -> None:
    mark = place.host.mark()
    done = place.ssh("admin", command, *terminal)
    assert done.returncode == 126, done
    assert "not here" in done.stderr + done.stdout
    assert place.host.commands_since(mark) == []


def test_what_is_no_shell_text_is_refused_where_denies_could_not_see_it(place: SshSetting) -> None:
    mark = place.host.mark()
    done = place.ssh("admin", "rm x ((")
    assert done.returncode == 126, done
    assert place.host.commands_since(mark) == []


def test_a_terminal_that_cannot_be_recorded_shows_nothing(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASKS) as place:
        environment = place.environment(place.grant("admin"))
        with at_terminal(place.arguments("admin", "-tt"), environment) as typist:
            typist.until(r"\$ ")
            before = len(typist.seen)
            place.limit_file_size()
            typist.type("echo un''recorded\r")
            assert typist.ended() != 0
            assert "unrecorded" not in typist.seen[before:]
