"""Live sessions and whatever ends them: a stop, a revocation, an offboarding, an administrator."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.api.gate import POLICY, Gate, start_gate
from tests.patience import PATIENCE_S, eventually, within
from tests.servers import PASSWORD, Server

# Some things can be done to one person once.
ANALYSTS = ("ann", "ben", "cat", "dee", "eli")
PEOPLE = {
    **dict.fromkeys(ANALYSTS, ("analysts",)),
    "adm": ("admins",), "rev": ("revoke",), "aud": ("audit",), "lea": ("leads",),
}  # fmt: skip
# What "within a second" may take on a busy machine.
SOON_S = 2.0


@pytest.fixture
def gate(
    request: pytest.FixtureRequest,
    pg18: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Gate]:
    """It drains for two seconds, or for as many as the test says."""
    drain_s: float = getattr(request, "param", 2)
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    policy = POLICY.replace("127.0.0.1:1\n", f"127.0.0.1:{pg18.port}\n")
    policy = policy.replace("database: shop", "database: postgres")
    policy = policy.replace("username: tg,", "username: tg_scram,")
    sleeping = "[shop.orders]\n  - call: [pg_catalog.pg_sleep]\nhold"
    policy = policy.replace("[shop.orders]\nhold", sleeping)
    running = asyncio.run(start_gate(tmp_path, people=PEOPLE, policy_text=policy, drain_s=drain_s))
    yield running
    running.hang_up()
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


Connection = psycopg.Connection[tuple[object, ...]]


def connect(gate: Gate, who: str = "ann") -> tuple[Connection, str]:
    """A session under a fresh grant, and the grant's id."""
    body = {"task": "sales-report", "reason": "a live session"}
    issued = gate.call(who, "POST", "/v1/grants", body).json()
    reach = issued["connections"][0]
    connection = psycopg.connect(
        host=reach["host"], port=reach["port"], user=reach["user"], password=issued["token"],
        dbname=reach["database"], sslmode="verify-full", sslrootcert=str(gate.ca),
        autocommit=True,
    )  # fmt: skip
    return connection, issued["grant"]["id"]


def ended(connection: Connection) -> tuple[str, float]:
    """The SQLSTATE that the session ended with, and how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            # A statement may be refused just before the session is cut.
            if connection.closed:
                return str(error.sqlstate), time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError("the session goes on")


# A gate, a person, a grant of theirs.
Ending = Callable[[Gate, str, str], object]


def session_of(gate: Gate) -> str:
    (one,) = eventually(lambda: live(gate), "there is no session")
    return str(one["id"])


def live(gate: Gate) -> list[dict[str, object]]:
    found = gate.call("adm", "GET", "/v1/sessions?all=true&live=true").json()
    assert isinstance(found, list)
    return found


def runs(pg18: Server, text: str) -> bool:
    """Whether the server is at work on a statement with that text."""
    found = pg18.run(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        f" AND query LIKE '%{text}%' AND pid <> pg_backend_pid()"
    )
    return found.strip() != "0"


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            lambda gate, who, grant: gate.call(who, "DELETE", f"/v1/grants/{grant}"), id="own"
        ),
        pytest.param(
            lambda gate, _, grant: gate.call(
                "rev", "POST", f"/v1/grants/{grant}/revoke", {"why": "a test"}
            ),
            id="revoked by another",
        ),
        pytest.param(
            lambda gate, who, _: gate.call("adm", "POST", f"/v1/users/{who}/disable"),
            id="disabled",
        ),
        pytest.param(
            lambda gate, who, _: gate.call(
                "adm", "POST", f"/v1/users/{who}/groups", {"groups": []}
            ),
            id="group taken away",
        ),
        pytest.param(
            lambda gate, who, _: gate.call(
                "adm", "POST", f"/v1/users/{who}/password", {"password": "a fresh password"}
            ),
            id="password replaced",
        ),
        pytest.param(
            lambda gate, *_: gate.call(
                "adm", "POST", f"/v1/sessions/{session_of(gate)}/terminate", {"why": "a test"}
            ),
            id="terminated",
        ),
    ],
)
def test_a_live_session_ends_within_a_second(gate: Gate, end: Ending) -> None:
    people = iter(ANALYSTS)

    def attempt() -> float:
        who = next(people)
        connection, grant = connect(gate, who)
        with connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            answer = end(gate, who, grant)
            assert getattr(answer, "status_code", 0) == 204
            _, took_s = ended(connection)
        eventually(lambda: not live(gate), "it is still called live")
        return took_s

    within(SOON_S, attempt)


def test_a_policy_without_the_task_ends_its_sessions(gate: Gate) -> None:
    policy = gate.folder / "policy" / "all.yaml"
    with_it = policy.read_text()

    def has_it() -> bool:
        return "sales-report" in gate.call("ann", "GET", "/v1/tasks").text

    def attempt() -> float:
        policy.write_text(with_it)
        gate.process.send_signal(signal.SIGHUP)
        eventually(has_it, "the policy was not loaded")
        connection, _ = connect(gate)
        with connection:
            policy.write_text(with_it.replace("name: sales-report", "name: other-report"))
            gate.process.send_signal(signal.SIGHUP)
            return ended(connection)[1]

    within(2 * SOON_S, attempt)


@pytest.mark.parametrize("gate", [PATIENCE_S], indirect=True)
def test_a_stop_tells_idle_sessions_and_lets_busy_ones_finish(gate: Gate, pg18: Server) -> None:
    idle, _ = connect(gate)
    busy, _ = connect(gate)
    found: list[object] = []

    def work() -> None:
        found.append(busy.execute("SELECT pg_sleep(3), 42").fetchone())

    with idle, busy:
        worker = threading.Thread(target=work)
        worker.start()
        eventually(lambda: runs(pg18, "pg_sleep(3), 42"), "the statement does not run")
        gate.hang_up()
        gate.process.send_signal(signal.SIGTERM)
        state, _ = ended(idle)
        assert state in ("57P01", "None")
        worker.join(PATIENCE_S)
        assert found
        assert isinstance(found[0], tuple)
        assert found[0][1] == 42
        assert gate.process.wait(PATIENCE_S) == 0


def test_a_stop_cuts_what_does_not_end_in_time(gate: Gate, pg18: Server) -> None:
    # drain_s is 2 in these tests.
    connection, _ = connect(gate)
    failed: list[psycopg.Error] = []

    def work() -> None:
        try:
            connection.execute("SELECT pg_sleep(100)")
        except psycopg.Error as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    eventually(lambda: runs(pg18, "pg_sleep(100)"), "the statement does not run")
    gate.hang_up()
    began = time.monotonic()
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < 30
    worker.join(PATIENCE_S)
    connection.close()
    assert failed
    assert failed[0].sqlstate in ("57P01", None)


@pytest.mark.parametrize("gate", [PATIENCE_S], indirect=True)
def test_nobody_new_comes_in_while_it_stops(gate: Gate, pg18: Server) -> None:
    connection, _ = connect(gate)
    body = {"task": "sales-report", "reason": "late"}
    issued = gate.call("ann", "POST", "/v1/grants", body).json()
    reach = issued["connections"][0]

    def work() -> None:
        # It is what keeps the gateway up; the test ends it.
        with contextlib.suppress(psycopg.Error):
            connection.execute("SELECT pg_sleep(100), 'under way'")

    def turned_away() -> bool:
        try:
            psycopg.connect(
                host=reach["host"], port=reach["port"], user=reach["user"],
                password=issued["token"], dbname=reach["database"], sslmode="verify-full",
                sslrootcert=str(gate.ca),
            ).close()  # fmt: skip
        except psycopg.OperationalError as error:
            return "being stopped" in str(error)
        return False

    worker = threading.Thread(target=work)
    worker.start()
    eventually(lambda: runs(pg18, "under way"), "the statement does not run")
    gate.hang_up()
    gate.process.send_signal(signal.SIGTERM)
    eventually(turned_away, "it lets people in")
    pg18.run(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%under way%'"
        " AND pid <> pg_backend_pid()"
    )
    worker.join(PATIENCE_S)
    connection.close()
    assert gate.process.wait(PATIENCE_S) == 0


def test_sessions_a_killed_gateway_left_are_ended_at_the_next_start(gate: Gate) -> None:
    from tests.api.gate import launch, wait_ready

    connection, _ = connect(gate)
    with connection:
        assert session_of(gate)
        gate.hang_up()
        gate.process.kill()
        gate.process.wait()
        gate.process = launch(gate.folder)
        wait_ready(gate)
        assert live(gate) == []
        past = gate.call("adm", "GET", "/v1/sessions?all=true").json()
        assert past[0]["ended_why"] == "the gateway died"


def test_explaining_asks_the_real_catalog_and_runs_nothing(gate: Gate, pg18: Server) -> None:
    with pg18.connect() as behind:
        behind.execute("CREATE SCHEMA IF NOT EXISTS shop")
        behind.execute("CREATE TABLE IF NOT EXISTS shop.orders (id int, note text)")
        behind.execute("CREATE OR REPLACE VIEW shop.seen AS SELECT id FROM shop.orders")
        behind.execute("INSERT INTO shop.orders SELECT 1, 'x'")
        mark = pg18.log_size()
        found = {}
        for text in (
            "SELECT id FROM shop.orders", "UPDATE shop.orders SET note = 'marker-1'",
            "DELETE FROM shop.orders", "SELECT * FROM shop.seen",
        ):  # fmt: skip
            body = {"task": "sales-report", "text": text}
            answer = gate.call("ann", "POST", "/v1/policy/explain", body)
            assert answer.status_code == 200, answer.text
            found[text.split()[0] + text.split()[-1]] = answer.json()["outcome"]
        assert found == {
            "SELECTshop.orders": "permit", "UPDATE'marker-1'": "hold",
            "DELETEshop.orders": "deny", "SELECTshop.seen": "deny",
        }  # fmt: skip
        assert "marker-1" not in pg18.log_since(mark)
        assert behind.execute("SELECT count(*) FROM shop.orders").fetchone() == (1,)
        behind.execute("DROP SCHEMA shop CASCADE")
    unreadable = gate.call(
        "ann", "POST", "/v1/policy/explain", {"task": "sales-report", "text": "SELEC"}
    )
    assert unreadable.status_code == 400
    assert "syntax error" in unreadable.json()["detail"]
