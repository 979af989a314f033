"""One SFTP channel in the data path: an exchange, its records written first, its holds."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.holding import Holding
from taskgate.model.clock import Clock
from taskgate.model.errors import NotRecorded, ProtocolViolation, TaskgateError
from taskgate.model.event import EventKind
from taskgate.protocols.ssh.conversation import ClientChannel, StreamSides
from taskgate.protocols.ssh.refusals import notice, refusal
from taskgate.protocols.ssh.room import Room
from taskgate.protocols.ssh.sftp import AskHold, SftpExchange

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class FilesChannel:
    """The driver's `Stream`, and `Holding`'s session. `spawn` runs something beside."""

    def __init__(
        self,
        gate: TaskGate,
        channel: ClientChannel,
        holding: Holding,
        clock: Clock,
        spawn: Spawn,
        room: Room,
    ) -> None:
        self.gate = gate
        self._channel = channel
        self._holding = holding
        self._clock = clock
        self._spawn = spawn
        self._exchange = SftpExchange(gate, gate.info.resource, room)
        self._sides: StreamSides | None = None
        self._unsettled: list[bytes] = []
        self._settling = False
        self._held: asyncio.Task[None] | None = None
        self._client_ended = False
        self._over = False

    def attach(self, sides: StreamSides) -> None:
        self._sides = sides

    def from_client(self, data: bytes) -> None:
        self.gate.asked_at = self._clock.monotonic()
        self._do(lambda now: self._exchange.client_data(data, now))

    def resized(self, columns: int, rows: int) -> None:
        """SFTP has no terminal."""

    def host_ended(self) -> None:
        """Nothing is kept back: whole packets have gone on, and half a one goes nowhere."""

    def from_host(self, data: bytes, stderr: bool) -> None:
        if stderr:
            if self._sides is not None:
                self._sides.to_client(data, stderr=True)
            return
        self._do(lambda now: self._exchange.host_data(data, now))

    def client_ended(self) -> None:
        self._client_ended = True
        self._do(lambda _now: None)

    def ended(self, why: str) -> None:
        """The channel is over; what was open is recorded as it was left."""
        if self._over:
            return
        self._over = True
        if self._held is not None:
            self._held.cancel(why)
        self._exchange.ended(why)
        self.gate.recording.flush()

    def tell(self, message: str, hint: str = "") -> None:
        self._channel.tell(notice(message, hint))

    def _do(self, work: Callable[[float], None]) -> None:
        if self._over or self._sides is None:
            return
        try:
            work(self._clock.monotonic())
            self._send(self._sides)
        except ProtocolViolation as error:
            self.gate.note(EventKind.PROTOCOL_VIOLATION, {"reason": error.message})
            self._sides.fail(error)
        except TaskgateError as error:
            self._sides.fail(error)

    def _send(self, sides: StreamSides) -> None:
        """Sends what the exchange has for either side, the record first."""
        out = self._exchange.take()
        recording = self.gate.recording
        recording.flush()
        for error in out.told:
            self._channel.tell(refusal(error))
        if out.to_client:
            sides.to_client(b"".join(out.to_client))
        if out.to_host and (recording.needs_settle or self._settling):
            self._unsettled += out.to_host
            self._settle_soon()
        elif out.to_host:
            sides.to_host(b"".join(out.to_host))
        if out.hold is not None:
            self._held = self._spawn(self._hold(out.hold))
        sides.read_client(not self._exchange.full and not self._settling)
        if self._client_ended and not self._exchange.busy and not self._settling:
            sides.end_host_input()

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._spawn(self._settle())

    async def _settle(self) -> None:
        """With durability `disk`, what goes to the host waits for the disk, in order."""
        sides = self._sides
        if sides is None:
            return
        try:
            while self._unsettled and not self._over:
                waiting, self._unsettled = self._unsettled, []
                await self.gate.recording.settle()
                sides.to_host(b"".join(waiting))
        except NotRecorded as error:
            sides.fail(error)
        finally:
            self._settling = False
        self._do(lambda _now: None)

    async def _hold(self, ask: AskHold) -> None:
        error = await self._holding.run(self, ask.number, ask.request, ask.decision)
        self._held = None
        self._do(lambda now: self._exchange.hold_ended(error, now))
