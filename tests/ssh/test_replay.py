"""Terminals played again, searched, exported and watched, by the command a person uses."""

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.hosts import Host
from tests.ssh_setting import LEAD, ROLES, SshSetting, running_ssh_gate
from tests.terminals import Typist, at_terminal

TASKS = """
kind: Task
name: admin
resource: target
for: {groups: [testers]}
permit:
  - shell: [open]
"""
HOSTILE = (
    r"printf '\033]52;c;eA==\007\033]0;owned\007\033[c\033[6n\033[?1000h\033[31mred-text\033[m\n'"
)


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, ROLES, TASKS, people=(LEAD,)) as found:
        yield found


@pytest.fixture(scope="module")
def session(place: SshSetting) -> str:
    """A session in which a few things were typed."""
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment, 60, 20) as typist:
        for line, answer in [(HOSTILE, "red-text"), ("stty size", "20 60"), ("exit 3", "logout")]:
            typist.until(r"\$ ")
            typist.type(line)
            typist.until(re.escape(line[-4:]))
            typist.type("\r")
            typist.until(answer)
        assert typist.ended() == 3
    found = place.newest_session("admin")
    place.recorded("admin")
    return found


def taskgate(
    place: SshSetting, *arguments: str, columns: int = 80, rows: int = 24
) -> AbstractContextManager[Typist]:
    """The command at a terminal of its own."""
    command = [*place.own.program, *arguments]
    return at_terminal(command, place.own.surroundings("operator"), columns, rows)


def test_a_terminal_is_played_as_it_was(place: SshSetting, session: str) -> None:
    with taskgate(place, "replay", session, "--speed", "50") as typist:
        assert typist.ended() == 0
        seen = typist.seen
    assert "\x1b[2J\x1b[1;20r\x1b[H" in seen
    assert "\x1b[31mred-text\x1b[m" in seen
    # Below it, the time and the keys; after it, the terminal is as before.
    assert "\x1b[21;1H\x1b[0;7m 0:00:0" in seen
    assert "typed: stty size" in seen
    assert seen.index("\x1b[?25h\x1b[r\x1b[21;1H\x1b[J") > seen.index("logout")
    assert "exit_status=3" in seen
    for hostile in ("\x1b]", "\x1b[c", "\x1b[6n", "\x1b[?1000h", "\x1b[?2004h"):
        assert hostile not in seen


def test_a_smaller_terminal_is_told_so(place: SshSetting, session: str) -> None:
    with taskgate(place, "replay", session, "--at-once", columns=50, rows=10) as typist:
        assert typist.ended() == 0
        assert "it was 60 by 20, larger than the 50 by 10 here" in typist.seen, typist.seen


def test_as_text_and_without_a_terminal(place: SshSetting, session: str) -> None:
    done = place.own.command("operator", "replay", session, "--at-once")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "    [1] | red-text" in lines
    assert "    [1] | 20 60" in lines
    assert "    [1] typed: stty size" in lines
    assert "\x1b" not in done.stdout
    with taskgate(place, "replay", session, "--at-once", "--text") as typist:
        assert typist.ended() == 0
        assert "[1] | 20 60\r\n" in typist.seen


def test_search_lists_where_a_text_was(place: SshSetting, session: str) -> None:
    done = place.own.command("operator", "replay", session, "--search", "STTY")
    found = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [what for _, what in found if what.startswith("[1] typed")] == ["[1] typed: stty size"]
    assert any("| " in what for _, what in found)
    assert all(float(offset) >= 0 for offset, _ in found)
    none = place.own.command("operator", "replay", session, "--search", "nowhere-in-it")
    assert none.returncode == 5


def test_an_asciicast_is_one(place: SshSetting, session: str) -> None:
    file = place.client / "out.cast"
    done = place.own.command("operator", "replay", session, "--asciicast", str(file))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o077 == 0
    header, *events = [json.loads(line) for line in file.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 60, 20)
    assert header["env"] == {"TERM": "xterm-256color"}
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    kinds = {kind for _, kind, _ in events}
    assert kinds == {"o", "i", "m"}
    assert [text for _, kind, text in events if kind == "i"][-2:] == ["stty size\r", "exit 3\r"]
    shown = "".join(text for _, kind, text in events if kind == "o")
    assert "red-text" in shown
    assert "\x1b]" not in shown
    # Nothing is written over.
    assert place.own.command("operator", "replay", session, "--asciicast", str(file)).returncode


def test_a_live_session_is_watched_and_cut(place: SshSetting) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment, 60, 20) as typist:
        typist.until(r"\$ ")
        session = place.newest_session("admin")
        with taskgate(place, "watch", session) as watcher:
            watcher.until(r"\$ ")
            typist.type("echo seen-$((40+2))\r")
            watcher.until("seen-42")
            place.own.ask("lead", "POST", f"/v1/sessions/{session}/terminate", {"why": "odd"})
            typist.until("the session was ended: odd")
            watcher.until("the session was ended: odd")
            assert watcher.ended() == 0
    log = place.own.command("operator", "audit", "search", "--text", "", "--json").stdout
    assert '"recording.read"' in log


def test_whoever_may_not_replay_may_not_watch(place: SshSetting, session: str) -> None:
    for word in ("replay", "watch"):
        done = place.own.command("lead", word, session)
        assert done.returncode == 4
        assert "this needs the right to replay" in done.stderr


def test_ctrl_c_leaves_the_watch_and_the_terminal_as_it_was(place: SshSetting) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment, 60, 20) as typist:
        typist.until(r"\$ ")
        session = place.newest_session("admin")
        with taskgate(place, "watch", session) as watcher:
            watcher.until(r"\$ ")
            watcher.process.send_signal(2)
            assert watcher.ended() == 130
            assert watcher.seen.endswith("\x1b[?25h\x1b[r\x1b[21;1H\x1b[J")
        typist.type("exit\r")
        assert typist.ended() == 0
