"""Whoever has much rewritten holds nobody else up, and loses nothing of it."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.pacing import PIECE_BYTES, TURN_BYTES, Paced
from taskgate.gateway.postgres_session import Around, PostgresSession
from taskgate.gateway.signals import Signals
from taskgate.model.clock import Clock
from taskgate.model.errors import NotRecorded, TaskgateError
from taskgate.protocols.postgres.conversation import Output
from taskgate.protocols.postgres.exchange import Exchange

KIB = 1024
# What libuv reads off one connection before it looks at the next: 32 times 64 KiB.
READS_A_TURN = 32
CHUNK = 64 * KIB


def still() -> float:
    """Time does not pass: bytes alone decide."""
    return 0.0


class Pipe:
    """A transport whose peer has already sent everything; read as libuv reads."""

    def __init__(self, sent: bytes = b"") -> None:
        self.protocol: asyncio.Protocol | None = None
        self.sent = sent
        self.written: list[bytes] = []
        self.reading = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def turn(self) -> int:
        """One turn's reads; how many bytes."""
        assert self.protocol is not None
        before = len(self.sent)
        for _ in range(READS_A_TURN):
            if not (self.sent and self.reading):
                break
            data, self.sent = self.sent[:CHUNK], self.sent[CHUNK:]
            self.protocol.data_received(data)
        return before - len(self.sent)


class Rewriting:
    """Stands in for an exchange: rewrites what the resource says, if it is to."""

    def __init__(self, name: str, log: list[tuple[str, int]], masks: bool) -> None:
        self.rewritten = 0
        self.busy = self.more = self.deciding = self.mid_frame = self.told_fatal = False
        self.waiting_bytes = self.holding = 0
        self.ended = ""
        self._name, self._log, self._masks = name, log, masks
        self._out = Output()

    def upstream_data(self, data: bytes, now: float) -> None:
        self._log.append((self._name, len(data)))
        self._out.to_client.append(data.upper())
        if self._masks:
            self.rewritten += len(data)

    def take(self) -> Output:
        out, self._out = self._out, Output()
        return out

    def lost(self, why: str) -> None:
        self.ended = why


class Unrecorded:
    """Stands in for a gate and its recording."""

    needs_settle = False
    requests = 0

    def __init__(self) -> None:
        self.recording = self
        self.info = SimpleNamespace(id="s-1")
        self.full = False
        self.signals = Signals()

    def flush(self) -> None:
        if self.full:
            raise NotRecorded("no space left on the disk")

    def note(self, kind: str, facts: dict[str, object]) -> None: ...


class Side:
    """A session between two pipes."""

    def __init__(
        self, name: str, sent: bytes, log: list[tuple[str, int]], *, masks: bool = True
    ) -> None:
        self.client, self.upstream = Pipe(), Pipe(sent)
        self.exchange = Rewriting(name, log, masks)
        self.gate = Unrecorded()

        async def hold(*_: object) -> TaskgateError | None:
            return None

        async def nothing(*_: object) -> None: ...

        self.session = PostgresSession(
            cast(asyncio.Transport, self.client),
            cast(asyncio.Transport, self.upstream),
            cast(Exchange, self.exchange),
            cast(TaskGate, self.gate),
            Clock(lambda: 0.0, still),
            Around(hold, nothing, nothing, lambda: None),
        )
        self.session.start()


async def turns(until: Callable[[], bool], *pipes: Pipe, most: int = 200) -> list[int]:
    """Lets every pipe read once a turn of the loop; how much the first one read in each."""
    read: list[int] = []
    while not until():
        assert len(read) < most
        first, *_ = [pipe.turn() for pipe in pipes]
        read.append(first)
        await asyncio.sleep(0)
    return read


async def test_another_session_s_answer_waits_for_a_little_of_a_masked_result_only() -> None:
    log: list[tuple[str, int]] = []
    bulk = Side("bulk", b"abcdefgh" * (512 * KIB), log)
    small = Side("small", b"one row", log)
    await turns(lambda: not bulk.upstream.sent, bulk.upstream, small.upstream)
    before = sum(size for name, size in log[: log.index(("small", 7))] if name == "bulk")
    assert before <= TURN_BYTES + PIECE_BYTES
    await turns(lambda: sum(map(len, bulk.client.written)) == 4096 * KIB, bulk.upstream)
    assert b"".join(bulk.client.written) == b"ABCDEFGH" * (512 * KIB)
    assert b"".join(small.client.written) == b"ONE ROW"


async def test_each_turn_takes_a_little_of_it() -> None:
    log: list[tuple[str, int]] = []
    bulk = Side("bulk", b"x" * (4096 * KIB), log)
    read = await turns(lambda: not bulk.upstream.sent, bulk.upstream)
    assert max(read) <= TURN_BYTES + CHUNK
    assert len(read) >= 4096 * KIB // (TURN_BYTES + CHUNK)


async def test_what_passes_untouched_is_not_held_up() -> None:
    log: list[tuple[str, int]] = []
    bulk = Side("bulk", b"x" * (READS_A_TURN * CHUNK), log, masks=False)
    assert bulk.upstream.turn() == READS_A_TURN * CHUNK
    assert log == [("bulk", CHUNK)] * READS_A_TURN


async def test_what_was_read_reaches_the_client_before_the_end_does() -> None:
    log: list[tuple[str, int]] = []
    bulk = Side("bulk", b"", log)
    # TLS hands over more than was asked for, and the end right behind it.
    assert bulk.upstream.protocol is not None
    for _ in range(20):
        bulk.upstream.protocol.data_received(b"a" * CHUNK)
    bulk.upstream.closed = True
    bulk.upstream.protocol.connection_lost(None)
    assert bulk.exchange.ended == ""
    assert sum(size for _, size in log) <= TURN_BYTES + CHUNK
    await turns(lambda: bool(bulk.exchange.ended), bulk.upstream)
    assert bulk.exchange.ended == "the resource closed the connection"
    said = b"".join(bulk.client.written)
    assert said.startswith(b"A" * (20 * CHUNK))
    assert b"08006" in said[20 * CHUNK :]


async def test_a_client_that_does_not_read_stops_the_reading_also_between_turns() -> None:
    log: list[tuple[str, int]] = []
    bulk = Side("bulk", b"x" * (4096 * KIB), log)
    bulk.upstream.turn()
    assert bulk.client.protocol is not None
    bulk.client.protocol.pause_writing()
    for _ in range(5):
        await asyncio.sleep(0)
    left = len(bulk.upstream.sent)
    assert bulk.upstream.turn() == 0
    bulk.client.protocol.resume_writing()
    assert bulk.upstream.turn() > 0
    assert len(bulk.upstream.sent) < left


async def test_time_counts_where_rewriting_is_slow() -> None:
    now = 0.0
    taken: list[int] = []

    def slowly(data: bytes) -> int:
        nonlocal now
        now += 0.006
        taken.append(len(data))
        return len(data)

    paced = Paced(slowly, lambda: None, lambda: now)
    for _ in range(4):
        paced.received(b"x" * 1024)
    assert len(taken) == 2
    assert paced.full
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert taken == [1024] * 4


async def test_nothing_is_handed_on_after_a_stop() -> None:
    taken: list[bytes] = []

    def take(data: bytes) -> int:
        taken.append(data)
        return len(data)

    paced = Paced(take, lambda: None, still)
    for _ in range(8):
        paced.received(b"x" * TURN_BYTES)
    paced.ended(lambda: taken.append(b"the end"))
    paced.stop()
    for _ in range(12):
        await asyncio.sleep(0)
    assert taken == [b"x" * TURN_BYTES]


async def test_what_could_not_be_recorded_is_counted_once() -> None:
    side = Side("one", b"secret", [])
    side.gate.full = True
    side.upstream.turn()
    assert b"SECRET" not in b"".join(side.client.written)
    assert b"taskgate_recording_errors_total 1.0" in side.gate.signals.text()
    assert b"taskgate_upstream_errors_total 0.0" in side.gate.signals.text()
