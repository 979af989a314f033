"""Many at once: all are answered, or told why not, and nothing of it stays."""

import asyncio
import contextlib
import signal
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.faults.faulty import Faulty, answer, knocking, refusal
from tests.patience import PATIENCE_S, eventually

CONNECTIONS = 10_000
# Sources on this machine's own network; one alone may bring no more than its rate.
SOURCES = 60
AT_ONCE = 400
ALLOWED_KIB = 48 * 1024


async def _knock(port: int, number: int, seen: "Counter[str]") -> None:
    """One client: a start-up, and what comes back for it."""
    source = f"127.0.1.{number % SOURCES + 1}"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    except OSError as error:
        seen[f"not connected: {error.strerror}"] += 1
        return
    try:
        body = struct.pack("!i", 196608) + b"user\0everything\0\0"
        writer.write(struct.pack("!i", len(body) + 4) + body)
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readexactly(5)
            told = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
        if head[:1] == b"R":
            seen["asked for a password"] += 1
        elif b"C53300\0" in told:
            seen["refused: too many"] += 1
        else:
            seen[f"odd: {head + told!r}"] += 1
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        seen[f"broken: {type(error).__name__}"] += 1
    finally:
        writer.close()


async def _storm(port: int, connections: int, at_once: int) -> "Counter[str]":
    seen: Counter[str] = Counter()
    door = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with door:
            await _knock(port, number, seen)

    await asyncio.gather(*(one(number) for number in range(connections)))
    return seen


@pytest.mark.timeout(300)
def test_ten_thousand_connections_in_a_minute(patient: Faulty) -> None:
    """At that rate, that is, in one part of ten at least: a busy machine has others to serve."""
    patient.well()
    before_kib = patient.rss_kib()
    seen: Counter[str] = Counter()
    took_s: list[float] = []
    with patient.connect("everything") as standing:
        for _ in range(10):
            began = time.monotonic()
            seen += asyncio.run(_storm(patient.gate.port, CONNECTIONS // 10, AT_ONCE))
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 6, took_s
        assert set(seen) <= {"asked for a password", "refused: too many"}, seen
        assert seen["asked for a password"] > CONNECTIONS / 10
        assert standing.execute("SELECT 1").fetchone() == (1,), "who was in was put out"
    patient.well()
    eventually(lambda: patient.rss_kib() - before_kib < ALLOWED_KIB, "memory did not come back")
    eventually(lambda: _sockets(patient) < 50, "sockets did not come back")


def _rush(patient: Faulty, many: int) -> list[bytes]:
    """What they are told who all stand at the door when it opens, from one source."""
    with contextlib.ExitStack() as stack:
        patient.own.signal(signal.SIGSTOP)
        try:
            clients = [
                stack.enter_context(knocking(patient, "everything", "127.0.2.1"))
                for _ in range(many)
            ]
        finally:
            patient.own.signal(signal.SIGCONT)
        return [answer(client, "tg_wrong") for client in clients]


def test_one_source_alone_is_held_to_its_rate(patient: Faulty) -> None:
    # As slow as this machine may be just now: each second lets 200 of them in.
    for _ in range(5):
        told = _rush(patient, 700)
        assert all(b"\0M" in one for one in told), "somebody was told nothing"
        counted = Counter("C53300" if b"C53300\0" in one else "other" for one in told)
        if counted["C53300"] > 50:
            break
    assert counted["C53300"] > 50, counted
    line = patient.logged("postgres.too_many", "from one source")
    assert "refused" in line


def test_a_storm_of_wrong_tokens_lets_nobody_in_and_others_through(patient: Faulty) -> None:
    attempts = 1_500
    seen = len(patient.events("login.failed"))
    mark = patient.server.log_size()
    before_kib = patient.rss_kib()
    right = patient.gate.grant("everything")

    def attempt(number: int) -> bytes:
        wrong = f"tg_{number:043}" if number % 2 else right[:-1] + "_"
        return refusal(patient, "everything", wrong, f"127.0.3.{number % SOURCES + 1}")

    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(attempt, range(attempts))
        waits = [_signs_in_s(patient, right) for _ in range(5)]
        told = Counter(answers)
    # One answer for all: nothing can be learnt from it.
    assert len(told) == 1, told.keys()
    assert b"C28000\0" in next(iter(told))
    assert min(waits) < 5, waits
    eventually(lambda: patient.rss_kib() - before_kib < ALLOWED_KIB, "memory did not come back")
    eventually(
        lambda: len(patient.events("login.failed")) - seen >= attempts, "not all were recorded"
    )
    assert patient.server.log_since(mark).count("connection received") <= 10
    assert right not in patient.own.log.read_text()
    patient.well()


def _signs_in_s(patient: Faulty, token: str) -> float:
    began = time.monotonic()
    with patient.connect("everything", token) as connection:
        connection.execute("SELECT 1")
    return time.monotonic() - began


def _sockets(patient: Faulty) -> int:
    found = 0
    for one in Path(f"/proc/{patient.own.pid}/fd").iterdir():
        try:
            found += one.readlink().name.startswith("socket:")
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_sessions_one_after_the_other(patient: Faulty) -> None:
    """Whole ones, sign-in and statement and end: `make test-long`."""
    token = patient.gate.grant("everything")
    patient.well()

    def session(_: int) -> bool:
        for _ in range(100):
            try:
                with patient.connect("everything", token) as connection:
                    return connection.execute("SELECT 1").fetchone() == (1,)
            except psycopg.OperationalError as error:
                if "too many connections" not in str(error):
                    raise
                time.sleep(0.5)
        return False

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(session, range(500)))
        before_kib = patient.rss_kib()
        assert all(pool.map(session, range(CONNECTIONS - 500)))
    assert patient.rss_kib() - before_kib < ALLOWED_KIB
    assert patient.verify().whole
