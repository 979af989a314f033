"""What passes through an open file, as events of the session's recording.

It is noted before it is passed on. What there is no room for is not passed on.
"""

from typing import Any, Literal

from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_FILE_EVENT_BYTES, MAX_RECORDED_FILE_BYTES
from taskgate.protocols.gate import Gate
from taskgate.protocols.ssh.room import Room, recorded_bytes
from taskgate.protocols.ssh.sftp_packets import OpenFlag
from taskgate.recording.content import content_facts

Way = Literal["read", "written"]


def file_room(max_bytes: int = MAX_RECORDED_FILE_BYTES) -> Room:
    """A session's."""
    return Room("files", max_bytes)


class KeptFile:
    """The record of one open file. `number` is the request that opened it. Each method raises
    NotRecorded; OverLimit where it is said."""

    def __init__(self, gate: Gate, number: int, room: Room) -> None:
        self._gate = gate
        self._number = number
        self._room = room

    def opened(self, path: str, flags: int) -> None:
        """`empty`: it was empty then. `append`: all is written at its end, wherever a client says
        (open(2), O_APPEND)."""
        reads = flags & OpenFlag.READ or not flags
        writes = flags & (OpenFlag.WRITE | OpenFlag.APPEND)
        ways = [way for way, may in (("read", reads), ("written", writes)) if may]
        facts: dict[str, Any] = {"path": path, "ways": ways}
        if flags & OpenFlag.TRUNCATE or flags & OpenFlag.EXCLUSIVE:
            facts["empty"] = True
        if flags & OpenFlag.APPEND:
            facts["append"] = True
        self._note(EventKind.FILE_OPENED, facts)

    def content(self, way: Way, offset: int, data: bytes) -> None:
        """All of it, or nothing. Raises: OverLimit; then it must not pass."""
        pieces = []
        for start in range(0, len(data), MAX_FILE_EVENT_BYTES):
            piece = data[start : start + MAX_FILE_EVENT_BYTES]
            about = {"way": way, "offset": offset + start, "bytes": len(piece)}
            pieces.append(about | content_facts(piece))
        self._room.take(sum(map(recorded_bytes, pieces)))
        for facts in pieces:
            self._note(EventKind.FILE_CONTENT, facts)

    def resized(self, size: int) -> None:
        """The client sets the file's size. Raises: OverLimit."""
        facts = {"size": size}
        self._room.take(recorded_bytes(facts))
        self._note(EventKind.FILE_RESIZED, facts)

    def not_written(self, offset: int, bytes_: int, code: int) -> None:
        """The host did not take what the client wrote there; `code` is its status."""
        facts = {"offset": offset, "bytes": bytes_, "status": code}
        self._note(EventKind.FILE_NOT_WRITTEN, facts)

    def _note(self, kind: EventKind, facts: dict[str, Any]) -> None:
        self._gate.note(kind, {"request": self._number, **facts})
