"""What people see of a recording, and how fast."""

from pathlib import Path
from typing import Any

import pytest

from taskgate.model.event import Event, EventKind
from taskgate.recording.format import Entry
from taskgate.recording.reader import read_session
from taskgate.recording.render import render_entry
from taskgate.recording.replay import Step, plan_replay

from .build import TUESDAY, finished, journal, permitted, record


def entry(kind: EventKind, at: float = TUESDAY, **facts: Any) -> Entry:
    return Entry(1, at, kind.value, dict(facts), b"", b"")


def text(kind: EventKind, **facts: Any) -> str:
    return "\n".join(render_entry(entry(kind, **facts)))


def test_a_request_shows_statement_parameters_and_decision() -> None:
    shown = text(
        EventKind.REQUEST_PERMITTED,
        request=3,
        text="SELECT *\nFROM t\nWHERE a = $1",
        parameters=["it's", None],
        rule="sales-report/permit[0]",
        reason="weekly numbers",
        policy_version="abc",
    )
    assert shown == (
        "2026-01-06 09:00:00.000Z  [3] PERMIT by sales-report/permit[0]: weekly numbers\n"
        "    > SELECT *\n"
        "    > FROM t\n"
        "    > WHERE a = $1\n"
        "    $1 = 'it''s'\n"
        "    $2 = NULL\n"
        "    policy_version: abc"
    )


def test_an_end_shows_rows_masks_and_kinds() -> None:
    shown = text(
        EventKind.REQUEST_FINISHED,
        request=3,
        rows=1,
        masked={"sales-report/mask[0]": 7},
        kinds={"email": 2},
    )
    assert shown.endswith("[3] finished, 1 row, masked: 7 by sales-report/mask[0], found: 2 email")


def test_rows_are_shown_as_a_table() -> None:
    shown = text(
        EventKind.ROWS, request=3, columns=["id", "email"], rows=[["1", "a***"], ["22", None]]
    )
    assert [line.strip() for line in shown.split("\n")[1:]] == [
        "id | email",
        "1  | a***",
        "22 | NULL",
    ]


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        (
            EventKind.HOLD_APPROVED,
            {"approved_by": ["local:dora"]},
            "approved  approved_by=local:dora",
        ),
        (EventKind.HOLD_DENIED, {"by": "local:dora", "reason": "no"}, "refused  by=local:dora"),
        (EventKind.HOLD_EXPIRED, {}, "expired"),
        (EventKind.LOGIN, {"identity": "local:ann"}, "login  identity=local:ann"),
    ],
)
def test_holds_and_other_events_say_who(
    kind: EventKind, facts: dict[str, Any], expected: str
) -> None:
    assert expected in text(kind, **facts)


def test_what_was_cut_is_said() -> None:
    shown = text(
        EventKind.REQUEST_DENIED, text="SELECT", cut={"text": {"bytes": 9, "sha256": "ab"}}
    )
    assert "cut: text had 9 bytes, SHA-256 ab" in shown


EVIL = "\x1b]52;c;ZXZpbA==\x07\u202e\x9b0m\r"


@pytest.mark.parametrize("kind", list(EventKind))
def test_no_fact_reaches_the_terminal_raw(kind: EventKind) -> None:
    facts: dict[str, Any] = {
        "request": EVIL,
        "text": EVIL,
        "parameters": [EVIL, [EVIL], {EVIL: EVIL}],
        "rule": EVIL,
        "reason": EVIL,
        "columns": [EVIL],
        "rows": [[EVIL]],
        "masked": {EVIL: EVIL},
        "kinds": {EVIL: EVIL},
        "approval": {"by": EVIL},
        "policy_version": EVIL,
        "cut": {EVIL: {"bytes": EVIL, "sha256": EVIL}},
        EVIL: [EVIL],
    }
    for line in (*render_entry(entry(kind, **facts)),):
        assert line.isprintable(), repr(line)


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("value", [None, 0, "", [], {}, [[]], [None], {"a": None}, True, 1e300])
def test_no_event_is_too_odd_to_be_shown(kind: EventKind, value: object) -> None:
    names = ("request", "text", "parameters", "columns", "rows", "masked", "kinds", "cut", "rule")
    facts: dict[str, Any] = dict.fromkeys(names, value)
    assert render_entry(entry(kind, **facts))
    assert render_entry(entry(kind, at=1e300))


def test_a_replay_keeps_the_pace_and_cuts_silence() -> None:
    entries = [
        entry(EventKind.LOGIN, at=100.0),
        entry(EventKind.LOGIN, at=101.0),
        entry(EventKind.LOGIN, at=3700.0),
        # The clock was set back: nothing waits for it.
        entry(EventKind.LOGIN, at=50.0),
    ]
    assert [step.delay_s for step in plan_replay(entries)] == [0.0, 1.0, 2.0, 0.0]
    assert [s.delay_s for s in plan_replay(entries, speed=4)] == [0.0, 0.25, 2.0, 0.0]
    assert [s.delay_s for s in plan_replay(entries, max_idle_s=0)] == [0.0] * 4
    assert [s.delay_s for s in plan_replay(entries, speed=float("inf"))] == [0.0] * 4


@pytest.mark.parametrize(("speed", "idle"), [(0, 1), (-1, 1), (1, -1), (float("nan"), 1)])
def test_a_pace_that_makes_no_sense_is_refused(speed: float, idle: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        list(plan_replay([], speed=speed, max_idle_s=idle))


def test_an_event_of_several_lines_waits_once() -> None:
    entries = [entry(EventKind.LOGIN, at=0.0), Entry(2, 1.0, *_request())]
    steps = list(plan_replay(entries))
    assert [step.delay_s for step in steps] == [0.0, 1.0, 0.0]
    assert isinstance(steps[0], Step)


def _request() -> tuple[str, dict[str, Any], bytes, bytes]:
    return EventKind.REQUEST_PERMITTED.value, {"text": "SELECT 1"}, b"", b""


def test_a_whole_session_replays(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    recording.append(Event(EventKind.REQUEST_HELD, TUESDAY + 9, {"request": 9, "text": "UPDATE"}))
    recording.append(finished(9))
    recording.append(permitted(10))
    recording.seal(TUESDAY + 60)
    lines = [step.line for step in plan_replay(read_session(tmp_path, "s1"), speed=float("inf"))]
    assert "session.opened" in lines[0]
    assert any("identity: local:ann" in line for line in lines)
    assert any("[9] HOLD" in line for line in lines)
    assert "recording.sealed" in lines[-1]
