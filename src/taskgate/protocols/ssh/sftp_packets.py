"""SFTP's packets, version 3 (draft-ietf-secsh-filexfer-02, and the extensions in OpenSSH's PROTOCOL
file): framed, read and written. Bytes in, types out; nothing is judged here."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from taskgate.model.errors import ProtocolViolation
from taskgate.model.limits import MAX_SFTP_PACKET_BYTES


class Kind(IntEnum):
    """Types of packets (section 3)."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class OpenFlag(IntFlag):
    """Section 6.3."""

    READ = 0x01
    WRITE = 0x02
    APPEND = 0x04
    CREATE = 0x08
    TRUNCATE = 0x10
    EXCLUSIVE = 0x20


class StatusCode(IntEnum):
    """Section 7."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    UNSUPPORTED = 8


VERSION: Final = 3
_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_EXTENDED = 1, 2, 4, 8, 0x80000000


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request sets (section 5): the raw bytes, and what of it is judged."""

    raw: bytes
    size: int | None = None
    mode: int | None = None
    owner: bool = False
    times: bool = False

    @property
    def only_size(self) -> bool:
        return self.size is not None and self.mode is None and not (self.owner or self.times)


class Framer:
    """Cuts a stream into packets, each without its length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes of a packet that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that `data` completes. Raises: ProtocolViolation."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= 4:
                length = int.from_bytes(buffer[at : at + 4], "big")
                if not 1 <= length <= MAX_SFTP_PACKET_BYTES:
                    raise ProtocolViolation(f"an SFTP packet of {length} bytes")
                if len(buffer) - at - 4 < length:
                    break
                packet = bytes(buffer[at + 4 : at + 4 + length])
                at += 4 + length
                yield packet
        finally:
            del buffer[:at]


class Fields:
    """Reads a packet's fields from the left. Raises: ProtocolViolation where they do not add up."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 1

    def number(self) -> int:
        end = self._at + 4
        if end > len(self._packet):
            raise ProtocolViolation("an SFTP packet is too short")
        found = int.from_bytes(self._packet[self._at : end], "big")
        self._at = end
        return found

    def long(self) -> int:
        high = self.number()
        return high << 32 | self.number()

    def text(self) -> bytes:
        length = self.number()
        end = self._at + length
        if end > len(self._packet):
            raise ProtocolViolation("an SFTP packet is too short")
        found = self._packet[self._at : end]
        self._at = end
        return found

    def attributes(self) -> Attributes:
        start = self._at
        flags = self.number()
        size = self.long() if flags & _HAS_SIZE else None
        if flags & _HAS_OWNER:
            self.long()
        mode = self.number() if flags & _HAS_MODE else None
        if flags & _HAS_TIMES:
            self.long()
        if flags & _HAS_EXTENDED:
            raise ProtocolViolation("an SFTP packet with attributes of an unknown kind")
        raw = self._packet[start : self._at]
        return Attributes(raw, size, mode, bool(flags & _HAS_OWNER), bool(flags & _HAS_TIMES))

    def rest(self) -> bytes:
        return self._packet[self._at :]

    def end(self) -> None:
        if self._at != len(self._packet):
            raise ProtocolViolation("an SFTP packet is too long")


def framed(kind: Kind, *fields: bytes) -> bytes:
    """A whole packet."""
    body = b"".join(fields)
    return (len(body) + 1).to_bytes(4, "big") + bytes((kind,)) + body


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def text(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def reframed(packet: bytes) -> bytes:
    """A packet as it came, with its length before it."""
    return len(packet).to_bytes(4, "big") + packet


def status(id_: int, code: StatusCode, said: str) -> bytes:
    """An answer that is a status (section 7)."""
    return framed(Kind.STATUS, number(id_), number(code), text(said.encode()), text(b"en"))
