"""The gateway itself ends: killed in the middle of things, or stopped as it should be."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from tests.end_to_end.conftest import TASKS
from tests.end_to_end.test_holds import waiting
from tests.faults.faulty import Faulty, faulty_gate, refusal
from tests.patience import PATIENCE_S, eventually
from tests.servers import Server

UPDATE = "UPDATE shop.orders SET status = 'cancelled' WHERE id = {}"
SLOW_INSERT = (
    "INSERT INTO shop.audit_log (at, actor, action, detail)"
    " SELECT now(), 'k', '{}', '{{}}' FROM pg_sleep({})"
)
LOCK = 4711
# As slow as whoever holds that lock.
WAITING_INSERT = (
    "INSERT INTO shop.audit_log (at, actor, action, detail)"
    f" SELECT now(), 'k', '{{}}', '{{{{}}}}' FROM pg_advisory_lock({LOCK})"
)
PAID = "UPDATE shop.orders SET status = 'paid' WHERE id IN (51, 52)"
LANDED = "SELECT count(*) FROM shop.audit_log WHERE action = '{}'"


@pytest.fixture(params=["process", "disk"])
def mortal(request: pytest.FixtureRequest, server: Server, shop_database: str) -> Iterator[Faulty]:
    with faulty_gate(server, shop_database, TASKS, durability=request.param, drain_s=30.0) as gate:
        yield gate


def test_killed_in_a_statement_and_a_hold_nothing_is_lost(mortal: Faulty) -> None:
    action = f"kill-{time.time_ns()}"
    mortal.behind(PAID)
    with (
        ThreadPoolExecutor(3) as pool,
        mortal.connect("everything") as writing,
        mortal.connect("everything") as finished,
        mortal.connect("fix") as holding,
    ):
        finished.execute(SLOW_INSERT.format(action + "-before", 0))
        held = pool.submit(holding.execute, UPDATE.format(51))
        asked = waiting(mortal, "id = 51")
        mark = mortal.server.log_size()
        running = pool.submit(writing.execute, SLOW_INSERT.format(action, 6))
        eventually(lambda: _works(mortal, action), "the statement did not reach the server")
        # And many small ones, up to the last moment.
        busy = [pool.submit(_hammer, mortal.connect("everything"), action)]
        time.sleep(0.5)
        mortal.own.kill()
        for answer in (running, held):
            with pytest.raises(psycopg.OperationalError):
                answer.result(PATIENCE_S)
        busy[0].result(PATIENCE_S)

    mortal.own.start()
    report = mortal.verify()
    assert report.whole, report
    # Whatever the server saw, and whatever landed there, was recorded first.
    recorded = [str(e.facts["text"]) for e in mortal.events("request.permitted")]
    for said in mortal.server.statements_since(mark):
        if action in said and "pg_stat_activity" not in said:
            assert said in recorded, said
    assert sum(action in text for text in recorded) >= 2
    eventually(lambda: not _works(mortal, action), "the server works on")
    assert int(mortal.behind(LANDED.format(action))) <= 1
    assert mortal.behind(LANDED.format(action + "-before")) == "1"
    mortal.recorded("recording.recovered")
    # Nobody can say yes to it any more, and it never ran.
    mortal.recorded("request.held", "id = 51")
    listed = mortal.own.ask("lead", "GET", "/v1/approvals")
    assert all(one["id"] != asked["id"] for one in listed)
    assert mortal.behind("SELECT status FROM shop.orders WHERE id = 51") == "paid"
    shown = mortal.own.command("lead", "approve", str(asked["id"]))
    assert shown.returncode != 0
    mortal.well()


def _works(mortal: Faulty, action: str) -> bool:
    found = mortal.server.run(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        f" AND query LIKE '%{action}%' AND pid <> pg_backend_pid()"
    )
    return found.strip() != "0"


def _hammer(connection: "psycopg.Connection[tuple[object, ...]]", action: str) -> int:
    """Statement after statement, until the connection is gone; how many were answered."""
    with connection, contextlib.suppress(psycopg.OperationalError):
        for number in range(1_000_000):
            connection.execute(f"SELECT '{action}', {number}".encode())
    return number


@pytest.mark.parametrize("mortal", ["disk"], indirect=True)
def test_a_stop_lets_a_statement_end_and_lets_nobody_in(mortal: Faulty) -> None:
    action = f"stop-{time.time_ns()}"
    token = mortal.gate.grant("everything")
    with (
        ThreadPoolExecutor(1) as pool,
        mortal.connect("everything") as idle,
        mortal.connect("everything") as writing,
        mortal.server.connect(mortal.database) as holder,
    ):
        holder.execute(f"SELECT pg_advisory_lock({LOCK})")
        running = pool.submit(writing.execute, WAITING_INSERT.format(action))
        eventually(lambda: _works(mortal, action), "the statement did not reach the server")
        process = mortal.own.pid
        stopping = threading.Thread(target=mortal.own.stop)
        stopping.start()
        eventually(lambda: _lets_nobody_in(mortal, token), "it lets people in")
        assert b"\0C57P03\0" in refusal(mortal, "everything", token)
        with pytest.raises(errors.AdminShutdown, match="being stopped"):
            idle.execute("SELECT 1")
        holder.execute(f"SELECT pg_advisory_unlock({LOCK})")
        assert running.result(PATIENCE_S).rowcount == 1
        stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert mortal.behind(LANDED.format(action)) == "1"
    finished = mortal.recorded("request.finished", "INSERT 0 1")
    assert "sqlstate" not in finished.facts
    mortal.recorded("session.closed", "being stopped")
    mortal.recorded("gateway.stopped")
    report = mortal.verify()
    assert report.whole
    assert report.open == 0
    mortal.own.start()


def _lets_nobody_in(mortal: Faulty, token: str) -> bool:
    try:
        mortal.connect("everything", token).close()
    except psycopg.OperationalError as error:
        return "being stopped" in str(error)
    return False


def test_a_stop_cuts_what_does_not_end_and_cancels_what_is_held(
    server: Server, shop_database: str
) -> None:
    with (
        faulty_gate(server, shop_database, TASKS, drain_s=0.5) as gate,
        ThreadPoolExecutor(2) as pool,
        gate.connect("everything") as sleeping,
        gate.connect("fix") as holding,
    ):
        gate.behind(PAID)
        running = pool.submit(sleeping.execute, "SELECT pg_sleep(100), 'too long'")
        held = pool.submit(holding.execute, UPDATE.format(52))
        waiting(gate, "id = 52")
        eventually(lambda: _works(gate, "too long"), "it does not run")
        began = time.monotonic()
        gate.own.stop()
        assert time.monotonic() - began < 30
        for answer in (running, held):
            with pytest.raises(psycopg.Error, match=r"being stopped|cancel"):
                answer.result(PATIENCE_S)
        gate.recorded("request.finished", "08006", "being stopped")
        gate.recorded("hold.cancelled", "being stopped")
        eventually(lambda: not _works(gate, "too long"), "the server works on")
        assert gate.verify().whole
        assert gate.behind("SELECT status FROM shop.orders WHERE id = 52") == "paid"
        gate.own.start()


@pytest.mark.cap("DRAIN_S")
def test_a_gateway_that_is_not_told_otherwise_drains_for_so_long(
    server: Server, shop_database: str
) -> None:
    """Its configuration says nothing, and the limit is put to a second."""
    with (
        faulty_gate(server, shop_database, TASKS, drain_s=None, limits={"DRAIN_S": 1.0}) as gate,
        ThreadPoolExecutor(1) as pool,
        gate.connect("everything") as sleeping,
    ):
        running = pool.submit(sleeping.execute, "SELECT pg_sleep(100), 'drained'")
        eventually(lambda: _works(gate, "drained"), "it does not run")
        began = time.monotonic()
        gate.own.stop()
        assert 0.9 < time.monotonic() - began < 25
        with pytest.raises(psycopg.Error, match="being stopped"):
            running.result(PATIENCE_S)
        gate.own.start()


def test_a_gateway_that_stood_still_for_a_while_goes_on(faulty: Faulty) -> None:
    """A machine was paused, or one client's request took all of its time: nobody is put out for
    that, though nothing could be heard of revocations meanwhile."""
    with faulty.connect("everything") as idle, faulty.connect("everything") as other:
        for _ in range(3):
            faulty.own.signal(signal.SIGSTOP)
            time.sleep(1.5)
            faulty.own.signal(signal.SIGCONT)
            for connection in (idle, other):
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(
    server: Server, shop_database: str
) -> None:
    with faulty_gate(server, shop_database, TASKS, drain_s=30.0) as gate:
        with (
            gate.connect("everything") as sleeping,
            ThreadPoolExecutor(1) as pool,
        ):
            running = pool.submit(sleeping.execute, "SELECT pg_sleep(100), 'for long'")
            eventually(lambda: _works(gate, "for long"), "it did not reach the server")
            gate.own.signal(signal.SIGTERM)
            # Two of a kind that both wait to be delivered are one.
            gate.logged("gateway.draining")
            gate.own.signal(signal.SIGTERM)
            with pytest.raises(psycopg.OperationalError):
                running.result(PATIENCE_S)
        eventually(lambda: not gate.own.running, "it is still there")
        gate.own.stop()
        gate.own.start()
        assert gate.verify().whole
        gate.recorded("request.permitted", "for long")
