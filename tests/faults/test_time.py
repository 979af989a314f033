"""Rights end when they end, whatever the clock does and whatever is under way."""

import itertools
import math
import select
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
from tests.patience import PATIENCE_S, eventually, within
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
# A short grant, and time enough to come in under it.
LASTS_S = 4.0
HOUR_S = 3600.0


def hours(opens: datetime, closes: datetime) -> str:
    return f"Mon-Sun {opens:%H:%M}-{closes:%H:%M} UTC"


def test_a_grant_that_expires_cuts_its_rows_within_a_second(patient: Faulty) -> None:

    def attempt() -> float:
        asked = time.monotonic()
        token = patient.own.grant("operator", "everything", lasts_s=LASTS_S)
        granted = time.monotonic()
        try:
            with Streaming(patient, "everything", token) as streaming:
                ended = streaming.wait()
        except psycopg.Error:
            return math.inf  # it was over before anybody came in
        assert ended - asked > LASTS_S - 0.1
        assert not streaming.runs_on()
        return ended - granted - LASTS_S if streaming.rows > 1000 else math.inf

    within(WITHIN_S, attempt)
    patient.recorded("session.closed", "grant", "expired")


def test_an_idle_session_is_cut_by_expiry_too(patient: Faulty) -> None:

    def attempt() -> float:
        token = patient.own.grant("operator", "everything", lasts_s=LASTS_S)
        granted = time.monotonic()
        try:
            connection = patient.connect("everything", token)
        except psycopg.OperationalError:
            return math.inf  # it was over before anybody came in
        with connection:
            told = select.poll()
            told.register(connection.fileno(), select.POLLIN)
            assert told.poll(PATIENCE_S * 1000), "nothing was said to it"
            ended = time.monotonic()
            with pytest.raises(psycopg.Error, match="expired"):
                connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            patient.connect("everything", token)
        return ended - granted - LASTS_S

    within(WITHIN_S, attempt)


def test_a_window_that_closes_ends_the_session(patient: Faulty) -> None:
    """By the clock: it is put to a second before the end of a minute, which is the window's."""
    ahead_s = 0.0

    def attempt() -> float:
        nonlocal ahead_s
        now = datetime.now(UTC) + timedelta(seconds=ahead_s)
        closes = (now + timedelta(minutes=2)).replace(second=0, microsecond=0)
        window = WINDOWED.format(hours=hours(now - timedelta(hours=1), closes))
        patient.reload(TASKS + window)
        patient.logged("policy.loaded")
        _until_policy(patient, f"-{closes:%H:%M} UTC")
        with Streaming(patient, "windowed", patient.gate.grant("windowed")) as streaming:
            ahead_s = (closes - datetime.now(UTC)).total_seconds() - 1.0
            patient.set_clock(ahead_s)
            ended = streaming.wait()
            late_s = time.time() - (time.monotonic() - ended) + ahead_s - closes.timestamp()
            assert late_s > -0.1
        with pytest.raises(psycopg.OperationalError, match=r"hours|opens|closed"):
            patient.connect("windowed", streaming.token)
        return late_s

    try:
        within(WITHIN_S, attempt)
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
    shut = WINDOWED.format(hours=hours(now + timedelta(hours=3), now + timedelta(hours=4)))

    def attempt() -> float:
        patient.reload(TASKS + opened)
        _until_policy(patient, f"-{now + timedelta(hours=1):%H:%M} UTC")
        with Streaming(patient, "windowed", patient.gate.grant("windowed")) as streaming:
            time.sleep(0.3)
            began = time.monotonic()
            patient.reload(TASKS + shut)
            return streaming.wait() - began

    within(WITHIN_S, attempt)


def _has(patient: Faulty, task: str) -> bool:
    return any(one["name"] == task for one in _tasks(patient))


def test_a_policy_without_the_task_ends_its_sessions_and_holds(patient: Faulty) -> None:
    update = "UPDATE shop.orders SET status = 'gone' WHERE id = 41"
    rest = "\n---\n".join(
        document
        for document in TASKS.split("\n---\n")
        if "name: everything" not in document and "name: fix\n" not in document
    )

    def attempt() -> float:
        with (
            Streaming(patient, "everything", patient.gate.grant("everything")) as streaming,
            patient.connect("fix") as holding,
            ThreadPoolExecutor(1) as pool,
        ):
            time.sleep(0.3)
            answer = pool.submit(holding.execute, update)
            asked = waiting(patient, "id = 41")
            began = time.monotonic()
            patient.reload(rest)
            try:
                took_s = streaming.wait() - began
                with pytest.raises(psycopg.Error, match=r"not in the policy|policy has changed"):
                    answer.result(PATIENCE_S)
                with pytest.raises(psycopg.OperationalError):
                    patient.connect("everything", streaming.token)
            finally:
                patient.reload(TASKS)
        eventually(
            lambda: all(
                one["id"] != asked["id"] for one in patient.own.ask("lead", "GET", "/v1/approvals")
            ),
            "the held request still waits",
        )
        eventually(lambda: _has(patient, "everything"), "the policy was not loaded again")
        return took_s

    within(WITHIN_S, attempt)
    patient.recorded("session.closed", "everything is not in the policy any more")
    assert patient.behind("SELECT count(*) FROM shop.orders WHERE status = 'gone'") == "0"
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


def _ask_on(connection: "psycopg.Connection[psycopg.rows.TupleRow]") -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        connection.execute("SELECT 1")
        time.sleep(0.05)


def test_a_clock_put_back_gives_no_grant_more_time(server: Server, shop_database: str) -> None:
    with faulty_gate(server, shop_database, TASKS) as jumpy:
        dead: list[str] = []

        def back() -> float:
            jumpy.set_clock(0.0)
            token = jumpy.own.grant("operator", "everything", lasts_s=LASTS_S)
            granted = time.monotonic()
            dead.append(token)
            try:
                with Streaming(jumpy, "everything", token) as streaming:
                    jumpy.set_clock(-HOUR_S)
                    took_s = streaming.wait() - granted - LASTS_S
            except psycopg.Error:
                return math.inf  # it was over before anybody came in
            with pytest.raises(psycopg.OperationalError):
                jumpy.connect("everything", token)
            return took_s

        within(WITHIN_S, back)
        days = itertools.count(1)

        def forward() -> float:
            """What is over by then has ended, and says so."""
            day = next(days)
            if day > 1:
                jumpy.own.sign_in(OPERATOR)
            lasting = jumpy.own.grant("operator", "everything")
            dead.append(lasting)
            with jumpy.connect("everything", lasting) as connection:
                jumpy.set_clock(day * 24 * HOUR_S)
                began = time.monotonic()
                with pytest.raises(psycopg.Error, match="expired"):
                    _ask_on(connection)
                return time.monotonic() - began

        within(WITHIN_S, forward)
        jumpy.set_clock(0.0)
        with pytest.raises(psycopg.OperationalError):
            jumpy.connect("everything", dead[-1])

        # Back to the right time and started anew, nothing dead has come to life, all verifies.
        jumpy.own.stop()
        jumpy.own.start()
        for token in dead:
            with pytest.raises(psycopg.OperationalError):
                jumpy.connect("everything", token)
        jumpy.own.sign_in(OPERATOR)
        jumpy.well()
        report = jumpy.verify()
        assert report.whole, report


def test_a_statement_limit_does_not_follow_the_wall_clock_back(patient: Faulty) -> None:
    with patient.connect("limited") as connection:

        def attempt() -> float:
            patient.set_clock(0.0)
            patient.set_clock(-HOUR_S)
            began = time.monotonic()
            with pytest.raises(errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(10)")
            return time.monotonic() - began

        try:
            within(2.0 + WITHIN_S, attempt)
        finally:
            patient.set_clock(0.0)
