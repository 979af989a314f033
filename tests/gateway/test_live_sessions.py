"""Live sessions and whatever ends them: a stop, a revocation, an offboarding, an administrator."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.api.gate import POLICY, Gate, start_gate
from tests.servers import PASSWORD, Server

PEOPLE = {
    "ann": ("analysts",), "adm": ("admins",), "rev": ("revoke",), "aud": ("audit",),
    "lea": ("leads",),
}  # fmt: skip
# What "within a second" may take on a busy machine.
SOON_S = 2.0


@pytest.fixture
def gate(pg18: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    policy = POLICY.replace("127.0.0.1:1\n", f"127.0.0.1:{pg18.port}\n")
    policy = policy.replace("database: shop", "database: postgres")
    policy = policy.replace("username: tg,", "username: tg_scram,")
    sleeping = "[shop.orders]\n  - call: [pg_catalog.pg_sleep]\nhold"
    policy = policy.replace("[shop.orders]\nhold", sleeping)
    running = asyncio.run(start_gate(tmp_path, people=PEOPLE, policy_text=policy))
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
    while time.monotonic() - began < 10:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            # A statement may be refused just before the session is cut.
            if connection.closed:
                return str(error.sqlstate), time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError("the session goes on")


Ending = Callable[[Gate, str], object]


def session_of(gate: Gate) -> str:
    live = gate.call("adm", "GET", "/v1/sessions?all=true&live=true").json()
    assert len(live) == 1
    return str(live[0]["id"])


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            lambda gate, grant: gate.call("ann", "DELETE", f"/v1/grants/{grant}"), id="own"
        ),
        pytest.param(
            lambda gate, grant: gate.call(
                "rev", "POST", f"/v1/grants/{grant}/revoke", {"why": "a test"}
            ),
            id="revoked by another",
        ),
        pytest.param(
            lambda gate, _: gate.call("adm", "POST", "/v1/users/ann/disable"), id="disabled"
        ),
        pytest.param(
            lambda gate, _: gate.call("adm", "POST", "/v1/users/ann/groups", {"groups": []}),
            id="group taken away",
        ),
        pytest.param(
            lambda gate, _: gate.call(
                "adm", "POST", "/v1/users/ann/password", {"password": "a fresh password"}
            ),
            id="password replaced",
        ),
        pytest.param(
            lambda gate, _: gate.call(
                "adm", "POST", f"/v1/sessions/{session_of(gate)}/terminate", {"why": "a test"}
            ),
            id="terminated",
        ),
    ],
)
def test_a_live_session_ends_within_a_second(gate: Gate, end: Ending) -> None:
    connection, grant = connect(gate)
    with connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        answer = end(gate, grant)
        assert getattr(answer, "status_code", 0) == 204
        _, took_s = ended(connection)
        assert took_s < SOON_S
    for _ in range(40):
        live = gate.call("adm", "GET", "/v1/sessions?all=true&live=true").json()
        if not live:
            break
        time.sleep(0.05)
    assert live == []


def test_a_policy_without_the_task_ends_its_sessions(gate: Gate) -> None:
    connection, _ = connect(gate)
    with connection:
        policy = gate.folder / "policy" / "all.yaml"
        policy.write_text(policy.read_text().replace("name: sales-report", "name: other-report"))
        gate.process.send_signal(signal.SIGHUP)
        _, took_s = ended(connection)
        assert took_s < 2 * SOON_S


def test_a_stop_tells_idle_sessions_and_lets_busy_ones_finish(gate: Gate) -> None:
    idle, _ = connect(gate)
    busy, _ = connect(gate)
    found: list[object] = []

    def work() -> None:
        found.append(busy.execute("SELECT pg_sleep(1), 42").fetchone())

    with idle, busy:
        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(0.3)
        gate.hang_up()
        gate.process.send_signal(signal.SIGTERM)
        state, _ = ended(idle)
        assert state in ("57P01", "None")
        worker.join(10)
        assert found
        assert isinstance(found[0], tuple)
        assert found[0][1] == 42
        assert gate.process.wait(20) == 0


def test_a_stop_cuts_what_does_not_end_in_time(gate: Gate) -> None:
    # drain_s is 2 in these tests.
    connection, _ = connect(gate)
    failed: list[psycopg.Error] = []

    def work() -> None:
        try:
            connection.execute("SELECT pg_sleep(60)")
        except psycopg.Error as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.5)
    gate.hang_up()
    began = time.monotonic()
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(20) == 0
    assert time.monotonic() - began < 12
    worker.join(10)
    connection.close()
    assert failed
    assert failed[0].sqlstate in ("57P01", None)


def test_nobody_new_comes_in_while_it_stops(gate: Gate) -> None:
    connection, _ = connect(gate)
    body = {"task": "sales-report", "reason": "late"}
    issued = gate.call("ann", "POST", "/v1/grants", body).json()
    reach = issued["connections"][0]
    worker = threading.Thread(target=lambda: connection.execute("SELECT pg_sleep(1)"))
    worker.start()
    time.sleep(0.3)
    gate.hang_up()
    gate.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host=reach["host"], port=reach["port"], user=reach["user"], password=issued["token"],
            dbname=reach["database"], sslmode="verify-full", sslrootcert=str(gate.ca),
            connect_timeout=5,
        )  # fmt: skip
    worker.join(10)
    connection.close()
    assert gate.process.wait(20) == 0


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
        assert gate.call("adm", "GET", "/v1/sessions?all=true&live=true").json() == []
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
