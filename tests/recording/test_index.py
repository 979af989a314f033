"""Who read customers.email on Tuesday?"""

from pathlib import Path
from typing import Any

import pytest

from taskgate.model import limits
from taskgate.model.audit import RAN, AuditEntry, AuditQuery, matches, object_readings
from taskgate.model.event import Event, EventKind
from taskgate.model.identity import Identity
from taskgate.recording.index import Indexer, rebuild

from .build import AGENT, TUESDAY, finished, journal, permitted, record

DAY = 86_400.0
EMAIL: dict[str, Any] = {"verb": "select", "object": "sales.customers", "columns": ["email"]}


class Session:
    """Feeds an indexer, and keeps what it says as an index would."""

    def __init__(self) -> None:
        self._indexer = Indexer("s1")
        self._number = 0
        self.found: dict[tuple[str, int, int], AuditEntry] = {}
        self.feed(
            EventKind.SESSION_OPENED,
            identity="local:ann",
            acts_for=[],
            task="sales-report",
            resource="warehouse",
        )

    def feed(self, kind: EventKind, at: float = TUESDAY, **facts: Any) -> None:
        self._number += 1
        for entry in self._indexer.feed(self._number, kind.value, at, facts):
            self.found[entry.session, entry.sequence, entry.position] = entry

    def search(self, **asked: Any) -> list[AuditEntry]:
        return [entry for entry in self.found.values() if matches(entry, AuditQuery(**asked))]


@pytest.fixture
def session() -> Session:
    return Session()


def test_who_read_a_column_on_a_day(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL], text="SELECT email")
    asked = {"object": "customers.email", "verb": "select", "outcomes": RAN}
    (entry,) = session.search(**asked, since=TUESDAY - 9 * 3600, until=TUESDAY + 15 * 3600)
    assert (entry.identity, entry.task, entry.resource) == (
        "local:ann",
        "sales-report",
        "warehouse",
    )
    assert (entry.object, entry.columns, entry.outcome) == ("sales.customers", ("email",), "permit")
    assert not session.search(**asked, since=TUESDAY + DAY)


@pytest.mark.parametrize(
    "asked",
    [
        "customers",
        "sales.customers",
        "customers.email",
        "sales.customers.email",
        "Sales.Customers.EMAIL",
        '"sales"."customers"."email"',
        " customers.email ",
    ],
)
def test_an_object_is_found_by_each_of_its_names(session: Session, asked: str) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    assert len(session.search(object=asked)) == 1


@pytest.mark.parametrize(
    "asked",
    ["orders", "customers.phone", "crm.customers", "ustomers", "email", "crm.customers.email"],
)
def test_another_object_is_not(session: Session, asked: str) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    assert not session.search(object=asked)


def test_a_column_read_through_a_view_is_found(session: Session) -> None:
    view = {"verb": "select", "object": "sales.contacts", "columns": ["mail"], "kind": "view"}
    behind = EMAIL | {"via": "sales.contacts"}
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[view, behind])
    (entry,) = session.search(object="customers.email")
    assert (entry.via, entry.position) == ("sales.contacts", 1)
    assert len(session.search(object="contacts.mail")) == 1


def test_all_columns_are_any_column(session: Session) -> None:
    whole = {"verb": "select", "object": "sales.customers", "columns": None}
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[whole])
    assert session.search(object="customers.email")


def test_a_column_that_only_steered_the_result_is_found(session: Session) -> None:
    guess = {
        "verb": "select",
        "object": "sales.customers",
        "columns": ["id"],
        "compared": ["email"],
    }
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[guess])
    assert session.search(object="customers.email")


def test_a_quoted_name_is_found(session: Session) -> None:
    odd = {"verb": "select", "object": 'sales."My Table"', "columns": ["E-Mail"]}
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[odd])
    assert session.search(object='"My Table"."E-Mail"')
    assert session.search(object="sales.my table")


def test_the_end_fills_in_rows_and_kinds_of_data(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    assert not session.search(kind="email")
    session.feed(
        EventKind.REQUEST_FINISHED, request=1, rows=5, kinds={"email": 5}, masked={"r": 3, "q": 2}
    )
    (entry,) = session.search(kind="Email")
    assert (entry.rows, entry.masked, entry.kinds, entry.outcome) == (5, 5, ("email",), "permit")
    assert len(session.found) == 2


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (EventKind.HOLD_APPROVED, "approved"),
        (EventKind.HOLD_DENIED, "refused"),
        (EventKind.HOLD_EXPIRED, "expired"),
        (EventKind.HOLD_CANCELLED, "cancelled"),
    ],
)
def test_what_people_said_replaces_the_hold(session: Session, end: EventKind, outcome: str) -> None:
    session.feed(EventKind.REQUEST_HELD, request=1, actions=[EMAIL])
    assert session.search(outcomes=("hold",))
    session.feed(end, request=1, approved_by=["local:dora"])
    assert not session.search(outcomes=("hold",))
    (entry,) = session.search(outcomes=(outcome,))
    assert entry.approved_by == ("local:dora",)


def test_a_request_that_goes_on_another_day_counts_on_that_day(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    session.feed(EventKind.REQUEST_FINISHED, request=1, rows=10, suspended=True)
    session.feed(EventKind.REQUEST_CONTINUED, at=TUESDAY + 1, request=1)
    assert len(session.search(object="customers.email")) == 1
    session.feed(EventKind.REQUEST_CONTINUED, at=TUESDAY + DAY, request=1)
    assert len(session.search(object="customers.email", since=TUESDAY + DAY)) == 1
    assert len(session.search(object="customers.email")) == 2


def test_a_request_refused_while_it_goes_on_keeps_what_it_had_read(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    session.feed(EventKind.REQUEST_FINISHED, request=1, rows=10, suspended=True)
    session.feed(EventKind.REQUEST_DENIED, request=1, outcome="deny", reason="expired")
    assert len(session.search(object="customers.email", outcomes=("permit",))) == 1
    (refused,) = session.search(object="customers.email", outcomes=("deny",))
    assert refused.reason == "expired"


def test_two_requests_under_one_number_are_both_found(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL])
    session.feed(
        EventKind.REQUEST_PERMITTED, request=1, actions=[{"verb": "select", "object": "s.t"}]
    )
    assert session.search(object="customers.email")
    assert session.search(object="s.t")


def test_an_unreadable_statement_is_found_by_its_text(session: Session) -> None:
    session.feed(EventKind.REQUEST_DENIED, request=1, text="SELEKT 1", actions=[], reason="syntax")
    (entry,) = session.search(text="selekt", outcomes=("deny",))
    assert (entry.reason, entry.object) == ("syntax", "")


@pytest.mark.cap("MAX_INDEXED_PENDING")
def test_what_is_awaited_is_bounded(session: Session) -> None:
    for number in range(limits.MAX_INDEXED_PENDING + 50):
        session.feed(EventKind.REQUEST_PERMITTED, request=number, actions=[EMAIL])
    assert len(session._indexer._pending) == limits.MAX_INDEXED_PENDING
    session.feed(EventKind.REQUEST_FINISHED, request=0, rows=1)
    assert len(session.search(object="customers")) == limits.MAX_INDEXED_PENDING + 50


@pytest.mark.cap("MAX_INDEXED_TEXT_BYTES")
def test_a_long_statement_is_cut_in_the_index(session: Session) -> None:
    session.feed(EventKind.REQUEST_PERMITTED, request=1, actions=[EMAIL], text="ä" * 100_000)
    (entry,) = session.search(object="customers")
    assert len(entry.text.encode()) <= limits.MAX_INDEXED_TEXT_BYTES


@pytest.mark.parametrize("who", ["ann", "local:ann", "ANN", "bot-7"])
def test_an_agent_is_found_and_so_is_whoever_it_acts_for(tmp_path: Path, who: str) -> None:
    record(journal(tmp_path), "s1", who=AGENT)
    assert any(matches(e, AuditQuery(who=who, object="customers")) for e in rebuild(tmp_path))


@pytest.mark.parametrize("who", ["an", "nn", "local", "other:ann", "joann"])
def test_a_part_of_a_name_is_nobody(tmp_path: Path, who: str) -> None:
    record(journal(tmp_path), "s1")
    assert not any(matches(e, AuditQuery(who=who)) for e in rebuild(tmp_path))


def test_an_issuer_with_colons_is_told_from_the_subject(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1", who=Identity("ann", issuer="https://id.example:8443/x"))
    for who in ("ann", "https://id.example:8443/x:ann"):
        assert any(matches(e, AuditQuery(who=who)) for e in rebuild(tmp_path))


def test_the_index_is_rebuilt_from_the_files(tmp_path: Path) -> None:
    log = journal(tmp_path, packed=True)
    record(log, "s1").seal(TUESDAY + 60)
    recording = record(log, "s2")
    recording.append(permitted(9))
    recording.append(finished(9, rows=3))
    recording.flush()
    log.gateway_log.append(
        Event(EventKind.RECORDING_READ, TUESDAY, {"identity": "local:olga", "session": "s1"})
    )
    found = {(e.session, e.sequence, e.position): e for e in rebuild(tmp_path)}
    assert sum(e.object == "sales.customers" for e in found.values()) == 3 + 4
    assert all(e.rows for e in found.values() if e.object == "sales.customers")
    (read,) = [e for e in found.values() if e.event == "recording.read"]
    assert (read.identity, read.verb, read.object) == ("local:olga", "recording.read", "s1")
    log.close(TUESDAY + 61)


def test_a_damaged_recording_gives_its_beginning_and_is_named(tmp_path: Path) -> None:
    log = journal(tmp_path)
    record(log, "s1")
    record(log, "s2")
    path = tmp_path / "open" / "s1.tgr"
    path.write_bytes(path.read_bytes().replace(b"id = 2", b"id = 9"))
    damaged: list[Path] = []
    entries = {(e.session, e.sequence) for e in rebuild(tmp_path, damaged)}
    assert damaged == [path]
    assert ("s1", 2) in entries
    assert ("s1", 4) not in entries
    assert ("s2", 6) in entries


def test_a_name_without_parts_is_read_one_way() -> None:
    assert object_readings("") == ()
    assert object_readings('""') == ()
    assert len(object_readings("customers")) == 1
    assert len(object_readings(".email")) == 1


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [1], [{"columns": 3}], {"a": "b"}])
def test_no_fact_is_too_odd_to_be_indexed(kind: EventKind, value: Any) -> None:
    names = ("request", "text", "actions", "kinds", "masked", "rows", "acts_for", "approved_by")
    indexer = Indexer("s1")
    for facts in (dict.fromkeys(names, value), dict.fromkeys(names, value) | {"request": 1}):
        for number in (1, 2):
            assert isinstance(indexer.feed(number, kind.value, TUESDAY, facts), tuple)
