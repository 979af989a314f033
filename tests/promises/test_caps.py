"""The caps: each is in use, each has a test or is named here as lacking one, and many of them are
reached one after the other at a gateway whose caps were made small."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault
from tests.end_to_end.conftest import TASKS
from tests.end_to_end.wire import Wire, message
from tests.faults.faulty import Faulty, faulty_gate
from tests.servers import Server, Servers

ROOT = Path(__file__).parents[2]
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
}
# What no test goes up to yet. Whoever writes one takes the name out; nobody puts one in.
UNTESTED = frozenset(
    [
        "API_BODY_TIMEOUT_S",
        "API_HEAD_TIMEOUT_S",
        "DRAIN_S",
        "HOLD_NOTICE_EVERY_S",
        "HOLD_POLL_S",
        "MAX_API_CONNECTIONS",
        "MAX_API_STREAMS_PER_PERSON",
        "MAX_DELEGATION_DEPTH",
        "MAX_EXCHANGES_PER_SOURCE_PER_MIN",
        "MAX_GRANT_USES",
        "MAX_GROUPS_PER_IDENTITY",
        "MAX_HOLDS_PER_SESSION",
        "MAX_HOLD_S",
        "MAX_HYGIENE_LINES",
        "MAX_INDEX_BATCH",
        "MAX_JWKS_BYTES",
        "MAX_JWKS_KEYS",
        "MAX_JWT_DEPTH",
        "MAX_LOGINS_PER_PERSON",
        "MAX_LOGINS_PER_SOURCE_PER_MIN",
        "MAX_NARROWING_LINES",
        "MAX_PLACES",
        "MAX_POLICY_DEPTH",
        "MAX_POLICY_FILES",
        "MAX_RATE_ENTRIES",
        "MAX_RECORDED_ROWS",
        "MAX_REMEMBERED_ENDS",
        "MAX_SCIM_FILTER_CHARS",
        "MAX_SCIM_FILTER_DEPTH",
        "MAX_SCIM_MEMBERS",
        "MAX_SCIM_OPERATIONS",
        "MAX_SCIM_PAGE",
        "MAX_SCIM_RESOURCES",
        "MAX_SEARCH_RESULTS",
        "MAX_STANDING_S",
        "MAX_STANDING_USES",
        "MAX_STEP_CHARS",
        "MAX_USED_SIGN_INS",
        "MAX_WAITING_HOLDS",
        "MAX_WORKLOAD_GRANT_S",
        "MIN_SCIM_TOKEN_CHARS",
        "PASSWORD_WORKERS",
        "STORE_TIMEOUT_S",
    ]
)


@pytest.fixture(scope="module")
def low(pg: Server, servers: Servers) -> Iterator[Faulty]:
    database = pg.new_database("caps", template=servers.shop(pg))
    with faulty_gate(pg, database, TASKS, limits=LOW) as gate:
        yield gate
    pg.drop_database(database)


def _names() -> list[str]:
    text = (ROOT / "src/taskgate/model/limits.py").read_text()
    found = re.findall(r"^([A-Z][A-Z0-9_]+) = ", text, re.MULTILINE)
    return [name for name in found if name not in ("KIB", "MIB")]


def _used(below: str, but: Path) -> set[str]:
    words: set[str] = set()
    for path in (ROOT / below).rglob("*.py"):
        if path != but:
            words |= set(re.findall(r"[A-Z][A-Z0-9_]{3,}", path.read_text()))
    return words


def test_every_cap_is_in_use() -> None:
    used = _used("src", ROOT / "src/taskgate/model/limits.py")
    assert not [name for name in _names() if name not in used]


def test_every_cap_has_a_test_or_is_known_to_lack_one() -> None:
    tested = _used("tests", Path(__file__)) | set(LOW)
    missing = {name for name in _names() if name not in tested}
    assert missing <= UNTESTED, f"without a test: {sorted(missing - UNTESTED)}"
    assert missing >= UNTESTED & set(_names()), f"tested by now: {sorted(UNTESTED - missing)}"


OVER = {
    "a statement": "SELECT '" + "x" * 20_000 + "'",
    "statements in a message": "SELECT 1;" * 6,
    "a view over a view": "SELECT * FROM shop.deep5",
}


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
        pytest.raises(psycopg.Error, match="bytes|larger|too"),
    ):
        connection.execute("SELECT repeat('x', 100000), email FROM shop.customers")
    low.well()


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


def test_the_node_takes_so_many_sessions_and_says_so(low: Faulty) -> None:
    held = [low.connect("everything") for _ in range(4)]
    try:
        with pytest.raises(psycopg.OperationalError, match="most of 4 sessions"):
            low.connect("everything")
        # More recordings than files may be open: each goes on all the same.
        for connection in held * 2:
            connection.execute("SELECT 'recorded by turns'")
    finally:
        for connection in held:
            connection.close()
    low.well()
    assert low.verify().whole


def test_a_long_text_is_recorded_cut_and_said_to_be(low: Faulty) -> None:
    with low.connect("everything") as connection:
        connection.execute(("SELECT 'cut-here-" + "x" * 9_000 + "'").encode())
    event = low.recorded("request.permitted", "cut-here-")
    assert len(str(event.facts["text"])) < 5_000


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


def test_the_api_counts_too(low: Faulty) -> None:
    with pytest.raises(GateFault, match="reason|40"):
        low.own.ask("operator", "POST", "/v1/grants", {"task": "report", "reason": "r" * 41})
    with pytest.raises(GateFault, match="large|413|20000|body"):
        low.own.ask("operator", "POST", "/v1/grants", {"task": "report", "reason": "r" * 30_000})
    _, grant = low.grant_of("report")
    with pytest.raises(GateFault):
        for _ in range(4):
            low.own.ask("operator", "POST", f"/v1/grants/{grant}/tokens")
