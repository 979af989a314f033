"""The tier `open`: a shell at the host, and any command; recorded, not judged."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from taskgate.model.event import EventKind
from taskgate.model.limits import (
    MAX_PAGE_BYTES,
    MAX_RECORDED_TERMINAL_BYTES,
    MIB,
)
from tests.hosts import Host
from tests.patience import eventually, within
from tests.ssh_setting import LEAD, ROLES, SshSetting, running_ssh_gate
from tests.terminals import Typist, at_terminal

TASKS = """
kind: Task
name: admin
resource: target
for: {groups: [testers]}
permit:
  - shell: [open]
  - run: ["id"]
deny:
  - {run: ["rm **"], reason: nothing is removed}
hold:
  - run: ["reboot **"]
    for: {groups: [leads], people: 1, within: 1m}
---
kind: Task
name: asked
resource: target
for: {groups: [testers]}
hold:
  - shell: [open]
    for: {groups: [leads], people: 1, within: 1m}
---
kind: Task
name: kept
resource: target
for: {groups: [testers]}
permit:
  - run: ["seq *", "cat"]
record: {output: true}
---
kind: Task
name: none
resource: target
for: {groups: [testers]}
permit:
  - run: ["id"]
deny:
  - {shell: ["*"], reason: no shells here}
"""


# As it is written, a third longer.
FLOOD = "head -c 90000000 /dev/zero"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, ROLES, TASKS, people=(LEAD,)) as found:
        yield found


def shown(events: list[tuple[str, dict[str, Any]]]) -> bytes:
    """All terminal output of a recording, in order."""
    return b"".join(
        facts["text"].encode() if "text" in facts else base64.b64decode(facts["base64"])
        for kind, facts in events
        if kind == EventKind.TERMINAL_OUTPUT
    )


def typed(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """The lines that were kept of what was typed."""
    found = (f for kind, f in events if kind == EventKind.TERMINAL_INPUT)
    return [facts["text"] for facts in found if "text" in facts]


def facts_of(events: list[tuple[str, dict[str, Any]]], wanted: EventKind) -> dict[str, Any]:
    return next(facts for kind, facts in events if kind == wanted)


def keys(typist: Typist, text: str) -> None:
    """Types one key after the other, each once the one before was shown."""
    for key in text:
        typist.type(key)
        typist.until(re.escape(key))
    typist.type("\r")


def test_a_shell_at_a_terminal_is_recorded_as_it_was_seen(place: SshSetting) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment, 91, 27) as typist:
        typist.until(r"\$ ")
        keys(typist, "stty size")
        typist.until("27 91\r\n")
        typist.until(r"\$ ")
        # At its prompt, bash would paint anew in the midst of the keys.
        keys(typist, "echo g''o; head -1 >/dev/null")
        typist.until("go\r\n")
        typist.resize(100, 30)
        keys(typist, "x")
        typist.until(r"\$ ")
        keys(typist, "echo $((6*7))")
        typist.until("42\r\n")
        typist.until(r"\$ ")
        keys(typist, "exit 3")
        assert typist.ended() == 3
    events = place.recorded("admin")
    started = facts_of(events, EventKind.TERMINAL_STARTED)
    assert started["tier"] == "open"
    assert (started["columns"], started["rows"]) == (91, 27)
    assert started["term"] == "xterm-256color"
    assert b"27 91\r\n" in shown(events)
    assert typed(events) == [
        "stty size",
        "echo g''o; head -1 >/dev/null",
        "x",
        "echo $((6*7))",
        "exit 3",
    ]
    resized = facts_of(events, EventKind.TERMINAL_RESIZED)
    assert (resized["columns"], resized["rows"]) == (100, 30)
    finished = facts_of(events, EventKind.REQUEST_FINISHED)
    assert finished["exit_status"] == 3
    assert shown(events).decode() in typist.seen
    permitted = facts_of(events, EventKind.REQUEST_PERMITTED)
    assert [(a["verb"], a["object"]) for a in permitted["actions"]] == [("shell", "open")]


def test_a_shell_without_a_terminal_runs_a_script(place: SshSetting) -> None:
    done = subprocess.run(
        place.arguments("admin", "-T"), input="echo a-$((1+1))\nexit 4\n", text=True, check=False,
        capture_output=True, timeout=90, env=place.environment(place.grant("admin")),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "a-2\n"), done.stderr
    events = place.recorded("admin")
    assert shown(events) == b"a-2\n"
    assert typed(events) == []


def test_any_command_runs_as_it_is(place: SshSetting) -> None:
    mark = place.host.mark()
    done = place.ssh("admin", "bash -s", stdin='for i in 1 2; do echo "n$i"; done')
    assert (done.returncode, done.stdout) == (0, "n1\nn2\n"), done.stderr
    assert place.ssh("admin", "echo   $((1+1)) 'x'").stdout == "2 x\n"
    assert place.host.commands_since(mark) == ["bash -s", "echo   $((1+1)) 'x'"]
    events = place.recorded("admin")
    actions = facts_of(events, EventKind.REQUEST_PERMITTED)["actions"]
    assert [(a["verb"], a["object"], a.get("via")) for a in actions] == [
        ("shell", "open", None),
        ("script", "expansion", "open"),
        ("run", "echo ? x", "expansion"),
    ]


def test_a_command_with_a_rule_of_its_own_needs_no_tier(place: SshSetting) -> None:
    assert place.ssh("admin", "id").returncode == 0
    actions = facts_of(place.recorded("admin"), EventKind.REQUEST_PERMITTED)["actions"]
    assert [a["verb"] for a in actions] == ["run"]


@pytest.mark.parametrize("command", ["rm x", "for f in *; do rm $f; done", "echo a; /bin/rm x"])
def test_a_deny_counts_for_what_can_be_seen(place: SshSetting, command: str) -> None:
    mark = place.host.mark()
    done = place.ssh("admin", command)
    assert done.returncode == 126
    assert "nothing is removed" in done.stderr
    assert place.host.commands_since(mark) == []


def test_a_hold_of_a_command_counts(place: SshSetting) -> None:
    mark = place.host.mark()
    with place.start("admin", "echo $((1+1)); reboot now") as running:
        waiting = place.waiting("admin")
        assert place.host.commands_since(mark) == []
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/deny", {"reason": "no"})
        _, said = running.communicate(timeout=60)
    assert running.returncode == 126, said
    assert place.host.commands_since(mark) == []


def test_a_held_shell_waits_for_its_approval(place: SshSetting) -> None:
    environment = place.environment(place.grant("asked"))
    with at_terminal(place.arguments("asked", "-tt"), environment) as typist:
        waiting = place.waiting("asked")
        typist.until("held for approval")
        typist.type("echo typed-too-early\r")
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        typist.until("[^ ]typed-too-early\r\n")
        typist.type("exit\r")
        assert typist.ended() == 0
    kinds = [kind for kind, _ in place.recorded("asked")]
    assert kinds.index(EventKind.HOLD_APPROVED) < kinds.index(EventKind.TERMINAL_STARTED)


def test_a_denied_shell_names_its_rule(place: SshSetting) -> None:
    done = subprocess.run(
        place.arguments("none", "-tt"), input="", text=True, check=False, capture_output=True,
        timeout=90, env=place.environment(place.grant("none")),
    )  # fmt: skip
    assert done.returncode == 126
    assert "no shells here" in done.stderr


def test_a_command_at_a_terminal_is_recorded_too(place: SshSetting) -> None:
    arguments = [*place.arguments("admin", "-tt"), "printf '\\377\\303\\251\\n'; id >&2"]
    subprocess.run(
        arguments, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=90,
        env=place.environment(place.grant("admin")),
    )  # fmt: skip
    events = place.recorded("admin")
    assert shown(events).startswith(b"\xff\xc3\xa9\r\nuid=")
    assert facts_of(events, EventKind.TERMINAL_STARTED)["tier"] == "open"


def test_a_command_without_a_terminal_keeps_its_counts_alone(place: SshSetting) -> None:
    place.ssh("admin", "seq 3")
    events = place.recorded("admin")
    assert not shown(events)
    assert facts_of(events, EventKind.REQUEST_FINISHED)["bytes_to_client"] == 6


def test_the_answer_of_a_command_is_kept_where_the_task_says_so(place: SshSetting) -> None:
    assert place.ssh("kept", "seq 3").stdout == "1\n2\n3\n"
    events = place.recorded("kept")
    assert shown(events) == b"1\n2\n3\n"
    assert "columns" not in facts_of(events, EventKind.TERMINAL_STARTED)
    done = place.ssh("kept", "cat", stdin="not kept of what comes in, but of what goes out\n")
    assert done.stdout.startswith("not kept")
    events = place.recorded("kept")
    assert shown(events).startswith(b"not kept")
    assert typed(events) == []


def test_explain_tells_of_the_open_tier(place: SshSetting) -> None:
    def explained(text: str) -> str:
        done = place.own.command("operator", "policy", "explain", "--task", "admin", text)
        return str(done.stdout)

    assert explained("ls -l *").startswith("PERMIT  ")
    assert "under shell: open; what can be seen of it is advisory" in explained("ls -l *")
    assert explained("rm x").startswith("DENY  ")
    assert explained("reboot now").startswith("HOLD  ")
    assert "sent to the host as: id" in explained("id")


def test_a_command_typed_into_a_shell_is_found_by_search(place: SshSetting) -> None:
    environment = place.environment(place.grant("admin"))
    with at_terminal(place.arguments("admin", "-tt"), environment) as typist:
        typist.until(r"\$ ")
        keys(typist, "echo searched-for-this")
        typist.until(r"\$ ")
    session = place.newest_session("admin")
    place.recorded("admin")
    found = place.own.ask("operator", "GET", "/v1/audit/search?text=searched-for-this")["entries"]
    assert [(row["session"], row["event"]) for row in found] == [(session, "terminal.input")]


@pytest.mark.cap("MAX_RECORDED_TERMINAL_BYTES", "MAX_PAGE_BYTES")
def test_a_flood_ends_the_terminal_in_constant_memory(place: SshSetting) -> None:
    gateway = psutil.Process(place.own.pid)
    before = gateway.memory_info().rss
    done = subprocess.run(
        [*place.arguments("admin", "-tt"), FLOOD], check=False, timeout=180,
        stdin=subprocess.DEVNULL, capture_output=True,
        env=place.environment(place.grant("admin")),
    )  # fmt: skip
    assert done.returncode == 125
    assert b"the recording of this session's terminals is full" in done.stdout + done.stderr
    assert gateway.memory_info().rss - before < 64 * MIB
    eventually(lambda: not place.host.runs(FLOOD))
    events = place.recorded("admin")
    assert "full" in facts_of(events, EventKind.LIMIT_REACHED)["reason"]
    seen = shown(events)
    # What was seen was recorded, and no byte more was shown.
    assert done.stdout.startswith(seen)
    assert not done.stdout[len(seen) :].strip(b"\0").startswith(b"\0")
    raw = next(place.own.recordings.rglob(f"*{place.newest_session('admin')}*"))
    assert raw.stat().st_size < MAX_RECORDED_TERMINAL_BYTES + MIB
    page = place.own.ask("operator", "GET", f"/v1/recordings/{place.newest_session('admin')}")
    assert MAX_PAGE_BYTES < len(json.dumps(page)) < MAX_PAGE_BYTES + 2 * MIB
    assert page["next"] == page["events"][-1]["sequence"]


def test_a_terminated_session_ends_within_a_second_and_says_why(place: SshSetting) -> None:
    def terminated() -> float:
        environment = place.environment(place.grant("admin"))
        with at_terminal(place.arguments("admin", "-tt"), environment) as typist:
            typist.until(r"\$ ")
            keys(typist, "sleep 600")
            session = place.newest_session("admin")
            began = time.monotonic()
            place.own.ask("lead", "POST", f"/v1/sessions/{session}/terminate", {"why": "enough"})
            typist.until("the session was ended: enough")
            assert typist.ended() != 0
            return time.monotonic() - began

    within(2, terminated)
    finished = facts_of(place.recorded("admin"), EventKind.REQUEST_FINISHED)
    assert finished["reason"] == "the session was ended: enough"
