"""One PostgreSQL session in the data path: two connections, one exchange, one recording.

What is to go to the resource leaves only after the recording was written out (and, with
durability `disk`, is on the disk). Neither side is read while the other does not take what it is
sent, so memory stays bounded whatever either does.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.pacing import Paced
from taskgate.model.clock import Clock
from taskgate.model.errors import NotRecorded, ProtocolViolation, TaskgateError, UpstreamFault
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_WAITING_BYTES
from taskgate.protocols.postgres import messages
from taskgate.protocols.postgres.authentication import BackendKey
from taskgate.protocols.postgres.conversation import AskHold, CancelUpstream, DropHold, End
from taskgate.protocols.postgres.errors import Severity, encode_error
from taskgate.protocols.postgres.exchange import Exchange

_log = structlog.get_logger(__name__)
_LEAVE_S = 2.0
# Silent for so long, a session is taken to be at rest.
_REST_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Around:
    """What a session asks of the gateway around it.

    `hold` runs one hold to its end and returns None for approved, or the refusal; it is cancelled
    when the hold is moot. `cancel_upstream` sends the resource a cancel request. `closed` puts
    the session's record away; it is called once. `rest` gives back what only a session needs that
    has something to do; it is called whenever one has fallen silent.
    """

    hold: Callable[["PostgresSession", AskHold], Coroutine[Any, Any, TaskgateError | None]]
    cancel_upstream: Callable[[], Coroutine[Any, Any, None]]
    closed: Callable[["PostgresSession", str], Coroutine[Any, Any, None]]
    rest: Callable[[], None]


class _Side(asyncio.Protocol):
    """One of the two connections."""

    def __init__(
        self,
        received: Callable[[bytes], None],
        lost: Callable[[Exception | None], None],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when `full` changes."""
        self.received = received
        self.lost = lost
        self.full = False
        self.reading = False
        self._changed = changed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport was made before; nothing to do."""

    def data_received(self, data: bytes) -> None:
        self.received(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.full = False
        self.lost(exc)

    def pause_writing(self) -> None:
        self.full = True
        self._changed()

    def resume_writing(self) -> None:
        self.full = False
        self._changed()


class PostgresSession:
    """The driver of one exchange. `cancel_key` is what its client may cancel it with."""

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        exchange: Exchange,
        gate: TaskGate,
        clock: Clock,
        around: Around,
    ) -> None:
        self.gate = gate
        self.recording = gate.recording
        self.cancel_key: BackendKey | None = None
        self._client = client
        self._upstream = upstream
        self._exchange = exchange
        self._clock = clock
        self._around = around
        self._holds: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: list[bytes] = []
        self._unsettled_bytes = 0
        self._going_on = False
        self._settling = False
        self._cancelling: asyncio.Task[None] | None = None
        self._last_active = clock.monotonic()
        self._resting = False
        self._over = False
        self._tallies = gate.signals.tallies
        self._client_side = _Side(self._from_client, self._client_lost, self._regulate)
        self._pace = Paced(self._from_upstream, self._regulate, clock.monotonic)
        self._upstream_side = _Side(self._pace.received, self._upstream_gone, self._regulate)

    def start(self, early_client: bytes = b"", early_upstream: bytes = b"") -> None:
        """Takes both connections over; `early_*` came with the login's last bytes."""
        for transport, side in (
            (self._client, self._client_side),
            (self._upstream, self._upstream_side),
        ):
            transport.set_write_buffer_limits(high=MAX_WAITING_BYTES)
            transport.set_protocol(side)
        if early_upstream:
            self._pace.received(early_upstream)
        if early_client:
            self._from_client(early_client)
        self._regulate()

    @property
    def busy(self) -> bool:
        return self._exchange.busy

    # Bytes in.

    def _from_client(self, data: bytes) -> None:
        self._last_active = self._clock.monotonic()
        self._resting = False
        if not self._exchange.deciding:
            self.gate.asked_at = self._last_active
        try:
            self._exchange.client_data(data, self._clock.now())
            self._send()
        except TaskgateError as error:
            self._end(error, error.message)
        except Exception as error:
            self._fault(error)

    def _from_upstream(self, data: bytes) -> int:
        """How many of the bytes had to be rewritten."""
        before = self._exchange.rewritten
        try:
            self._exchange.upstream_data(data, self._clock.now())
            self._send()
        except TaskgateError as error:
            self._end(error, error.message)
        except Exception as error:
            self._fault(error)
        return self._exchange.rewritten - before

    def _go_on(self) -> None:
        """Another turn for messages of which there are many."""
        self._going_on = False
        if self._over:
            return
        try:
            self._exchange.client_more(self._clock.now())
            self._send()
        except TaskgateError as error:
            self._end(error, error.message)
        except Exception as error:
            self._fault(error)

    def _room(self) -> bool:
        """Whether more of the client may be taken in: both sides take what they are sent, and
        little waits for a verdict, for the disk, or for a cancel. A long message that waits for
        its own end alone is read on: nothing else would ever complete it."""
        exchange = self._exchange
        return not (
            self._exchange.more
            or self._client_side.full
            or self._upstream_side.full
            or self._unsettled_bytes > MAX_WAITING_BYTES
            or (exchange.deciding and exchange.waiting_bytes > MAX_WAITING_BYTES)
        )

    def _regulate(self) -> None:
        """Reads either side while there is room for what it sends."""
        if self._over:
            return
        _read(self._client, self._client_side, self._room())
        takes_more = not (self._client_side.full or self._pace.full)
        _read(self._upstream, self._upstream_side, takes_more)

    def _send(self) -> None:
        """Sends what the exchange has for either side, the record first."""
        out = self._exchange.take()
        if self._over:
            return
        self.recording.flush()
        if out.to_client:
            data = b"".join(out.to_client)
            self._tallies.bytes_to_client += len(data)
            self._client.write(data)
        if out.to_upstream:
            # Also while earlier bytes still wait: nothing overtakes.
            if self.recording.needs_settle or self._cancelling is not None or self._settling:
                self._unsettled += out.to_upstream
                self._unsettled_bytes += sum(map(len, out.to_upstream))
                self._settle_soon()
            elif not self._upstream.is_closing():
                self._to_upstream(out.to_upstream)
        for command in out.commands:
            match command:
                case AskHold():
                    self._hold(command)
                case DropHold(number, why):
                    self._drop_hold(number, why)
                case CancelUpstream():
                    self._cancel_upstream()
                case End(error, why):
                    self._end(error, why)
        if self._exchange.more and not self._going_on:
            self._going_on = True
            asyncio.get_running_loop().call_soon(self._go_on)
        if self._room() is not self._client_side.reading:
            self._regulate()

    def _to_upstream(self, parts: list[bytes]) -> None:
        data = b"".join(parts)
        self._tallies.bytes_to_resource += len(data)
        self._upstream.write(data)

    def _cancel_upstream(self) -> None:
        """Asks the resource to cancel what it is doing. Until it has taken that in, nothing more
        is sent to it: a late cancel would hit the next statement."""
        if self._cancelling is None:
            self._cancelling = self._spawn(self._around.cancel_upstream())
            self._cancelling.add_done_callback(self._cancelled)

    def _cancelled(self, task: asyncio.Task[None]) -> None:
        if self._cancelling is task:
            self._cancelling = None

    # What goes upstream waits, in order, for the fsync (durability `disk`) and for a cancel.

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._spawn(self._settle())

    async def _settle(self) -> None:
        try:
            while self._unsettled and not self._over:
                if self._cancelling is not None:
                    await asyncio.wait({self._cancelling})
                waiting, self._unsettled = self._unsettled, []
                await self.recording.settle()
                if not self._over:
                    self._unsettled_bytes -= sum(map(len, waiting))
                    if not self._upstream.is_closing():
                        self._to_upstream(waiting)
            self._regulate()
        except TaskgateError as error:
            self._end(error, error.message)
        finally:
            self._settling = False

    # Holds.

    def _hold(self, ask: AskHold) -> None:
        task = self._spawn(self._held(ask))
        self._holds[ask.admission.number] = task

    async def _held(self, ask: AskHold) -> None:
        number = ask.admission.number
        try:
            error = await self._around.hold(self, ask)
        finally:
            self._holds.pop(number, None)
        if self._over:
            return
        try:
            self._exchange.hold_ended(number, error, self._clock.now())
            self._send()
        except TaskgateError as problem:
            self._end(problem, problem.message)

    def _drop_hold(self, number: int, why: str) -> None:
        task = self._holds.pop(number, None)
        if task is not None:
            task.cancel(why)

    def tell(self, message: str, hint: str = "") -> None:
        """A notice for the client, between messages."""
        if not self._over and self._exchange.notice(message, hint):
            self._send()

    def cancel(self) -> None:
        """The client asked to cancel (on another connection)."""
        if self._over:
            return
        try:
            holding = self._exchange.holding
            if self._exchange.cancel(self._clock.now()):
                self._cancel_upstream()
            elif holding:
                self._drop_hold(holding, "the client cancelled it")
            self._send()
        except TaskgateError as error:
            self._end(error, error.message)

    # The sweep.

    def sweep(self, now: float) -> None:
        try:
            if self._exchange.busy:
                self._last_active = self._clock.monotonic()
                self._resting = False
                self._exchange.overdue(now)
                self._send()
                return
            silent_s = self._clock.monotonic() - self._last_active
            idle_s = self.gate.idle_s
            if idle_s is not None and silent_s > idle_s:
                self._end(Idle(f"the session was silent for {idle_s:g} s"), "idle")
            elif not self._resting and silent_s > _REST_AFTER_S:
                self._resting = True
                self._around.rest()
        except TaskgateError as error:
            self._end(error, error.message)

    def cut(self, error: TaskgateError) -> None:
        if self._over:
            return
        self.gate.cut = error
        if self._exchange.busy:
            self._cancel_upstream()
        self._end(error, error.message)

    # The end.

    def _fault(self, error: Exception) -> None:
        """A fault of the gate's own: the state is lost, and the session with it."""
        self.gate.signals.internal_errors.inc()
        _log.error("session.fault", session=self.gate.info.id, exc_info=error)
        self._end(TaskgateError("internal error of the gateway; its log has more"), "a fault")

    def _client_lost(self, exc: Exception | None) -> None:
        if not self._over and self._exchange.busy and not self._exchange.holding:
            # What the client walked away from need not run on.
            self._cancel_upstream()
        self._end(None, "the client closed the connection")

    def _upstream_gone(self, exc: Exception | None) -> None:
        # What it said before comes first.
        self._pace.ended(self._upstream_lost)

    def _upstream_lost(self) -> None:
        if self._over:
            return
        why = "the resource closed the connection"
        if self._exchange.told_fatal:
            self.gate.signals.upstream_errors.inc()
            self._end(None, why)
            return
        self._end(UpstreamFault(why, hint="connect again; the resource's log may say why"), why)

    def _end(self, error: TaskgateError | None, why: str) -> None:
        if self._over:
            return
        self._over = True
        self._pace.stop()
        try:
            self._record_end(error, why)
        except TaskgateError as problem:
            error = problem
            why = problem.message
        if isinstance(error, UpstreamFault):
            self.gate.signals.upstream_errors.inc()
        elif isinstance(error, NotRecorded):
            # The recording cannot tell of it, so the log must.
            self.gate.signals.recording_errors.inc()
            _log.error("session.not_recorded", session=self.gate.info.id, why=error.message)
        if error is not None and not self._exchange.mid_frame and not self._client.is_closing():
            self._client.write(encode_error(error, severity=Severity.FATAL))
        for number in list(self._holds):
            self._drop_hold(number, why)
        self._close(self._client, self._client_side)
        if not self._upstream.is_closing():
            self._upstream.write(messages.TERMINATE)
        self._close(self._upstream, self._upstream_side)
        self._spawn(self._around.closed(self, why))

    def _record_end(self, error: TaskgateError | None, why: str) -> None:
        self._exchange.lost(why)
        if isinstance(error, UpstreamFault):
            self.gate.note(EventKind.UPSTREAM_LOST, {"reason": why})
        elif isinstance(error, ProtocolViolation):
            self.gate.note(EventKind.PROTOCOL_VIOLATION, {"reason": why})
        facts = {"reason": why, "requests": self.gate.requests}
        self.gate.note(EventKind.SESSION_CLOSED, facts)
        self.recording.flush()

    def _close(self, transport: asyncio.Transport, side: _Side) -> None:
        """Closes a connection; one whose peer does not read is cut after a moment."""
        side.received = _ignore
        if transport.is_closing():
            return
        transport.close()
        asyncio.get_running_loop().call_later(_LEAVE_S, transport.abort)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something beside; what fails there says so in its own place."""

        async def run() -> None:
            try:
                await work
            except TaskgateError as error:
                _log.warning("session.beside", session=self.gate.info.id, error=error.message)
            except Exception as error:
                self._fault(error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Idle(TaskgateError):
    """The client said nothing for longer than its task allows."""

    sqlstate = "57P05"


def _read(transport: asyncio.Transport, side: _Side, wanted: bool) -> None:
    if side.reading is wanted or transport.is_closing():
        return
    side.reading = wanted
    if wanted:
        transport.resume_reading()
    else:
        transport.pause_reading()


def _ignore(data: bytes) -> None:
    """The session is over; what still comes is nobody's."""
