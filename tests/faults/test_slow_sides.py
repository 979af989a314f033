"""A side that does not read, and messages that come faster than verdicts."""

import struct
import time

import pytest
from psycopg import sql

from tests.end_to_end.wire import Wire, message
from tests.faults.faulty import Faulty
from tests.patience import PATIENCE_S, eventually

GIGABYTE = "SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000000)"
ONE_VALUE = "SELECT repeat('x', 250000000) AS x"
MASKED = "SELECT email FROM shop.customers a, generate_series(1, 2000000)"
DENIED = "DELETE FROM shop.orders"
# What the gate, the kernel's buffers aside, may take more for one such client.
ALLOWED_KIB = 24 * 1024
LOOKS_S = 3.0


def _grown_kib(faulty: Faulty, since_kib: int) -> int:
    """The most that the gateway's memory has grown while this looks."""
    most = 0
    end = time.monotonic() + LOOKS_S
    while time.monotonic() < end:
        most = max(most, faulty.rss_kib() - since_kib)
        time.sleep(0.05)
    return most


@pytest.mark.parametrize(
    ("task", "text"),
    [("everything", GIGABYTE), ("everything", ONE_VALUE), ("report", MASKED)],
    ids=["rows", "one value", "masked rows"],
)
def test_a_client_that_never_reads_costs_bounded_memory(
    faulty: Faulty, task: str, text: str
) -> None:
    if task == "report":
        # The task calls no function; what it may do without one is a join.
        text = "SELECT a.email FROM shop.customers a, shop.customers b, shop.orders c"
    with Wire(faulty, task) as wire:
        wire.query(sql.SQL("SELECT 1").as_string())
        before_kib = faulty.rss_kib()
        wire.send(message("Q", text.encode() + b"\0"))
        assert _grown_kib(faulty, before_kib) < ALLOWED_KIB
        faulty.well()
    # It is gone now: what it asked for is stopped, and said so.
    faulty.recorded("session.closed", "the client closed the connection")
    _nothing_runs(faulty)


def test_a_client_that_never_reads_its_refusals_costs_bounded_memory(faulty: Faulty) -> None:
    """The gate answers these itself: no resource slows them down."""
    with Wire(faulty, "report") as wire:
        wire.query("SELECT 1")
        before_kib = faulty.rss_kib()
        wire.socket.settimeout(2)
        # Long enough that the kernel's own buffers do not take them all.
        flood = message("Q", f"{DENIED} -- {'x' * 400}".encode() + b"\0") * 100
        with pytest.raises(TimeoutError):
            _send_often(wire, flood, 6_000)
        assert _grown_kib(faulty, before_kib) < ALLOWED_KIB
    faulty.well()


def _send_often(wire: Wire, data: bytes, times: int) -> None:
    for _ in range(times):
        wire.send(data)


def _bind(value: bytes) -> bytes:
    body = b"\0\0" + struct.pack("!hh", 0, 1) + struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!h", 0))


def test_a_long_bind_behind_an_unanswered_parse_is_read_to_its_end(faulty: Faulty) -> None:
    """Nothing answers the Parse before the Sync that stands behind the Bind."""
    with Wire(faulty, "everything") as wire:
        wire.query("SELECT 1")
        wire.socket.settimeout(PATIENCE_S)
        for size in (1, 20):
            text = f"SELECT length($1::text), {size}".encode()
            wire.send(
                message("P", b"\0" + text + b"\0" + struct.pack("!h", 0))
                + _bind(b"x" * (size * 1024 * 1024))
                + message("E", b"\0" + struct.pack("!i", 0))
                + message("S")
            )
            assert wire.until_ready() == ["1", "2", "D", "C", "Z"]


def test_many_small_messages_behind_an_undecided_one_are_all_served(faulty: Faulty) -> None:
    many = 30_000
    with Wire(faulty, "everything") as wire:
        wire.query("SELECT 1")
        wire.socket.settimeout(PATIENCE_S)
        wire.send(message("Q", b"SELECT count(*) FROM shop.products, pg_sleep(0.2)\0"))
        wire.send(message("S") * many)
        assert wire.until_ready() == ["T", "D", "C", "Z"]
        for _ in range(many):
            assert wire.next()[0] == "Z", wire.errors


def test_a_long_statement_behind_a_running_one_is_read_to_its_end(faulty: Faulty) -> None:
    with Wire(faulty, "everything") as wire:
        wire.query("SELECT 1")
        wire.socket.settimeout(PATIENCE_S)
        wire.send(message("Q", b"SELECT pg_sleep(0.5)\0"))
        time.sleep(0.1)
        long = b"SELECT length('" + b"x" * 1_000_000 + b"')\0"
        wire.send(message("Q", long) + message("Q", b"SELECT 2\0"))
        for _ in range(3):
            assert wire.until_ready()[-2:] == ["C", "Z"]


@pytest.mark.cap("MAX_WAITING_BYTES")
def test_what_waits_behind_a_hold_is_not_taken_in_without_end(faulty: Faulty) -> None:
    update = b"UPDATE shop.orders SET status = 'cancelled' WHERE id = 77\0"
    behind = message("Q", b"SELECT '" + b"x" * 100_000 + b"'\0")
    with Wire(faulty, "fix") as wire:
        wire.query("SELECT 1")
        before_kib = faulty.rss_kib()
        mark = faulty.server.log_size()
        wire.send(message("Q", update))
        wire.socket.settimeout(2)
        with pytest.raises(TimeoutError):
            _send_often(wire, behind, 1_000)
        assert faulty.rss_kib() - before_kib < ALLOWED_KIB
        assert "xxxx" not in faulty.server.log_since(mark)
        assert "UPDATE" not in faulty.server.log_since(mark)
    faulty.recorded("request.held", "id = 77")
    faulty.well()


def _nothing_runs(faulty: Faulty) -> None:
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname ="
        f" '{faulty.database}' AND query LIKE '%repeat%' AND pid <> pg_backend_pid()"
    )
    eventually(lambda: faulty.server.run(running).strip() == "0", "it still runs")
