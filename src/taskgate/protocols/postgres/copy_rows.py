"""Rewrites COPY TO STDOUT as a mask plan says: text, CSV and binary streams.

CopyData payloads in, cut anywhere; rewritten payloads out. A row goes out when it is whole and has
the planned number of fields; anything else ends the stream with an error, and no part of it goes
out. Untouched rows keep their bytes.

Source: PostgreSQL documentation, COPY, "File Formats"; "COPY Operations" in the protocol chapter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct

from taskgate.masking.plan import MaskPlan
from taskgate.model.errors import OverLimit, ProtocolViolation, Unreadable
from taskgate.model.limits import MAX_MASKED_ROW_BYTES
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.copy_text import CsvDialect, TextDialect
from taskgate.protocols.postgres.field_steps import (
    FieldStep,
    FieldSteps,
    ready_steps,
    with_length,
)
from taskgate.protocols.postgres.shapes import Shape, shape_of

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_INT16, _INT32 = Struct("!h"), Struct("!i")
_HEAD = Struct("!Bi")
_FLAGS = Struct("!Ii")
# Bits 16 to 31 say that a reader must know what they mean, and nobody has defined one.
_CRITICAL_FLAGS = 0xFFFF0000
_MAX_EXTENSION_BYTES = 64 * 1024
# In these a byte of a character may be that of a backslash, a quote or a delimiter.
_EMBED_ASCII = frozenset(
    ("BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "SHIFTJIS2004", "UHC",
     "WIN936", "WIN949", "WIN950", "WINDOWS936", "WINDOWS949", "WINDOWS950", "MSKANJI",
     "WIN932", "WINDOWS932")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """How a COPY stream is written. `kind` is `text`, `csv` or `binary`; the others are COPY's
    options of that name, empty for the format's default. `header` says whether the first line
    names the columns. `encoding` is PostgreSQL's name of the stream's encoding."""

    kind: str
    delimiter: str = ""
    null: str | None = None
    quote: str = ""
    escape: str = ""
    header: bool = False
    encoding: str = "UTF8"


class CopyRewriter:
    """Rewrites one COPY stream to the client."""

    __slots__ = ("_buffer", "_failed", "_parser", "counts")

    def __init__(
        self,
        plan: MaskPlan,
        layout: CopyFormat,
        type_oids: Sequence[int],
        key: bytes = b"",
        *,
        user_types: Mapping[int, Shape] | None = None,
    ) -> None:
        """`type_oids` are the fields' types, 0 where one is not known; it is then masked as NULL.

        Raises: BadConfig if a mask hashes without a key; Unreadable for a layout that cannot be
        read safely; ProtocolViolation if the plan is for another number of fields.
        """
        if layout.encoding.upper().replace("-", "").replace(" ", "") in _EMBED_ASCII:
            raise Unreadable(
                f"COPY in the encoding {layout.encoding} cannot be masked: its characters may "
                "hold the bytes that part fields",
                hint="Use ENCODING 'UTF8'.",
            )
        known = user_types or {}
        shapes = [known.get(oid) or shape_of(oid) for oid in type_oids]
        binary = layout.kind == "binary"
        codec = "utf-8" if layout.encoding.upper() in ("UTF8", "UTF-8", "UNICODE") else "ascii"
        steps = ready_steps(plan, shapes, [binary] * len(shapes), key, codec)
        self.counts = steps.masker.counts
        """What was hidden so far."""
        self._buffer = b""
        self._failed = False
        self._parser: _BinaryRows | _Lines
        if binary:
            self._parser = _BinaryRows(steps)
        elif layout.kind == "csv":
            self._parser = _Lines(steps, CsvDialect.of(layout), layout.header)
        elif layout.kind == "text":
            self._parser = _Lines(steps, TextDialect.of(layout), layout.header)
        else:
            raise Unreadable(f"COPY in the unknown format {layout.kind} cannot be masked")

    def feed(self, payload: bytes) -> bytes:
        """The payload of one CopyData: the whole rows that it completes, rewritten.

        Raises: ProtocolViolation for what is no such stream, OverLimit for a row too long. The
        stream is lost then: every later call raises as well.
        """
        if self._failed:
            raise ProtocolViolation("this COPY stream could not be read before")
        # Stays so if the parser raises.
        self._failed = True
        data = self._buffer + payload if self._buffer else payload
        out, used = self._parser.rows(data)
        if len(data) - used > MAX_MASKED_ROW_BYTES:
            raise OverLimit(
                f"a row of more than {MAX_MASKED_ROW_BYTES} bytes is too long to be masked",
                hint="Leave out its longest columns, or cut them with substr().",
            )
        self._buffer = data[used:]
        self._failed = False
        return out

    def rewrite(self, frames: bytes) -> bytes:
        """Whole CopyData frames, rewritten; the same object where nothing had to be. A payload
        that completes no row gives no frame.

        Raises: as `feed`.
        """
        out: list[bytes] = []
        changed = False
        pos = 0
        end = len(frames)
        while pos < end:
            if pos + 5 > end:
                raise ProtocolViolation("the resource sent a message that is cut short")
            tag, length = _HEAD.unpack_from(frames, pos)
            frame_end = pos + 1 + length
            if tag != tags.COPY_DATA or length < 4 or frame_end > end:
                raise ProtocolViolation("the resource sent something else among copied rows")
            payload = frames[pos + 5 : frame_end]
            new = self.feed(payload)
            if new is payload:
                out.append(frames[pos:frame_end])
            else:
                changed = True
                if new:
                    out += (_HEAD.pack(tags.COPY_DATA, len(new) + 4), new)
            pos = frame_end
        return b"".join(out) if changed else frames

    def finish(self) -> bytes:
        """The end of the stream (CopyDone); nothing is left to go out.

        Raises: ProtocolViolation if a row is cut short or a binary stream has no trailer.
        """
        if self._failed or self._buffer or not self._parser.complete:
            raise ProtocolViolation("the resource ended a COPY within a row")
        return b""


class _Lines:
    """Rows of the text formats."""

    __slots__ = ("_dialect", "_header", "_steps", "complete")

    def __init__(self, steps: FieldSteps, dialect: CsvDialect | TextDialect, header: bool) -> None:
        self._steps = steps
        self._dialect = dialect
        self._header = header
        self.complete = True

    def rows(self, data: bytes) -> tuple[bytes, int]:
        """The rewritten rows at the start of `data`, and how many bytes of it they took."""
        dialect = self._dialect
        steps = self._steps
        clean = steps.masks_only or (dialect.plain(data) and steps.clean(data))
        if clean and not self._header and not any(steps.masks):
            end = data.rfind(b"\n") + 1
            return (data if end == len(data) else data[:end]), end
        out: list[bytes] = []
        changed = False
        pos = 0
        while pos < len(data):
            row_end = dialect.row_end(data, pos)
            if row_end < 0:
                break
            row = data[pos:row_end]
            new = self._row(row, clean)
            changed = changed or new is not row
            out.append(new)
            pos = row_end
        if not changed and pos == len(data):
            return data, pos
        return b"".join(out), pos

    def _row(self, row: bytes, clean: bool) -> bytes:
        """One row with its line end. `clean` says that no search will find anything in it."""
        steps = self._steps
        if len(row) > MAX_MASKED_ROW_BYTES:
            raise OverLimit(
                f"a row is too long to be masked: at most {MAX_MASKED_ROW_BYTES} bytes are",
                hint="Leave out its longest columns, or cut them with substr().",
            )
        dialect = self._dialect
        fields = dialect.fields(row[:-1])
        if len(fields) != len(steps.all_):
            # COPY of no columns is an empty line a row.
            if steps.all_ or row != b"\n":
                raise ProtocolViolation(
                    f"the resource copied a row of {len(fields)} fields where {len(steps.all_)} "
                    "were planned"
                )
            return row
        if self._header:
            self._header = False
            return row
        changed = False
        for at, step in enumerate(steps.masks if clean else self._needed(fields)):
            if step is None:
                continue
            value = dialect.decode(fields[at])
            if value is None and not step.nulls:
                continue
            if step.fixed is not None:
                new: bytes | None = _value_of(step.fixed)
            else:
                new = step.op(value) if step.op is not None and value is not None else None
                if new is value:
                    continue
            if step.rule:
                steps.masker.counts.rules[step.rule] += 1
            fields[at] = dialect.encode(new, alone=len(fields) == 1)
            changed = True
        return dialect.delimiter.join(fields) + b"\n" if changed else row

    def _needed(self, fields: list[bytes]) -> Sequence[FieldStep | None]:
        steps = self._steps
        if not steps.readable:
            return steps.all_
        readable: list[int] = []
        values: list[bytes] = []
        for at in steps.readable:
            value = self._dialect.decode(fields[at])
            if value:
                readable.append(at)
                values.append(value)
        return steps.narrowed(readable, values)


def _value_of(fixed: bytes) -> bytes | None:
    """The value of a replacement as on the wire: without its length."""
    return None if fixed[0] & 0x80 else fixed[4:]


class _BinaryRows:
    """Rows of the binary format: a head, then rows as in DataRow, then a trailer."""

    __slots__ = ("_hint", "_in_rows", "_steps", "complete")

    def __init__(self, steps: FieldSteps) -> None:
        self._steps = steps
        self._in_rows = False
        self._hint = -1
        self.complete = False

    def rows(self, data: bytes) -> tuple[bytes, int]:
        """The rewritten rows at the start of `data`, and how many bytes of it they took."""
        out: list[bytes] = []
        pos = 0
        if not self._in_rows:
            pos = _head_end(data)
            if pos == 0:
                return b"", 0
            self._in_rows = True
            out.append(data[:pos])
        changed = False
        self._hint = -1
        while pos < len(data):
            if self.complete:
                raise ProtocolViolation("the resource sent more after the end of a binary COPY")
            row_end = self._row_end(data, pos)
            if row_end < 0:
                break
            new = None if self.complete else self._row(data, pos, row_end)
            changed = changed or new is not None
            out.append(data[pos:row_end] if new is None else new)
            pos = row_end
        if not changed and pos == len(data):
            return data, pos
        return b"".join(out), pos

    def _row_end(self, data: bytes, at: int) -> int:
        """Where the row that starts at `at` ends, -1 if that is still to come."""
        if at + 2 > len(data):
            return -1
        count = _INT16.unpack_from(data, at)[0]
        at += 2
        if count == -1:
            self.complete = True
            return at
        if count != len(self._steps.all_):
            raise ProtocolViolation(
                f"the resource copied a row of {count} fields where {len(self._steps.all_)} "
                "were planned"
            )
        start = at
        for _ in range(count):
            if at + 4 > len(data):
                return -1
            size = _INT32.unpack_from(data, at)[0]
            if size < -1:
                raise ProtocolViolation("the resource copied a field of negative length")
            at += 4 + max(size, 0)
            if at - start > MAX_MASKED_ROW_BYTES:
                raise OverLimit(
                    f"a row of more than {MAX_MASKED_ROW_BYTES} bytes is too long to be masked",
                    hint="Leave out its longest columns, or cut them with substr().",
                )
        return at if at <= len(data) else -1

    def _row(self, data: bytes, at: int, row_end: int) -> bytes | None:
        """One row, rewritten; None if it stays as it is."""
        out: list[bytes] = []
        copied = at
        at += 2
        for step in self._steps.all_:
            start = at
            size = _INT32.unpack_from(data, at)[0]
            at += 4 + max(size, 0)
            if step is None or (size < 0 and not step.nulls):
                continue
            piece = step.fixed
            if piece is None:
                if step.readable and self._next_hint(data, start + 4) >= at:
                    continue
                value = data[start + 4 : at]
                new = step.op(value) if step.op is not None else None
                if new is value:
                    continue
                piece = with_length(new)
            if step.rule:
                self._steps.masker.counts.rules[step.rule] += 1
            out += (data[copied:start], piece)
            copied = at
        if not out:
            return None
        out.append(data[copied:row_end])
        return b"".join(out)

    def _next_hint(self, data: bytes, at: int) -> int:
        """Where the first thing stands, from `at` on, that a search might find. An answer behind
        `at` is good for all positions before it."""
        if self._hint < at:
            found = self._steps.masker.first_hint(data, at)
            self._hint = len(data) if found < 0 else found
        return self._hint


def _head_end(data: bytes) -> int:
    """The length of a binary stream's head, 0 if it is not whole yet."""
    if not _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        raise ProtocolViolation("the resource's binary COPY does not start as one")
    at = len(_SIGNATURE) + _FLAGS.size
    if len(data) < at:
        return 0
    flags, extension = _FLAGS.unpack_from(data, len(_SIGNATURE))
    if flags & _CRITICAL_FLAGS or not 0 <= extension <= _MAX_EXTENSION_BYTES:
        raise ProtocolViolation("the resource's binary COPY has a head that is not known")
    return int(at + extension) if len(data) >= at + extension else 0
