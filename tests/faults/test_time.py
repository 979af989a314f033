"""Rights end when they end, whatever the clock does and whatever is under way."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from tests.end_to_end.conftest import TASKS
from tests.end_to_end.test_holds import waiting
from tests.faults.faulty import Faulty, faulty_gate
from tests.faults.streaming import Streaming
from tests.gates import OPERATOR
from tests.patience import eventually
from tests.servers import Server

WINDOWED = """
---
kind: Task
name: windowed
resource: target
for: {{groups: [testers]}}
hours: "{hours}"
permit:
  - any: ["*"]
"""
# The promise is a second; a busy machine's own pace comes on top.
WITHIN_S = 1.0 + 0.5
HOUR_S = 3600.0


def hours(opens: datetime, closes: datetime) -> str:
    return f"Mon-Sun {opens:%H:%M}-{closes:%H:%M} UTC"


def test_a_grant_that_expires_cuts_its_rows_within_a_second(patient: Faulty) -> None:
    token = patient.own.grant("operator", "everything", lasts_s=2.5)
    granted = time.monotonic()
    with Streaming(patient, "everything", token) as streaming:
        ended = streaming.wait(10)
        assert 1.5 < ended - granted < 2.5 + WITHIN_S
        assert streaming.rows > 1000
    patient.recorded("session.closed", "grant", "expired")
    assert not streaming.runs_on()


def test_an_idle_session_is_cut_by_expiry_too(patient: Faulty) -> None:
    token = patient.own.grant("operator", "everything", lasts_s=1.0)
    with patient.connect("everything", token) as connection:
        time.sleep(1.0 + WITHIN_S)
        with pytest.raises(psycopg.Error, match="expired"):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        patient.connect("everything", token)


def test_a_window_that_closes_ends_the_session(patient: Faulty) -> None:
    """By the clock: it is put to a second before the end of a minute, which is the window's."""
    now = datetime.now(UTC)
    closes = (now + timedelta(minutes=2)).replace(second=0, microsecond=0)
    window = WINDOWED.format(hours=hours(now - timedelta(hours=1), closes))
    patient.reload(TASKS + window)
    patient.logged("policy.loaded")
    _until_policy(patient, f"-{closes:%H:%M} UTC")
    try:
        with Streaming(patient, "windowed", patient.gate.grant("windowed")) as streaming:
            left_s = (closes - datetime.now(UTC)).total_seconds() - 1.0
            patient.set_clock(left_s)
            ended = streaming.wait(10)
            late_s = time.time() + left_s - closes.timestamp()
            assert ended
            assert -0.1 < late_s < WITHIN_S
        with pytest.raises(psycopg.OperationalError, match=r"hours|opens|closed"):
            patient.connect("windowed", streaming.token)
    finally:
        patient.set_clock(0.0)
    patient.recorded("session.closed", "outside its hours")


def _until_policy(patient: Faulty, words: str) -> None:
    def look() -> bool:
        return any(words in line["hours"] for line in _tasks(patient))

    eventually(look, "the policy was not loaded")


def _tasks(patient: Faulty) -> list[dict[str, str]]:
    found = patient.own.ask("operator", "GET", "/v1/tasks")
    return [{"name": str(one["name"]), "hours": str(one.get("hours", ""))} for one in found]


def test_a_policy_that_closes_the_window_ends_the_session(patient: Faulty) -> None:
    now = datetime.now(UTC)
    opened = WINDOWED.format(hours=hours(now - timedelta(hours=1), now + timedelta(hours=1)))
    patient.reload(TASKS + opened)
    _until_policy(patient, f"-{now + timedelta(hours=1):%H:%M} UTC")
    with Streaming(patient, "windowed", patient.gate.grant("windowed")) as streaming:
        time.sleep(0.3)
        shut = WINDOWED.format(hours=hours(now + timedelta(hours=3), now + timedelta(hours=4)))
        began = time.monotonic()
        patient.reload(TASKS + shut)
        assert streaming.wait(10) - began < WITHIN_S


def _has(patient: Faulty, task: str) -> bool:
    return any(one["name"] == task for one in _tasks(patient))


def test_a_policy_without_the_task_ends_its_sessions_and_holds(patient: Faulty) -> None:
    update = "UPDATE shop.orders SET status = 'gone' WHERE id = 41"
    with Streaming(patient, "everything", patient.gate.grant("everything")) as streaming:
        time.sleep(0.3)
        holding = patient.connect("fix")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(holding.execute, update)
            asked = waiting(patient, "id = 41")
            rest = "\n---\n".join(
                document
                for document in TASKS.split("\n---\n")
                if "name: everything" not in document and "name: fix\n" not in document
            )
            began = time.monotonic()
            patient.reload(rest)
            try:
                assert streaming.wait(10) - began < WITHIN_S
                with pytest.raises(psycopg.Error, match=r"not in the policy|policy has changed"):
                    answer.result(10)
                with pytest.raises(psycopg.OperationalError):
                    patient.connect("everything", streaming.token)
            finally:
                patient.reload(TASKS)
        holding.close()
    patient.recorded("session.closed", "everything is not in the policy any more")
    eventually(
        lambda: all(
            one["id"] != asked["id"] for one in patient.own.ask("lead", "GET", "/v1/approvals")
        ),
        "the held request still waits",
    )
    assert patient.behind("SELECT count(*) FROM shop.orders WHERE status = 'gone'") == "0"
    eventually(lambda: _has(patient, "everything"), "the policy was not loaded again")
    patient.well()


def test_a_policy_that_is_wrong_changes_nothing(patient: Faulty) -> None:
    with patient.connect("everything") as connection:
        patient.reload(TASKS + "\n---\nkind: Task\nname: broken\nresorce: target\n")
        patient.logged("policy.not_loaded")
        time.sleep(0.5)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    patient.reload(TASKS)
    patient.own.signal(signal.SIGHUP)
    patient.well()


def _ask_for(connection: "psycopg.Connection[psycopg.rows.TupleRow]", within_s: float) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        connection.execute("SELECT 1")
        time.sleep(0.05)


def test_a_clock_put_back_gives_no_grant_more_time(server: Server, shop_database: str) -> None:
    with faulty_gate(server, shop_database, TASKS) as jumpy:
        token = jumpy.own.grant("operator", "everything", lasts_s=2.0)
        granted = time.monotonic()
        with Streaming(jumpy, "everything", token) as streaming:
            jumpy.set_clock(-HOUR_S)
            assert streaming.wait(10) - granted < 2.0 + WITHIN_S
        with pytest.raises(psycopg.OperationalError):
            jumpy.connect("everything", token)

        # Forward: what is over by then has ended, and says so.
        lasting = jumpy.own.grant("operator", "everything")
        with jumpy.connect("everything", lasting) as connection:
            jumpy.set_clock(24 * HOUR_S)
            began = time.monotonic()
            with pytest.raises(psycopg.Error, match="expired"):
                _ask_for(connection, 5.0)
            assert time.monotonic() - began < WITHIN_S
        jumpy.set_clock(0.0)
        with pytest.raises(psycopg.OperationalError):
            jumpy.connect("everything", lasting)

        # Back to the right time and started anew, nothing dead has come to life, all verifies.
        jumpy.own.stop()
        jumpy.own.start()
        for dead in (token, lasting):
            with pytest.raises(psycopg.OperationalError):
                jumpy.connect("everything", dead)
        jumpy.own.sign_in(OPERATOR)
        jumpy.well()
        report = jumpy.verify()
        assert report.whole, report


def test_a_statement_limit_does_not_follow_the_wall_clock_back(patient: Faulty) -> None:
    with patient.connect("limited") as connection:
        patient.set_clock(-HOUR_S)
        try:
            began = time.monotonic()
            with pytest.raises(errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(10)")
            assert time.monotonic() - began < 2.0 + WITHIN_S
        finally:
            patient.set_clock(0.0)
