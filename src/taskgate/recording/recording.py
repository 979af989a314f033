"""One recording under way: append, flush, settle, seal."""

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any, Final, Protocol

import msgspec

from taskgate.model import limits
from taskgate.model.errors import NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.recording.bounds import ALWAYS_FITS_BYTES, fit_facts
from taskgate.recording.files import LogFile
from taskgate.recording.format import (
    MAX_BODY_BYTES,
    Body,
    Head,
    encode_json,
    genesis,
    link,
)

# What waits for a flush; past it, append writes it out itself.
_MAX_BUFFERED_BYTES: Final = limits.MAX_EVENT_BYTES
_EMPTY_BODY_BYTES: Final = 256


class Sealer(Protocol):
    """What ends a recording, beyond its own file; `Journal` is it."""

    def trailer(self, head: Head) -> bytes:
        """The signed trailer's line."""

    def note_sealed(self, recording: "Recording", head: Head) -> None:
        """Enters the written seal into the gateway-wide chain. Raises NotRecorded."""

    def put_away(self, recording: "Recording", head: Head) -> None:
        """Moves the sealed file to its day. Raises NotRecorded."""

    def abandon(self, recording: "Recording") -> None:
        """Leaves a recording that could not be sealed to recovery."""


class Recording:
    """An append-only, hash-chained sequence of events in one file. From `Journal.open`.

    The order of use: `append` any number of events, `flush` (or `settle`), and only then send
    upstream what they tell of. Whatever fails leaves the recording unusable: `failed` says why,
    and every later append raises, so that nothing happens unrecorded.
    """

    __slots__ = (
        "_buffer",
        "_count",
        "_final",
        "_hash",
        "_sealer",
        "_settle",
        "failed",
        "file",
        "gateway",
        "id",
        "marked",
        "opened_at",
        "sealed",
        "written_count",
        "written_hash",
    )

    def __init__(
        self,
        file: LogFile,
        recording: str,
        gateway: str,
        opened_at: float,
        sealer: "Sealer",
        settle: Callable[[LogFile], Awaitable[None]] | None = None,
    ) -> None:
        """`settle` brings the file to the disk; None where a write counts as settled."""
        self.file = file
        self.id = recording
        self.gateway = gateway
        self.opened_at = opened_at
        self.failed = ""
        # Set as soon as the seal is written, which may be before it is on the disk.
        self.sealed: Head | None = None
        # How many events the newest signed mark covers.
        self.marked = 0
        self.written_count = 0
        self.written_hash = genesis(gateway, recording)
        self._count = 0
        self._hash = self.written_hash
        self._buffer = bytearray()
        self._settle = settle
        self._sealer = sealer
        self._final = False

    @property
    def count(self) -> int:
        """The number of the newest event; the first is 1."""
        return self._count

    @property
    def needs_settle(self) -> bool:
        """Whether `flush` alone is not enough before something is sent upstream."""
        return self._settle is not None

    def append(self, event: Event) -> int:
        """Chains the event, to be written by the next flush; answers its number.

        Raises:
            NotRecorded: the recording is unusable or sealed; or the event cannot be recorded,
                in which case the recording is as before.
        """
        return self.record(event.kind, event.at, event.facts)

    def record(self, kind: EventKind, at: float, facts: dict[str, Any]) -> int:
        """As `append`, for what happens at every statement.

        Raises:
            NotRecorded: as `append`.
        """
        if self.failed or self.sealed is not None:
            raise NotRecorded(self.failed or f"the recording {self.id} is sealed")
        number = self._count + 1
        body = self._encode(number, kind, at, facts)
        hash_ = link(self._hash, body)
        buffer = self._buffer
        buffer += body
        # The body's closing brace gives way to the hash member, which ends in another.
        buffer[-1:] = b',"h":"%b"}\n' % hash_.hex().encode()
        self._hash = hash_
        self._count = number
        if len(buffer) > _MAX_BUFFERED_BYTES:
            self.flush()
        return number

    def flush(self) -> None:
        """Writes everything that was appended, in one write.

        Raises:
            NotRecorded: it could not be written whole; the recording is unusable from now on.
        """
        if self.failed:
            raise NotRecorded(self.failed)
        buffer = self._buffer
        if not buffer:
            return
        try:
            self.file.append(buffer)
        except NotRecorded as error:
            self.fail(error.message)
            raise
        buffer.clear()
        self.written_count = self._count
        self.written_hash = self._hash

    async def settle(self) -> None:
        """Flushes, and with durability `disk` waits until it is on the disk. Nothing goes
        upstream before this returned.

        Raises:
            NotRecorded: as `flush`, or the disk failed.
        """
        self.flush()
        if self._settle is not None:
            await self._settled(self._settle)

    def seal(self, now: float) -> Head:
        """Ends the recording: a last event with counts, the signed head, its place in the
        gateway-wide chain. With durability `disk` it waits for the disk: `seal_and_settle` does
        not hold up the event loop. A recording that had failed is tried once more, from what
        was written of it; its last event says so.

        Raises:
            NotRecorded: it cannot be written; `Journal.recover` will seal it at the next start.
        """
        if self.sealed is None:
            try:
                head = self._write_seal(now)
                self._sealer.note_sealed(self, head)
            except NotRecorded as error:
                self._abandon(error)
                raise
            self._sealer.put_away(self, head)
            return head
        return self._sealed_head(self.sealed)

    async def seal_and_settle(self, now: float) -> Head:
        """As `seal`, and lets other sessions go on while the disk is waited for.

        Raises:
            NotRecorded: as `seal`.
        """
        if self._settle is None or self.sealed is not None:
            return self.seal(now)
        try:
            head = self._write_seal(now)
            await self._settled(self._settle)
            self._sealer.note_sealed(self, head)
        except NotRecorded as error:
            self._abandon(error)
            raise
        await self._settled(self._settle)
        self._sealer.put_away(self, head)
        return head

    def continue_from(self, count: int, last_hash: bytes) -> None:
        """For recovery: goes on behind the `count` events that are in the file."""
        self._count = self.written_count = count
        self._hash = self.written_hash = last_hash

    def fail(self, why: str) -> None:
        """Makes the recording unusable."""
        self.failed = self.failed or why

    async def _settled(self, settle: Callable[[LogFile], Awaitable[None]]) -> None:
        try:
            await settle(self.file)
        except NotRecorded as error:
            # What the disk has of it is not known any more: only recovery may look again.
            self._final = True
            self.fail(error.message)
            raise

    def _write_seal(self, now: float) -> Head:
        """The last event and the trailer, in one write."""
        failed, lost = self.failed, self._count - self.written_count
        if failed:
            self._rewind()
        self.flush()
        facts: dict[str, Any] = {"events": self._count + 1, "bytes": self.file.size}
        if failed:
            facts |= {"failed": failed, "lost": lost}
        self.append(Event(EventKind.RECORDING_SEALED, now, facts))
        head = Head(self.id, self.gateway, self._count, self._hash.hex(), self.opened_at, now)
        self._buffer += self._sealer.trailer(head)
        # A second trailer would be damage: whatever fails from here on is recovery's to mend.
        self._final = True
        self.flush()
        # From here on nothing can be appended, though others may run before the disk has it.
        self.sealed = head
        return head

    def _sealed_head(self, head: Head) -> Head:
        if self.failed:
            raise NotRecorded(self.failed)
        return head

    def _abandon(self, error: NotRecorded) -> None:
        self.fail(error.message)
        self._sealer.abandon(self)

    def _rewind(self) -> None:
        if self._final:
            raise NotRecorded(self.failed)
        # What could not be written was never acted upon: the chain goes on without it.
        self.file.take_back()
        self._buffer.clear()
        self.continue_from(self.written_count, self.written_hash)
        self.failed = ""

    def _encode(self, number: int, kind: EventKind, at: float, facts: dict[str, Any]) -> bytes:
        if not isfinite(at):
            raise NotRecorded("an event without a time cannot be recorded")
        try:
            body = encode_json(Body(number, at, kind, facts))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            # A lone surrogate, which can be written in another form; or no JSON at all.
            body = b""
        if body and len(body) <= ALWAYS_FITS_BYTES:
            return body
        fitted = fit_facts(kind, facts, MAX_BODY_BYTES - _EMPTY_BODY_BYTES)
        return encode_json(Body(number, at, kind, fitted))
