"""The caps: each is in use, each has a test, and many of them are reached one after the other at a
gateway whose caps were made small."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault
from tests.end_to_end.conftest import TASKS
from tests.end_to_end.test_holds import decide, waiting
from tests.end_to_end.wire import Wire, message
from tests.faults.faulty import Faulty, faulty_gate
from tests.patience import PATIENCE_S, eventually
from tests.promises import caps
from tests.servers import Server, Servers

LOW: dict[str, float] = {
    "MAX_STATEMENT_BYTES": 20_000,
    "MAX_BIND_BYTES": 40_000,
    "MAX_MASKED_ROW_BYTES": 30_000,
    "MAX_ROW_BYTES": 3_000_000,
    "MAX_STATEMENTS_PER_MESSAGE": 5,
    "MAX_PREPARED_STATEMENTS": 5,
    "MAX_PORTALS": 5,
    "MAX_PIPELINE": 200,
    "MAX_FRAMES_PER_TURN": 3,
    "MAX_PENDING_FRAMES": 10,
    "MAX_WAITING_BYTES": 4_096,
    "MAX_VIEW_DEPTH": 3,
    "MAX_CACHED_DECISIONS": 2,
    "MAX_CACHED_NAMES": 50,
    "MAX_CACHED_TOKENS": 1,
    "MAX_CACHED_TLS_CONTEXTS": 1,
    "MAX_SESSIONS": 4,
    "MAX_OPEN_RECORDING_FILES": 2,
    "MAX_RECORDED_TEXT_BYTES": 4_096,
    "MAX_REASON_CHARS": 40,
    "MAX_TOKENS_PER_GRANT": 3,
    "MAX_API_BODY_BYTES": 20_000,
    "MAX_NOTICE_BYTES": 20_000,
    "MAX_DESCRIPTION_BYTES": 20_000,
    "MAX_RECORDED_ROWS": 5,
    "HOLD_NOTICE_EVERY_S": 0.3,
}
KEPT = """
---
kind: Task
name: kept
resource: target
for: {groups: [testers]}
permit:
  - select: [shop.orders]
record: {rows: true}
"""


@pytest.fixture(scope="module")
def low(pg: Server, servers: Servers) -> Iterator[Faulty]:
    database = pg.new_database("caps", template=servers.shop(pg))
    with faulty_gate(pg, database, TASKS + KEPT, limits=LOW) as gate:
        yield gate
    pg.drop_database(database)


def test_every_cap_is_in_use() -> None:
    words: set[str] = set()
    for path in (caps.ROOT / "src").rglob("*.py"):
        if path.name != "limits.py":
            words |= set(re.findall(r"[A-Z][A-Z0-9_]{3,}", path.read_text()))
    assert not [name for name in caps.names() if name not in words]


def test_every_cap_has_a_test_that_goes_up_to_it_and_over_it() -> None:
    """A mention is no test: one is marked as the cap's, and `test_lifted_caps` sees it fail
    without the cap."""
    marked = caps.marked()
    assert not [name for name in caps.names() if name not in marked]
    assert not [name for name in marked if name not in caps.names()]


OVER = {
    "a statement": "SELECT '" + "x" * 20_000 + "'",
    "statements in a message": "SELECT 1;" * 6,
    "a view over a view": "SELECT * FROM shop.deep5",
}


@pytest.mark.cap("MAX_VIEW_DEPTH")
@pytest.mark.parametrize("text", OVER.values(), ids=OVER.keys())
def test_over_a_cap_nothing_is_sent(low: Faulty, text: str) -> None:
    low.behind("CREATE OR REPLACE VIEW shop.deep0 AS SELECT 1 AS a")
    for depth in range(5):
        low.behind(f"CREATE OR REPLACE VIEW shop.deep{depth + 1} AS SELECT * FROM shop.deep{depth}")
    with low.connect("everything") as connection:
        connection.execute("SELECT 1")
        mark = low.server.log_size()
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(text.encode())
        assert caught.value.sqlstate in ("54000", "54001", "42501", "42601"), caught.value
    said = low.server.statements_since(mark)
    assert not [one for one in said if one.startswith(text[:12]) and "pg_catalog" not in one]
    low.well()


@pytest.mark.cap("MAX_BIND_BYTES")
def test_a_long_bind_is_refused_and_one_below_the_cap_is_not(low: Faulty) -> None:
    with low.connect("everything") as connection:
        long = connection.execute("SELECT length(%s)", ["x" * 30_000]).fetchone()
        assert long == (30_000,)
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT length(%s)", ["x" * 50_000])
    low.well()


def test_what_is_rewritten_must_be_whole_and_what_passes_need_not(low: Faulty) -> None:
    with low.connect("everything") as connection:
        for size in (100_000, 5_000_000):
            row = connection.execute(f"SELECT repeat('x', {size})".encode()).fetchone()
            assert row is not None
            assert len(str(row[0])) == size
    with (
        low.connect("report") as connection,
        pytest.raises(psycopg.Error, match=r"bytes|larger|too"),
    ):
        connection.execute("SELECT repeat('x', 100000), email FROM shop.customers")
    low.well()


@pytest.mark.cap("MAX_PREPARED_STATEMENTS", "MAX_PORTALS")
def test_prepared_statements_and_portals_are_counted(low: Faulty) -> None:
    with Wire(low, "everything") as wire:
        for number in range(5):
            name = f"p{number}".encode()
            wire.send(message("P", name + b"\0SELECT 1\0\0\0") + message("S"))
            assert wire.until_ready() == ["1", "Z"]
        wire.send(message("P", b"p5\0SELECT 1\0\0\0") + message("S"))
        assert wire.until_ready()[0] == "E"
        assert wire.errors[-1]["C"] == "54000"
        wire.query("BEGIN")
        for number in range(6):
            bind = f"c{number}".encode() + b"\0p0\0" + bytes(6)
            wire.send(message("B", bind) + message("S"))
            kinds = wire.until_ready()
        assert kinds[0] == "E"
        assert wire.errors[-1]["C"] == "54000"
    low.well()


def test_a_pipeline_is_counted_and_a_long_one_that_is_read_is_not_cut(low: Faulty) -> None:
    """More messages than are handled in a turn, than may wait, and than fit the buffers."""
    with Wire(low, "everything") as wire:
        wire.query("SELECT 1")
        wire.send(message("Q", b"SELECT 'twice'\0") * 150)
        for _ in range(150):
            assert wire.until_ready() == ["T", "D", "C", "Z"]
        wire.send(message("P", b"\0SELECT 1\0\0\0") * 300 + message("S"))
        assert "E" in wire.until_ready()
        assert wire.errors[-1]["C"] == "54000"
    low.well()


def test_small_caches_change_no_verdict(low: Faulty) -> None:
    with low.connect("report") as one, low.connect("report") as other:
        for _ in range(3):
            for table in ("orders", "products"):
                for connection in (one, other):
                    connection.execute(f"SELECT count(*) FROM shop.{table}".encode())
                    with pytest.raises(errors.InsufficientPrivilege):
                        connection.execute("SELECT count(*) FROM shop.staff")


@pytest.mark.cap("MAX_SESSIONS")
def test_the_node_takes_so_many_sessions_and_says_so(low: Faulty) -> None:
    def another() -> "psycopg.Connection[tuple[object, ...]] | None":
        # A session of the test before may be there for a moment.
        with suppress(psycopg.OperationalError):
            return low.connect("everything")
        return None

    with ExitStack() as stack:
        held = []
        for _ in range(4):
            connection = eventually(another)
            assert connection is not None
            held.append(stack.enter_context(connection))
        with pytest.raises(psycopg.OperationalError, match="most of 4 sessions"):
            low.connect("everything")
        # More recordings than files may be open: each goes on all the same.
        for connection in held * 2:
            connection.execute("SELECT 'recorded by turns'")
    low.well()
    assert low.verify().whole


def test_a_long_text_is_recorded_cut_and_said_to_be(low: Faulty) -> None:
    with low.connect("everything") as connection:
        connection.execute(("SELECT 'cut-here-" + "x" * 9_000 + "'").encode())
    event = low.recorded("request.permitted", "cut-here-")
    assert len(str(event.facts["text"])) < 5_000


@pytest.mark.cap("MAX_NOTICE_BYTES", "MAX_DESCRIPTION_BYTES")
def test_a_resources_long_words_end_the_session_not_the_gate(low: Faulty) -> None:
    columns = ", ".join(f"{'c' * 55}{number} int" for number in range(300))
    low.behind(f"CREATE TABLE IF NOT EXISTS shop.wide ({columns})")
    for text in (
        "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 50000); END $$",
        "SELECT * FROM shop.wide",
    ):
        with low.connect("everything") as connection, pytest.raises(psycopg.Error):
            connection.execute(text.encode())
        low.well()


@pytest.mark.cap("MAX_REASON_CHARS", "MAX_API_BODY_BYTES", "MAX_TOKENS_PER_GRANT")
def test_the_api_counts_too(low: Faulty) -> None:
    with pytest.raises(GateFault, match=r"reason|40"):
        low.own.ask("operator", "POST", "/v1/grants", {"task": "report", "reason": "r" * 41})
    with pytest.raises(GateFault, match="413"):
        low.own.ask("operator", "POST", "/v1/grants", {"task": "report", "reason": "r" * 30_000})
    # Its first token came with it.
    _, grant = low.grant_of("report")
    for _ in range(2):
        low.own.ask("operator", "POST", f"/v1/grants/{grant}/tokens")
    with pytest.raises(GateFault, match="3"):
        low.own.ask("operator", "POST", f"/v1/grants/{grant}/tokens")


@pytest.mark.cap("MAX_RECORDED_ROWS")
@pytest.mark.parametrize("many", [5, 6])
def test_so_many_rows_of_an_answer_are_recorded(low: Faulty, many: int) -> None:
    with low.connect("kept") as connection:
        text = f"SELECT id, 'rows of {many}' FROM shop.orders LIMIT {many}"
        assert len(connection.execute(text.encode()).fetchall()) == many
    event = low.recorded("rows", f"rows of {many}")
    assert len(event.facts["rows"]) == 5


@pytest.mark.cap("HOLD_NOTICE_EVERY_S")
def test_who_waits_is_told_so_again_and_again(low: Faulty) -> None:
    told: list[str] = []
    with low.connect("fix") as connection, ThreadPoolExecutor(1) as pool:
        connection.add_notice_handler(lambda one: told.append(str(one.message_primary)))
        held = pool.submit(
            connection.execute, "UPDATE shop.orders SET status = 'paid' WHERE id = 83"
        )
        asked = waiting(low, "id = 83")
        eventually(lambda: len(told) >= 3, "it was not told again")
        decide(low, "lead", str(asked["id"]), "approve")
        held.result(PATIENCE_S)
    assert all("held for approval" in one for one in told)
