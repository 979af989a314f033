"""Cuts a byte stream into whole messages, or says why it cannot.

A frame is a message as it stands on the wire: one byte of type, four of length (big-endian, itself
included, the type not), the body. Nothing partial is handed out, with one explicit exception: the
body of a row that passes untouched and is too long to wait for (`BackendFramer.take_run`).

The framers hold at most one unfinished frame beside what the caller has not taken. Work is
amortised linear in the bytes fed, however they are cut. A framer that has refused stays refused:
its stream's state is lost.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", overview and message formats.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from taskgate.model import limits
from taskgate.model.errors import OverLimit, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import tags

HEADER_BYTES: Final = 5
_HEADER: Final = Struct(">BI")
_UNKNOWN: Final = -1

FRONTEND_CAPS: Final = {
    tags.QUERY: limits.MAX_STATEMENT_BYTES,
    tags.PARSE: limits.MAX_STATEMENT_BYTES,
    tags.BIND: limits.MAX_BIND_BYTES,
    tags.FUNCTION_CALL: limits.MAX_STATEMENT_BYTES,
    tags.DESCRIBE: limits.MAX_SMALL_FRAME_BYTES,
    tags.EXECUTE: limits.MAX_SMALL_FRAME_BYTES,
    tags.CLOSE: limits.MAX_SMALL_FRAME_BYTES,
    tags.FLUSH: limits.MAX_SMALL_FRAME_BYTES,
    tags.SYNC: limits.MAX_SMALL_FRAME_BYTES,
    tags.COPY_DATA: limits.MAX_STREAMED_FRAME_BYTES,
    tags.COPY_DONE: limits.MAX_SMALL_FRAME_BYTES,
    tags.COPY_FAIL: limits.MAX_SMALL_FRAME_BYTES,
    tags.TERMINATE: limits.MAX_SMALL_FRAME_BYTES,
}
"""Longest length field of each message that a signed-in client may send."""

BACKEND_CAPS: Final = {
    tags.AUTHENTICATION: limits.MAX_SMALL_FRAME_BYTES,
    tags.PARAMETER_STATUS: limits.MAX_DESCRIPTION_BYTES,
    tags.BACKEND_KEY_DATA: limits.MAX_SMALL_FRAME_BYTES,
    tags.READY_FOR_QUERY: limits.MAX_SMALL_FRAME_BYTES,
    tags.ROW_DESCRIPTION: limits.MAX_DESCRIPTION_BYTES,
    tags.DATA_ROW: limits.MAX_ROW_BYTES,
    tags.COMMAND_COMPLETE: limits.MAX_SMALL_FRAME_BYTES,
    tags.EMPTY_QUERY_RESPONSE: limits.MAX_SMALL_FRAME_BYTES,
    tags.PARSE_COMPLETE: limits.MAX_SMALL_FRAME_BYTES,
    tags.BIND_COMPLETE: limits.MAX_SMALL_FRAME_BYTES,
    tags.CLOSE_COMPLETE: limits.MAX_SMALL_FRAME_BYTES,
    tags.NO_DATA: limits.MAX_SMALL_FRAME_BYTES,
    tags.PORTAL_SUSPENDED: limits.MAX_SMALL_FRAME_BYTES,
    tags.PARAMETER_DESCRIPTION: limits.MAX_DESCRIPTION_BYTES,
    tags.ERROR_RESPONSE: limits.MAX_NOTICE_BYTES,
    tags.NOTICE_RESPONSE: limits.MAX_NOTICE_BYTES,
    tags.NOTIFICATION_RESPONSE: limits.MAX_NOTICE_BYTES,
    tags.COPY_IN_RESPONSE: limits.MAX_DESCRIPTION_BYTES,
    tags.COPY_OUT_RESPONSE: limits.MAX_DESCRIPTION_BYTES,
    tags.COPY_BOTH_RESPONSE: limits.MAX_DESCRIPTION_BYTES,
    tags.COPY_DATA: limits.MAX_ROW_BYTES,
    tags.COPY_DONE: limits.MAX_SMALL_FRAME_BYTES,
    tags.FUNCTION_CALL_RESPONSE: limits.MAX_ROW_BYTES,
    tags.NEGOTIATE_PROTOCOL_VERSION: limits.MAX_SMALL_FRAME_BYTES,
}
"""Longest length field of each message of a server that is taken whole."""


def tag_set(tags_in_it: Iterable[int]) -> bytes:
    """A set of message types as 256 flags, for `BackendFramer.take_run`."""
    flags = bytearray(256)
    for tag in tags_in_it:
        flags[tag] = 1
    return bytes(flags)


ROWS: Final = tag_set((tags.DATA_ROW,))
COPIED_ROWS: Final = tag_set((tags.COPY_DATA,))
_IS_ROW: Final = tag_set((tags.DATA_ROW, tags.COPY_DATA))


# mypyc turns byte arithmetic into machine code but calls `struct` as any library; the interpreter
# is the other way round. Both ways read the same number.
_COMPILED: Final = type(tag_set).__name__ != "function"


def _caps_table(caps: dict[int, int]) -> tuple[int, ...]:
    return tuple([caps.get(tag, _UNKNOWN) for tag in range(256)])


_FRONTEND_TABLE: Final = _caps_table(FRONTEND_CAPS)
_BACKEND_TABLE: Final = _caps_table(BACKEND_CAPS)


def _refusal(tag: int, length: int, cap: int, who: str) -> TaskgateError:
    name = chr(tag) if 0x20 < tag < 0x7F else f"\\x{tag:02x}"
    if cap == _UNKNOWN:
        return ProtocolViolation(f"{who} sent a message of unknown type {name!r}")
    if length < 4:
        return ProtocolViolation(f"{who} sent a message {name!r} of impossible length {length}")
    # How long a row is tells how long the values are that a mask hides.
    size = "too long" if tag in (tags.DATA_ROW, tags.COPY_DATA) else f"of {length} bytes"
    return OverLimit(
        f"{who} sent a message {name!r} {size}; at most {cap} bytes are taken",
        hint="Send bulk data with COPY, or in smaller pieces.",
    )


class _Buffer:
    """Bytes fed and not yet taken: a current piece, read in place, and what came later.

    Later bytes are joined to the current piece only once they complete what is waited for, so
    that each byte is copied a bounded number of times.
    """

    def __init__(self, who: str, most: int) -> None:
        self._who: str = who
        self._most: int = most
        self._data: bytes = b""
        self._pos: int = 0
        self._later: bytearray = bytearray()
        self._lost: TaskgateError | None = None

    @property
    def buffered(self) -> int:
        """Bytes held: an unfinished frame, and frames that were not taken yet."""
        return len(self._data) - self._pos + len(self._later)

    def feed(self, data: bytes) -> None:
        """Append what the peer sent.

        Raises:
            OverLimit: more is held than the longest frame and its pipeline may need.
            TaskgateError: the one that was raised before; the stream is lost.
        """
        if self._lost is not None:
            raise self._lost
        rest = len(self._data) - self._pos
        if not self._later:
            if rest == 0:
                self._data = data
                self._pos = 0
                return
            if rest <= len(data) and rest + len(data) <= self._most:
                self._data = self._data[self._pos :] + data
                self._pos = 0
                return
        if rest + len(self._later) + len(data) > self._most:
            raise self._lose(
                OverLimit(f"{self._who} sent more than {self._most} bytes that await an answer")
            )
        self._later += data

    def _have(self, wanted: int) -> bool:
        """Whether `wanted` bytes stand in one piece at `_pos`; joins them there if need be."""
        rest = len(self._data) - self._pos
        if rest >= wanted:
            return True
        if rest + len(self._later) < wanted:
            return False
        self._data = self._data[self._pos :] + self._later
        self._pos = 0
        self._later = bytearray()
        return True

    def _lose(self, error: TaskgateError) -> TaskgateError:
        """Drop everything: no later byte of this stream can be trusted to be where it seems."""
        self._lost = error
        self._data = b""
        self._pos = 0
        self._later = bytearray()
        return error

    def rest(self) -> bytes:
        """Everything not taken, for whoever reads this stream from here on; then empty."""
        data = self._data[self._pos :] + self._later
        self._data = b""
        self._pos = 0
        self._later = bytearray()
        return data


class FrontendFramer(_Buffer):
    """Frames of a signed-in client.

    A CopyData longer than `STREAM_ABOVE_BYTES` comes out as several shorter CopyData frames,
    because their boundaries carry no meaning in this direction ("COPY Operations"); so a
    COPY of any size needs constant memory and every frame handed out is whole.
    """

    def __init__(self) -> None:
        super().__init__("the client", limits.MAX_BIND_BYTES + limits.MAX_PENDING_BYTES)
        self._copy_left: int = 0

    def take(self) -> bytes | None:
        """The next whole frame, None if it has not arrived.

        Raises:
            ProtocolViolation: unknown type or impossible length.
            OverLimit: longer than its type may be.
        """
        if self._lost is not None:
            raise self._lost
        if self._copy_left > 0:
            return self._copy_piece()
        if len(self._data) - self._pos < HEADER_BYTES and not self._have(HEADER_BYTES):
            return None
        tag, length = _HEADER.unpack_from(self._data, self._pos)
        cap = _FRONTEND_TABLE[tag]
        if length > cap or length < 4:
            raise self._lose(_refusal(tag, length, cap, self._who))
        if tag == tags.COPY_DATA and length > limits.STREAM_ABOVE_BYTES:
            self._pos += HEADER_BYTES
            self._copy_left = length - 4
            return self._copy_piece()
        if len(self._data) - self._pos <= length and not self._have(length + 1):
            return None
        data = self._data
        start = self._pos
        end = start + length + 1
        self._pos = end
        if start == 0 and end == len(data):
            return data
        return data[start:end]

    def _copy_piece(self) -> bytes | None:
        wanted = min(self._copy_left, limits.STREAM_ABOVE_BYTES)
        if not self._have(wanted):
            return None
        start = self._pos
        self._pos = start + wanted
        self._copy_left -= wanted
        return _HEADER.pack(tags.COPY_DATA, wanted + 4) + self._data[start : self._pos]


class BackendFramer(_Buffer):
    """Frames of a server.

    `take` gives one whole frame. `take_run` gives the longest run of frames whose types pass
    untouched as one piece of bytes, and counts the rows in it. A caller that serves a result calls
    them in turn until both have nothing.
    """

    def __init__(self, max_row_bytes: int = limits.MAX_ROW_BYTES) -> None:
        super().__init__(
            "the resource", limits.MAX_ROW_BYTES + HEADER_BYTES + limits.MAX_PENDING_BYTES
        )
        self.max_row_bytes: int = max_row_bytes
        """Longest DataRow or CopyData that is taken whole; may be set at any time."""
        self.run_rows: int = 0
        """Rows (DataRow, CopyData) that began in the last run."""
        self._left: int = 0

    def peek(self) -> int:
        """The type of the next frame, 0 if not even its first byte has arrived."""
        if self._pos < len(self._data):
            return self._data[self._pos]
        return self._later[0] if self._later else 0

    @property
    def mid_frame(self) -> bool:
        """Whether part of a frame was handed out and part is still to come. While it is so,
        nothing else can be said to the client, and only `take_run` goes on."""
        return self._left > 0

    def take(self) -> bytes | None:
        """The next whole frame, None if it has not arrived or a long row is being passed on.

        Raises:
            ProtocolViolation: unknown type or impossible length.
            OverLimit: longer than its type may be, or than `max_row_bytes`.
        """
        if self._lost is not None:
            raise self._lost
        if self._left > 0:
            return None
        if len(self._data) - self._pos < HEADER_BYTES and not self._have(HEADER_BYTES):
            return None
        tag, length = _HEADER.unpack_from(self._data, self._pos)
        cap = _BACKEND_TABLE[tag]
        if _IS_ROW[tag]:
            cap = min(cap, self.max_row_bytes)
        if length > cap or length < 4:
            raise self._lose(_refusal(tag, length, cap, self._who))
        if len(self._data) - self._pos <= length and not self._have(length + 1):
            return None
        data = self._data
        start = self._pos
        end = start + length + 1
        self._pos = end
        if start == 0 and end == len(data):
            return data
        return data[start:end]

    def take_run(self, passing: bytes, max_rows: int = -1, stream: bool = True) -> bytes:
        """As many frames of the types in `passing` (see `tag_set`) as have arrived; b"" for none.

        At most `max_rows` rows, if that is not negative. With `stream`, the piece may end within a
        row longer than `STREAM_ABOVE_BYTES` (see `mid_frame`); that row's length is capped by
        `MAX_STREAMED_FRAME_BYTES`, not by `max_row_bytes`. Without it only whole frames come.

        Raises:
            ProtocolViolation: unknown type or impossible length.
            OverLimit: longer than its type may be.
        """
        if self._lost is not None:
            raise self._lost
        self.run_rows = 0
        if self._left > 0:
            return self._take_left()
        if not self._have(HEADER_BYTES):
            return b""
        tag, length = _HEADER.unpack_from(self._data, self._pos)
        if not passing[tag]:
            return b""
        is_row = _IS_ROW[tag] == 1
        if is_row and max_rows == 0:
            return b""
        row_cap = limits.MAX_STREAMED_FRAME_BYTES if stream else self.max_row_bytes
        cap = row_cap if is_row else _BACKEND_TABLE[tag]
        if length > cap or length < 4:
            raise self._lose(_refusal(tag, length, cap, self._who))
        if self._have(length + 1):
            return self._scan(passing, row_cap, max_rows)
        if stream and is_row and length > limits.STREAM_ABOVE_BYTES:
            self.run_rows = 1
            self._left = length + 1
            return self._take_left()
        return b""

    def _scan(self, passing: bytes, row_cap: int, max_rows: int) -> bytes:
        """The run itself. What ends it, also a wrong frame, is met again as the head of the next
        call, so that everything before it is handed out."""
        data = self._data
        start = self._pos
        end = len(data)
        last_header = end - HEADER_BYTES
        unpack = _HEADER.unpack_from
        compiled = _COMPILED
        pos = start
        rows = 0
        left = max_rows
        # Rows come in thousands: what depends on the type alone is looked up when it changes.
        current = -1
        cap = 0
        step = 0
        while pos <= last_header:
            if compiled:
                tag = data[pos]
                length = (
                    (data[pos + 1] << 24)
                    | (data[pos + 2] << 16)
                    | (data[pos + 3] << 8)
                    | data[pos + 4]
                )
            else:
                tag, length = unpack(data, pos)
            if tag != current:
                if not passing[tag]:
                    break
                current = tag
                step = _IS_ROW[tag]
                cap = row_cap if step else _BACKEND_TABLE[tag]
            following = pos + length + 1
            if following > end or length < 4 or length > cap or (step and left == 0):
                break
            rows += step
            left -= step
            pos = following
        self.run_rows = rows
        self._pos = pos
        if start == 0 and pos == end:
            return data
        return data[start:pos]

    def _take_left(self) -> bytes:
        wanted = min(self._left, self.buffered)
        self._have(wanted)
        data = self._data
        start = self._pos
        self._pos = start + wanted
        self._left -= wanted
        if start == 0 and wanted == len(data):
            return data
        return data[start : self._pos]
