"""Acting without a record of it. Each case: what cannot be recorded does not happen."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from taskgate.model import limits
from taskgate.model.audit import AuditQuery, matches
from taskgate.model.errors import NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.recording.index import rebuild
from taskgate.recording.reader import read_session
from taskgate.recording.replay import plan_replay
from tests.recording.build import TUESDAY, Disk, journal, permitted, record


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_filling_the_disk_buys_no_unrecorded_statement(tmp_path: Path, code: int) -> None:
    disk = Disk(os.write)
    recording = record(journal(tmp_path, write=disk.write), "s1")
    disk.fail = OSError(code, os.strerror(code))
    recording.append(permitted(4))
    with pytest.raises(NotRecorded):
        recording.flush()
    # Emptying it again does not bring the session back either.
    disk.fail = None
    with pytest.raises(NotRecorded):
        recording.append(permitted(5))


def test_a_login_or_vote_that_cannot_be_recorded_does_not_count(tmp_path: Path) -> None:
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    disk.fail = OSError(errno.ENOSPC, "full")
    with pytest.raises(NotRecorded):
        log.gateway_log.append(Event(EventKind.APPROVAL_VOTED, TUESDAY, {"identity": "local:dora"}))


def test_a_statement_too_large_to_record_still_shows_what_it_touches(tmp_path: Path) -> None:
    """The object is behind megabytes of comment, and of parameters."""
    recording = record(journal(tmp_path), "s1", requests=0)
    text = "/*" + "x" * limits.MAX_STATEMENT_BYTES + "*/ SELECT email FROM sales.customers"
    recording.append(permitted(1, text=text, parameters=["y" * 100_000] * 500))
    recording.flush()
    assert any(matches(e, AuditQuery(object="customers.email")) for e in rebuild(tmp_path))
    *_, last = read_session(tmp_path, "s1")
    assert last.facts["cut"]["text"]["bytes"] == len(text)


def test_a_statement_that_touches_too_much_to_record_does_not_run(tmp_path: Path) -> None:
    recording = record(journal(tmp_path), "s1", requests=0)
    actions: list[dict[str, Any]] = [
        {"verb": "select", "object": f"s.t{n}", "columns": ["a" * 60]} for n in range(20_000)
    ]
    with pytest.raises(NotRecorded):
        recording.append(permitted(1, actions=actions))


@pytest.mark.parametrize("text", ["SELECT '\ud800'", "SELECT '\x00'", "SELECT '\n{\"n\":3}'"])
def test_a_statement_with_odd_characters_is_recorded(tmp_path: Path, text: str) -> None:
    """No character breaks a line, ends it early, or makes the event unwritable."""
    recording = record(journal(tmp_path), "s1", requests=0)
    recording.append(permitted(1, text=text))
    recording.append(permitted(2))
    recording.flush()
    read = list(read_session(tmp_path, "s1"))
    assert [entry.number for entry in read] == [1, 2, 3]
    assert read[1].facts["text"] == text.encode("utf-8", "backslashreplace").decode()


def test_a_statement_cannot_add_an_event_of_its_own(tmp_path: Path) -> None:
    recording = record(journal(tmp_path), "s1", requests=0)
    forged = '","h":"' + "0" * 64 + '"}\n{"n":3,"at":1.0,"kind":"hold.approved","facts":{}}'
    recording.append(permitted(1, text=forged))
    recording.flush()
    assert [e.kind for e in read_session(tmp_path, "s1")] == ["session.opened", "request.permitted"]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 --\x1b[1A\x1b[2KSELECT 2",
        "SELECT 1 --\r                          \rSELECT 2",
        "SELECT 1 /*\u202e*/ TCELES",
        "SELECT 1 --\x1b]52;c;cm0gLXJmIH4=\x07",
        "SELECT 1 --\x9b2J",
        "SELECT 1 --\n2026-01-06 09:00:00.000Z  [1] DENY",
    ],
)
def test_a_statement_does_not_rewrite_what_the_auditor_sees(tmp_path: Path, text: str) -> None:
    recording = record(journal(tmp_path), "s1", requests=0)
    recording.append(permitted(1, text=text))
    recording.flush()
    lines = [step.line for step in plan_replay(read_session(tmp_path, "s1"))]
    assert all(line.isprintable() for line in lines)
    # A verdict stands at the beginning of its line, and a statement never does.
    assert sum(line.startswith("2026-01-06") for line in lines) == 2


@pytest.mark.parametrize(
    "action",
    [
        {"verb": "select", "object": "sales.customers", "columns": None},
        {"verb": "select", "object": "sales.customers", "columns": ["id", "email"]},
        {"verb": "select", "object": "sales.customers", "columns": ["email"], "via": "sales.v"},
        {"verb": "select", "object": "sales.customers", "columns": ["id"], "compared": ["email"]},
        {"verb": "copy_to", "object": "sales.customers", "columns": ["email"]},
        {"verb": "select", "object": 'sales."customers"', "columns": ["email"]},
    ],
)
def test_however_a_column_is_read_the_search_finds_it(
    tmp_path: Path, action: dict[str, Any]
) -> None:
    recording = record(journal(tmp_path), "s1", requests=0)
    recording.append(permitted(1, actions=[action]))
    recording.flush()
    found = [e for e in rebuild(tmp_path) if matches(e, AuditQuery(object="customers.email"))]
    assert [entry.identity for entry in found] == ["local:ann"]
