"""What passes through an open file, as events of the session's recording.

It is noted before it is passed on. What there is no room for is not passed on.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from taskgate.model.errors import OverLimit
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_FILE_EVENT_BYTES, MAX_RECORDED_FILE_BYTES
from taskgate.protocols.gate import Gate
from taskgate.protocols.ssh.sftp_packets import OpenFlag
from taskgate.recording.content import content_facts
from taskgate.recording.format import encode_json

# About what a line of a recording has beside its facts.
_LINE_BYTES: Final = 150

Way = Literal["read", "written"]


@dataclass(slots=True)
class FileRoom:
    """How much more the files of a session may record, in bytes as written. Once something did not
    fit, nothing does: of a file there is the beginning, and no pieces beyond a gap."""

    left: int = MAX_RECORDED_FILE_BYTES

    def take(self, bytes_: int) -> None:
        """Raises: OverLimit."""
        if bytes_ > self.left:
            self.left = 0
            self.ensure()
        self.left -= bytes_

    def ensure(self) -> None:
        """Raises: OverLimit where there is none."""
        if self.left <= 0:
            raise OverLimit(
                "the recording of this session's files is full"
                f" ({MAX_RECORDED_FILE_BYTES} bytes), and nothing may pass unrecorded",
                hint="connect anew: a new session has a recording of its own",
            )


class KeptFile:
    """The record of one open file. `number` is the request that opened it. Each method raises
    NotRecorded; OverLimit where it is said."""

    def __init__(self, gate: Gate, number: int, room: FileRoom) -> None:
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
        self._room.take(sum(len(encode_json(facts)) + _LINE_BYTES for facts in pieces))
        for facts in pieces:
            self._note(EventKind.FILE_CONTENT, facts)

    def resized(self, size: int) -> None:
        """The client sets the file's size. Raises: OverLimit."""
        self._room.take(_LINE_BYTES)
        self._note(EventKind.FILE_RESIZED, {"size": size})

    def not_written(self, offset: int, bytes_: int, code: int) -> None:
        """The host did not take what the client wrote there; `code` is its status."""
        facts = {"offset": offset, "bytes": bytes_, "status": code}
        self._note(EventKind.FILE_NOT_WRITTEN, facts)

    def _note(self, kind: EventKind, facts: dict[str, Any]) -> None:
        self._gate.note(kind, {"request": self._number, **facts})
