"""Reads the fields of one frame in order, and refuses what does not add up.

Source: PostgreSQL documentation, "Message Data Types".
"""

from struct import Struct
from typing import Final

from taskgate.model.errors import ProtocolViolation, Unreadable

HEADER: Final = Struct(">BI")
INT16: Final = Struct(">h")
UINT16: Final = Struct(">H")
INT32: Final = Struct(">i")
UINT32: Final = Struct(">I")


class BadText(Unreadable):
    """Text that is not UTF-8: it cannot be read as the resource would read it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        # Set here because a class attribute is lost where mypyc compiles a subclass of an
        # interpreted class.
        self.sqlstate = "22021"


def decode_text(raw: bytes) -> str:
    """UTF-8 bytes as text.

    Raises:
        BadText: they are not UTF-8.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(
            f'invalid byte sequence for encoding "UTF8" at byte {error.start + 1}',
            hint="The gateway reads text as UTF-8: set client_encoding to UTF8.",
        ) from None


def encode_text(text: str) -> bytes:
    """Text as a String field: UTF-8 with its terminating NUL.

    Raises:
        ValueError: it has a NUL itself, which would end it early (a bug of the caller).
    """
    raw = text.encode("utf-8", "replace")
    if b"\0" in raw:
        raise ValueError("a string field cannot contain a NUL")
    return raw + b"\0"


def frame(tag: int, body: bytes) -> bytes:
    """A whole message: type, length, body."""
    return HEADER.pack(tag, len(body) + 4) + body


class Reader:
    """A cursor over a frame's body. Every method raises ProtocolViolation past its end."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 5) -> None:
        self.data: bytes = data
        self.pos: int = pos
        self.end: int = len(data)

    def _wrong(self, what: str) -> ProtocolViolation:
        tag = self.data[:1].decode("latin-1")
        return ProtocolViolation(f"message {tag!r} is malformed: {what}")

    def byte(self) -> int:
        """An unsigned Int8 or Byte1."""
        pos = self.pos
        if pos >= self.end:
            raise self._wrong("it ends early")
        self.pos = pos + 1
        return self.data[pos]

    def int16(self) -> int:
        pos = self.pos
        if pos + 2 > self.end:
            raise self._wrong("it ends early")
        self.pos = pos + 2
        value: int = INT16.unpack_from(self.data, pos)[0]
        return value

    def uint16(self) -> int:
        """A count: PostgreSQL reads these two bytes as unsigned."""
        return self.int16() & 0xFFFF

    def int32(self) -> int:
        pos = self.pos
        if pos + 4 > self.end:
            raise self._wrong("it ends early")
        self.pos = pos + 4
        value: int = INT32.unpack_from(self.data, pos)[0]
        return value

    def uint32(self) -> int:
        """An OID or another unsigned number."""
        return self.int32() & 0xFFFFFFFF

    def raw(self, size: int) -> bytes:
        """The next `size` bytes."""
        pos = self.pos
        if size < 0 or pos + size > self.end:
            raise self._wrong("a length points past its end")
        self.pos = pos + size
        return self.data[pos : pos + size]

    def rest(self) -> bytes:
        """Everything up to the end."""
        pos = self.pos
        self.pos = self.end
        return self.data[pos:]

    def text(self) -> str:
        """A NUL-terminated String.

        Raises:
            BadText: not UTF-8.
        """
        return decode_text(self.raw_text())

    def raw_text(self) -> bytes:
        """A NUL-terminated String as it stands, without its NUL."""
        end = self.data.find(b"\0", self.pos)
        if end < 0:
            raise self._wrong("a string has no end")
        raw = self.data[self.pos : end]
        self.pos = end + 1
        return raw

    def sized(self) -> bytes | None:
        """An Int32 length and as many bytes; -1 is NULL."""
        size = self.int32()
        if size == -1:
            return None
        return self.raw(size)

    def formats(self) -> tuple[int, ...]:
        """A count and as many format codes, 0 (text) or 1 (binary)."""
        codes = tuple([self.int16() for _ in range(self.uint16())])
        for code in codes:
            if code not in (0, 1):
                raise self._wrong(f"unknown format code {code}")
        return codes

    def finish(self) -> None:
        """Nothing may be left."""
        if self.pos != self.end:
            raise self._wrong(f"{self.end - self.pos} bytes too many")
