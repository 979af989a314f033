"""What no client sends: nothing of it goes on, and it is told, and kept."""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskgate.model import limits
from tests.end_to_end.wire import Wire, message
from tests.faults.faulty import Faulty
from tests.patience import PATIENCE_S, eventually

_TOO_LONG = limits.MAX_STATEMENT_BYTES + 5
# Sooner than by the limit that the gateway comes with: by its own, which is less.
LET_GO_S = 20.0

BROKEN = {
    "a length of less than itself": b"Q" + struct.pack("!i", 3),
    "a negative length": b"Q" + struct.pack("!i", -1),
    "an unknown type": message("!", b"SELECT 666\0"),
    "a type of the server's": message("D", b"\0"),
    "a query without its end": message("Q", b"SELECT 666"),
    "a query with a second text": message("Q", b"SELECT 1\0SELECT 666\0"),
    "a query that is no UTF-8": message("Q", b"SELECT 666, '\xff'\0"),
    "a Parse cut short": message("P", b"\0SELECT 666\0\0"),
    "a Bind that counts wrong": message("B", b"\0\0" + struct.pack("!hh", 0, 9)),
    "a Describe of nothing known": message("D", b"X\0"),
    "a password after signing in": message("p", b"SELECT 666\0"),
}
OVERSIZED = {
    "a statement": b"Q" + struct.pack("!i", _TOO_LONG),
    "a Parse": b"P" + struct.pack("!i", _TOO_LONG),
    "a Bind": b"B" + struct.pack("!i", limits.MAX_BIND_BYTES + 5),
    "a Sync": b"S" + struct.pack("!i", limits.MAX_SMALL_FRAME_BYTES + 5),
    "all that the length can say": b"Q" + struct.pack("!I", 0x7FFFFFFF),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_message_is_told_kept_and_not_passed_on(faulty: Faulty, broken: bytes) -> None:
    with Wire(faulty, "everything") as wire:
        assert wire.query("SELECT 1")[-1] == "Z"
        mark = faulty.server.log_size()
        seen = len(faulty.events("session.closed", "request.denied"))
        wire.send(broken + message("S") + message("Q", b"SELECT 666\0")[:3])
        wire.socket.settimeout(PATIENCE_S)
        kinds = wire.until_ready()
        assert "E" in kinds, kinds
        assert wire.errors[-1]["C"][:2] in ("08", "42", "22", "54"), wire.errors
        assert wire.errors[-1]["M"]
    assert "666" not in faulty.server.log_since(mark)
    eventually(
        lambda: len(faulty.events("session.closed", "request.denied")) > seen,
        "nothing of it was recorded",
    )


@pytest.mark.cap("MAX_SMALL_FRAME_BYTES")
@pytest.mark.parametrize("head", OVERSIZED.values(), ids=OVERSIZED.keys())
def test_an_oversized_message_is_refused_by_its_length_alone(faulty: Faulty, head: bytes) -> None:
    with Wire(faulty, "everything") as wire:
        assert wire.query("SELECT 1")[-1] == "Z"
        before_kib = faulty.rss_kib()
        mark = faulty.server.log_size()
        wire.send(head + b"SELECT 666")
        wire.socket.settimeout(PATIENCE_S)
        assert wire.until_ready() == ["E", "eof"]
        assert wire.errors[-1]["C"] == "54000"
        assert "bytes" in wire.errors[-1]["M"]
        assert faulty.rss_kib() - before_kib < 16 * 1024
    assert "666" not in faulty.server.log_since(mark)
    faulty.recorded("session.closed", "at most")


def test_a_client_that_sends_byte_by_byte_is_served_all_the_same(faulty: Faulty) -> None:
    with Wire(faulty, "everything") as wire:
        mark = faulty.server.log_size()
        frame = message("Q", b"SELECT 31337\0")
        for at in range(len(frame) - 1):
            wire.send(frame[at : at + 1])
            time.sleep(0.005)
        assert "31337" not in faulty.server.log_since(mark), "half a statement was sent on"
        wire.send(frame[-1:])
        assert wire.until_ready() == ["T", "D", "C", "Z"]
    faulty.recorded("request.finished")
    faulty.recorded("request.permitted", "SELECT 31337")


def test_a_startup_byte_by_byte_is_served_within_its_time(faulty: Faulty) -> None:
    body = struct.pack("!i", 196608) + b"user\0everything\0\0"
    packet = struct.pack("!i", len(body) + 4) + body
    with _plain(faulty) as client:
        for at in range(len(packet)):
            client.sendall(packet[at : at + 1])
            time.sleep(0.005)
        assert client.recv(9) == b"R" + struct.pack("!ii", 8, 3)


HALVES: dict[str, Callable[[Faulty], socket.socket]] = {}


def _half(name: str) -> Callable[[Callable[[Faulty], socket.socket]], None]:
    def keep(make: Callable[[Faulty], socket.socket]) -> None:
        HALVES[name] = make

    return keep


def _plain(faulty: Faulty) -> socket.socket:
    return socket.create_connection(("127.0.0.1", faulty.gate.port), timeout=PATIENCE_S)


@_half("nothing at all")
def _nothing(faulty: Faulty) -> socket.socket:
    return _plain(faulty)


@_half("half a startup packet")
def _half_packet(faulty: Faulty) -> socket.socket:
    client = _plain(faulty)
    client.sendall(struct.pack("!ii", 50, 196608) + b"user\0every")
    return client


@_half("a startup packet, and no password")
def _no_password(faulty: Faulty) -> socket.socket:
    client = _plain(faulty)
    body = struct.pack("!i", 196608) + b"user\0everything\0\0"
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    assert client.recv(9)[:1] == b"R"
    return client


@_half("nothing behind the handshake")
def _nothing_in_tls(faulty: Faulty) -> socket.socket:
    client = _plain(faulty)
    client.sendall(struct.pack("!ii", 8, 80877103))
    assert client.recv(1) == b"S"
    context = ssl.create_default_context(cafile=str(faulty.own.ca_file))
    return context.wrap_socket(client, server_hostname="localhost")


@pytest.fixture(scope="module")
def let_go(faulty: Faulty) -> dict[str, tuple[bytes, float]]:
    """What each of HALVES was told, and after how many seconds. They wait all at once."""

    def wait(make: Callable[[Faulty], socket.socket]) -> tuple[bytes, float]:
        with make(faulty) as client:
            began = time.monotonic()
            told = b""
            while piece := client.recv(65536):
                told += piece
            return told, time.monotonic() - began

    def recorded() -> int:
        failed = faulty.events("login.failed")
        return sum("no sign-in within" in str(event.facts["reason"]) for event in failed)

    mark, before = faulty.server.log_size(), recorded()
    with ThreadPoolExecutor(len(HALVES)) as pool:
        found = dict(zip(HALVES, pool.map(wait, HALVES.values()), strict=True))
    assert "connection received" not in faulty.server.log_since(mark)
    eventually(lambda: recorded() >= before + len(HALVES), "it was not recorded")
    return found


@pytest.mark.cap("LOGIN_TIMEOUT_S")
@pytest.mark.parametrize("name", HALVES)
def test_who_does_not_finish_signing_in_is_told_and_let_go(
    let_go: dict[str, tuple[bytes, float]], name: str
) -> None:
    told, took_s = let_go[name]
    assert took_s < LET_GO_S
    assert told[:1] == b"E"
    assert b"no sign-in within 6 s" in told


def test_half_a_tls_handshake_is_let_go_too(faulty: Faulty) -> None:
    with _plain(faulty) as client:
        client.sendall(struct.pack("!ii", 8, 80877103))
        assert client.recv(1) == b"S"
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        began = time.monotonic()
        while client.recv(65536):
            pass
        assert time.monotonic() - began < LET_GO_S
    faulty.well()


BAD_STARTS = {
    "a web browser": b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n",
    "a length of nothing": struct.pack("!i", 0) + bytes(8),
    "a length beyond all reason": struct.pack("!i", 0x7FFFFFF0) + bytes(8),
    "an old protocol": struct.pack("!ii", 9, 131072) + b"\0",
    "a query before signing in": message("Q", b"SELECT 666\0"),
    "a name without an end": struct.pack("!ii", 16, 196608) + b"useruser",
}


@pytest.mark.parametrize("start", BAD_STARTS.values(), ids=BAD_STARTS.keys())
def test_a_bad_startup_is_told_and_kept(faulty: Faulty, start: bytes) -> None:
    mark = faulty.server.log_size()
    seen = len(faulty.events("login.failed"))
    with _plain(faulty) as client:
        client.sendall(start)
        told = b""
        while piece := client.recv(65536):
            told += piece
    assert told[:1] == b"E"
    assert "connection received" not in faulty.server.log_since(mark)
    eventually(lambda: len(faulty.events("login.failed")) > seen, "nothing of it was recorded")
