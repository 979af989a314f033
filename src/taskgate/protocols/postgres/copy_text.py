"""The two text formats of COPY: where rows end, where fields do, and what they mean.

Source: PostgreSQL documentation, COPY, "Text Format" and "CSV Format".
"""

import re
from dataclasses import dataclass
from typing import Protocol

from taskgate.model.errors import ProtocolViolation, Unreadable


class Layout(Protocol):
    """The options that a dialect is made of (`copy_rows.CopyFormat`)."""

    @property
    def delimiter(self) -> str: ...
    @property
    def null(self) -> str | None: ...
    @property
    def quote(self) -> str: ...
    @property
    def escape(self) -> str: ...


_NAMED = {
    ord("b"): b"\b", ord("f"): b"\f", ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t",
    ord("v"): b"\v",
}  # fmt: skip
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


def _one_byte(name: str, value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) != 1 or value in "\r\n":
        raise Unreadable(f"COPY with the {name} {value!r} cannot be read")
    return encoded


def _null_bytes(text: str) -> bytes:
    if "\r" in text or "\n" in text:
        raise Unreadable("COPY with a line end in NULL cannot be read")
    return text.encode()


@dataclass(frozen=True, slots=True)
class TextDialect:
    """The text format. A line end or a delimiter within a value is written with a backslash."""

    delimiter: bytes
    null: bytes
    null_is_certain: bool
    """Whether no value is written like NULL. Where one is, NULL counts as a value: else a guess
    put into the NULL option would show which masked values are equal to it."""

    @classmethod
    def of(cls, layout: Layout) -> "TextDialect":
        """Raises: Unreadable for options that COPY does not take."""
        null = "\\N" if layout.null is None else layout.null
        delimiter = _one_byte("delimiter", layout.delimiter or "\t")
        # Those would read as an escape, as PostgreSQL says when it refuses them.
        if delimiter in b"\\.abcdefghijklmnopqrstuvwxyz0123456789":
            raise Unreadable(f"COPY with the delimiter {layout.delimiter!r} cannot be read")
        written = _null_bytes(null)
        means = _ESCAPE.sub(_unescape, written)
        certain = cls(delimiter, b"\\N", True).encode(means, alone=False) != written
        return cls(delimiter, written, certain)

    def plain(self, data: bytes) -> bool:
        """Whether every value in `data` is written as it is."""
        return b"\\" not in data

    def row_end(self, data: bytes, start: int) -> int:
        """Behind the line end of the row at `start`; -1 if that is still to come."""
        return data.find(b"\n", start) + 1 or -1

    def fields(self, line: bytes) -> list[bytes]:
        """The fields of a line (without its end) as they are written.

        Raises: ProtocolViolation if the line ends within an escape.
        """
        fields = line.split(self.delimiter)
        if b"\\" not in line:
            return fields
        whole: list[bytes] = []
        pending = b""
        for field in fields:
            pending += field
            # An odd number of backslashes before it makes the delimiter part of the value.
            if (len(pending) - len(pending.rstrip(b"\\"))) % 2:
                pending += self.delimiter
                continue
            whole.append(pending)
            pending = b""
        if pending:
            raise ProtocolViolation("the resource copied a line that ends within an escape")
        return whole

    def decode(self, field: bytes) -> bytes | None:
        """What a field means; None for NULL."""
        if field == self.null and self.null_is_certain:
            return None
        if b"\\" not in field:
            return field
        return _ESCAPE.sub(_unescape, field)

    def encode(self, value: bytes | None, *, alone: bool) -> bytes:
        """How a value is written. `alone` says that it is its row's only one."""
        if value is None:
            return self.null
        out = (
            value.replace(b"\\", b"\\\\")
            .replace(b"\b", b"\\b")
            .replace(b"\f", b"\\f")
            .replace(b"\n", b"\\n")
            .replace(b"\r", b"\\r")
            .replace(b"\t", b"\\t")
            .replace(b"\v", b"\\v")
        )
        if self.delimiter != b"\t":
            out = out.replace(self.delimiter, b"\\" + self.delimiter)
        # A value that is written like NULL is another one.
        if out == self.null and out:
            out = b"\\%03o" % out[0] + out[1:]
        return out


def _unescape(match: re.Match[bytes]) -> bytes:
    body = match[1]
    if body[0] in b"01234567":
        return bytes((int(body, 8) & 0xFF,))
    if body[0] == 0x78 and len(body) > 1:
        return bytes((int(body[1:], 16),))
    return _NAMED.get(body[0], body)


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """The CSV format. A quoted field may hold line ends and delimiters."""

    delimiter: bytes
    null: bytes
    quote: bytes
    escape: bytes

    @classmethod
    def of(cls, layout: Layout) -> "CsvDialect":
        """Raises: Unreadable for options that COPY does not take."""
        quote = _one_byte("quote", layout.quote or '"')
        delimiter = _one_byte("delimiter", layout.delimiter or ",")
        if quote == delimiter:
            raise Unreadable("COPY with a delimiter that is the quote cannot be read")
        escape = _one_byte("escape", layout.escape) if layout.escape else quote
        null = _null_bytes(layout.null or "")
        if quote in null:
            raise Unreadable("COPY with a quote in NULL cannot be read")
        return cls(delimiter, null, quote, escape)

    def plain(self, data: bytes) -> bool:
        """Whether every value in `data` is written as it is."""
        return self.quote not in data

    def row_end(self, data: bytes, start: int) -> int:
        """Behind the line end of the row at `start`; -1 if that is still to come."""
        end = data.find(b"\n", start)
        quoted = data.find(self.quote, start)
        if quoted < 0 or (0 <= end < quoted):
            return end + 1 or -1
        at = quoted
        while True:
            at = self._quoted_end(data, at)
            if at < 0:
                return -1
            end = data.find(b"\n", at)
            quoted = data.find(self.quote, at)
            if quoted < 0 or (0 <= end < quoted):
                return end + 1 or -1
            at = quoted

    def _quoted_end(self, data: bytes, at: int) -> int:
        """Behind the quote that closes the one at `at`; -1 if it is still to come."""
        quote, escape = self.quote, self.escape
        at += 1
        if quote == escape:
            # Two quotes in a row close and open again, which comes to the same.
            return data.find(quote, at) + 1 or -1
        while True:
            closing = data.find(quote, at)
            if closing < 0:
                return -1
            escaped = data.find(escape, at, closing)
            if escaped < 0:
                return closing + 1
            # An escape takes the next quote or escape along, and is itself before anything else.
            following = data[escaped + 1 : escaped + 2]
            at = escaped + (2 if following in (quote, escape) else 1)

    def fields(self, line: bytes) -> list[bytes]:
        """The fields of a row (without its line end) as they are written.

        Raises: ProtocolViolation if a quote is not closed.
        """
        if self.quote not in line:
            return line.split(self.delimiter)
        fields: list[bytes] = []
        start = at = 0
        while True:
            delimiter = line.find(self.delimiter, at)
            quoted = line.find(self.quote, at)
            if quoted < 0 or 0 <= delimiter < quoted:
                if delimiter < 0:
                    fields.append(line[start:])
                    return fields
                fields.append(line[start:delimiter])
                start = at = delimiter + 1
                continue
            at = self._quoted_end(line, quoted)
            if at < 0:
                raise ProtocolViolation("the resource copied a row with an open quote")

    def decode(self, field: bytes) -> bytes | None:
        """What a field means; None for NULL.

        Raises: ProtocolViolation for quotes as COPY never writes them.
        """
        quote, escape = self.quote, self.escape
        if field == self.null:
            return None
        if quote not in field:
            return field
        if len(field) < 2 or field[:1] != quote or field[-1:] != quote:
            raise ProtocolViolation("the resource copied a field that is quoted in part")
        body = field[1:-1]
        if escape == quote:
            return body.replace(quote + quote, quote)
        out = bytearray()
        at = 0
        while (found := body.find(escape, at)) >= 0:
            following = body[found + 1 : found + 2]
            out += body[at:found]
            taken = following if following in (quote, escape) and following else escape
            out += taken
            at = found + (2 if taken is following else 1)
        return bytes(out + body[at:])

    def encode(self, value: bytes | None, *, alone: bool) -> bytes:
        """How a value is written. `alone` says that it is its row's only one."""
        if value is None:
            return self.null
        quote, escape = self.quote, self.escape
        special = (self.delimiter, quote, b"\n", b"\r")
        # `\.` on a line by itself once ended the data.
        if (
            value != self.null
            and not any(s in value for s in special)
            and not (alone and value == b"\\.")
        ):
            return value
        if escape != quote:
            value = value.replace(escape, escape + escape)
        return quote + value.replace(quote, escape + quote) + quote
