"""Ways to be unseen, or to see what one may not, by a terminal."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from taskgate.demo.gate import Person
from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host
from tests.terminals import at_terminal

__all__ = ["ssh_host"]

TASKS = """
kind: Role
name: watchers
for: {groups: [watchers]}
may: [audit, replay]
---
kind: Role
name: administrators
for: {groups: [admins]}
may: [administer]
---
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
WATCHER = Person("watcher", "watches", ("watchers",))
ADMIN = Person("boss", "administers", ("admins",))
# What attacks whoever sees it: a clipboard filled, a title, answers as if typed, the mouse, a link.
ATTACKS = (
    r"\033]52;c;cm0gLXJmIC8K\007",
    r"\033]0;owned\007",
    r"\033[c",
    r"\033[6n",
    r"\033[21t",
    r"\033P$q\042p\033\\",
    r"\033[?1000h",
    r"\033[?2004h",
    r"\033]8;;http://x/\007",
    r"\033[5i",
    r"\302\2330c",
)
SECRET = "hunter2-pazz"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(WATCHER, ADMIN)) as found:
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
        # What is typed before the prompt is hidden too, and would be counted.
        typist.until(r"\$ ")
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


@pytest.mark.parametrize("arguments", [(), ("--text",)], ids=["played", "as text"])
def test_what_a_host_prints_does_not_attack_whoever_replays_it(
    place: SshSetting, arguments: tuple[str, ...]
) -> None:
    place.ssh("admin", f"printf 'before{''.join(ATTACKS)}after\\n'", "-tt")
    session = place.newest_session("admin")
    place.recorded("admin")
    command = [*place.own.program, "replay", session, "--at-once", *arguments]
    with at_terminal(command, place.own.surroundings("watcher")) as typist:
        assert typist.ended() == 0
        seen = typist.seen
    assert "beforeafter" in seen
    # The request is told with its text, which names them; what was printed is not passed.
    for begun in (
        "\x1b]",
        "\x1bP",
        "\x1b[c",
        "\x1b[6n",
        "\x1b[21t",
        "\x1b[?1000",
        "\x1b[?2004",
        "\x1b[5i",
        "\x9b",
    ):
        assert begun not in seen


def test_whoever_loses_the_right_to_replay_watches_no_longer(place: SshSetting) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment) as typist:
        typist.until(r"\$ ")
        session = place.newest_session("admin")
        command = [*place.own.program, "watch", session, "--text"]
        with at_terminal(command, place.own.surroundings("watcher")) as watcher:
            watcher.until("terminal 80 by 24")
            place.own.ask("boss", "POST", "/v1/users/watcher/groups", {"groups": []})
            watcher.ended()
        typist.type("echo not-watched\r")
        typist.until("not-watched\r\n")
        assert "not-watched" not in watcher.seen
    place.own.ask("boss", "POST", "/v1/users/watcher/groups", {"groups": ["watchers"]})


def test_that_a_session_is_watched_is_recorded_first(place: SshSetting) -> None:
    place.ssh("admin", "id", "-tt")
    session = place.newest_session("admin")
    place.recorded("admin")
    place.own.sign_in(WATCHER)
    assert place.own.command("watcher", "watch", session, "--json").returncode == 0
    found = place.own.ask("watcher", "GET", "/v1/audit/search?text=&limit=50")["entries"]
    read = [row for row in found if row["event"] == "recording.read"]
    assert read, found
    assert "watcher" in read[0]["who"]


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
