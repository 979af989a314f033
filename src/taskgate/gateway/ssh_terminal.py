"""What passes on a channel, in the session's own recording: output as the client saw it, keys as
far as the host echoed them, sizes.

It is written before it is passed on, once a turn of the loop. What cannot be written does not pass.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from taskgate.gateway.enforcement import TaskGate
from taskgate.model.errors import OverLimit, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_RECORDED_TERMINAL_BYTES, MAX_TERMINAL_EVENT_BYTES
from taskgate.protocols.ssh.conversation import Stream, StreamSides, Terminal
from taskgate.protocols.ssh.echo import Echo, Typed
from taskgate.protocols.ssh.room import Room, recorded_bytes
from taskgate.recording.content import content_facts


def terminal_room(max_bytes: int = MAX_RECORDED_TERMINAL_BYTES) -> Room:
    """A session's."""
    return Room("terminals", max_bytes)


class TerminalRecord:
    """The recording of one channel. `number` is its request's. Each method raises NotRecorded, and
    OverLimit once the room is used up; then nothing of it was recorded, and it must not pass."""

    def __init__(self, gate: TaskGate, number: int, room: Room) -> None:
        self._gate = gate
        self._number = number
        self._room = room
        self._echo: Echo | None = None

    @property
    def wanted(self) -> bool:
        """Whether the task has all output recorded."""
        task = self._gate.task
        return task is not None and task.record_output

    def started(self, terminal: Terminal | None, tier: str) -> None:
        """Without a terminal, keys are not echoed: they are not kept."""
        facts: dict[str, Any] = {"tier": tier} if tier else {}
        if terminal is not None:
            self._echo = Echo()
            facts |= {
                "columns": terminal.columns,
                "rows": terminal.rows,
                "term": terminal.type,
            }
        self._note(EventKind.TERMINAL_STARTED, facts)
        self._gate.recording.flush()

    def output(self, data: bytes, stderr: bool = False) -> None:
        for start in range(0, len(data), MAX_TERMINAL_EVENT_BYTES):
            facts = content_facts(data[start : start + MAX_TERMINAL_EVENT_BYTES])
            if stderr:
                facts["stderr"] = True
            self._note(EventKind.TERMINAL_OUTPUT, facts)
        if self._echo is not None and not stderr:
            self._typed(self._echo.shown(data))
        self._gate.recording.flush()

    def typed(self, data: bytes) -> None:
        if self._echo is not None:
            self._typed(self._echo.typed(data))
            self._gate.recording.flush()

    def resized(self, columns: int, rows: int) -> None:
        self._note(EventKind.TERMINAL_RESIZED, {"columns": columns, "rows": rows})
        self._gate.recording.flush()

    def ended(self) -> None:
        """Nothing more passes. May come twice."""
        if self._echo is not None:
            self._typed(self._echo.ended())
            self._gate.recording.flush()

    def _typed(self, lines: list[Typed]) -> None:
        for line in lines:
            facts = content_facts(line.text) if line.text else {}
            if line.hidden:
                facts["hidden"] = line.hidden
            self._note(EventKind.TERMINAL_INPUT, facts)

    def _note(self, kind: EventKind, facts: dict[str, Any]) -> None:
        self._room.take(recorded_bytes(facts))
        self._gate.note(kind, {"request": self._number, **facts})


class RecordedStream:
    """A `Stream` that records what the client sees. Another stream may stand `within` it, nearer to
    the host: what that one hands on to the client is what is recorded.

    `max_bytes` is the most that the client is given: what goes beyond it is not shown, and so is
    not recorded.
    """

    def __init__(
        self, record: TerminalRecord, within: Stream | None = None, max_bytes: int | None = None
    ) -> None:
        self._record = record
        self._within = within
        self._left = max_bytes
        self._sides: StreamSides | None = None
        self._waiting = bytearray()
        self._stderr = False
        self._due = False
        self._over = False
        self._loop = asyncio.get_running_loop()

    def attach(self, sides: StreamSides) -> None:
        self._sides = sides
        if self._within is not None:
            self._within.attach(_Within(self, sides))

    def from_client(self, data: bytes) -> None:
        if self._sides is None or self._over:
            return
        try:
            # What the host showed before was shown before these keys.
            self._show()
            self._record.typed(data)
        except TaskgateError as error:
            self._fail(error)
            return
        if self._within is not None:
            self._within.from_client(data)
        else:
            self._sides.to_host(data)

    def client_ended(self) -> None:
        if self._within is not None:
            self._within.client_ended()
        elif self._sides is not None:
            self._sides.end_host_input()

    def resized(self, columns: int, rows: int) -> None:
        if self._over:
            return
        try:
            self._show()
            self._record.resized(columns, rows)
        except TaskgateError as error:
            self._fail(error)
            return
        if self._within is not None:
            self._within.resized(columns, rows)

    def from_host(self, data: bytes, stderr: bool) -> None:
        if self._within is not None:
            self._within.from_host(data, stderr)
        else:
            self.to_client(data, stderr)

    def host_ended(self) -> None:
        if self._within is not None:
            self._within.host_ended()
        self._try(self._ended)

    def to_client(self, data: bytes, stderr: bool) -> None:
        """What the client is to see, at the end of this turn."""
        if self._over:
            return
        if stderr != self._stderr or len(self._waiting) >= MAX_TERMINAL_EVENT_BYTES:
            self._try(self._show)
        self._stderr = stderr
        self._waiting += data
        if not self._due:
            self._due = True
            self._loop.call_soon(self._turn_ends)

    def close(self) -> None:
        """The channel is over: nothing more is recorded. Raises NotRecorded."""
        if self._over:
            return
        self._over = True
        self._waiting.clear()
        try:
            self._record.ended()
        except OverLimit:
            # There is no room left to count the last keys in; that it is full is recorded.
            return

    def _turn_ends(self) -> None:
        self._due = False
        self._try(self._show)

    def _ended(self) -> None:
        if not self._over:
            self._show()
            self._record.ended()

    def _show(self) -> None:
        if not self._waiting or self._over or self._sides is None:
            return
        data = bytes(self._waiting)
        self._waiting.clear()
        if self._left is None or len(data) <= self._left:
            self._record.output(data, self._stderr)
        if self._left is not None:
            self._left -= len(data)
        self._sides.to_client(data, self._stderr)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except TaskgateError as error:
            self._fail(error)

    def _fail(self, error: TaskgateError) -> None:
        self._over = True
        self._waiting.clear()
        if self._sides is not None:
            self._sides.fail(error)


class _Within:
    """The sides of the stream that stands within."""

    def __init__(self, outer: RecordedStream, sides: StreamSides) -> None:
        self._outer = outer
        self._sides = sides

    def to_client(self, data: bytes, stderr: bool = False) -> None:
        self._outer.to_client(data, stderr)

    def to_host(self, data: bytes) -> None:
        self._sides.to_host(data)

    def end_host_input(self) -> None:
        self._sides.end_host_input()

    def read_client(self, wanted: bool) -> None:
        self._sides.read_client(wanted)

    def fail(self, error: TaskgateError) -> None:
        self._sides.fail(error)
