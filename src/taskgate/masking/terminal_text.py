"""What a line of output reads as once a terminal has shown it: colours taken out, the cursor moved.

A value that is written with a colour in its middle, or with a wrong digit that is then overwritten,
is the same value to whoever sees it. Detectors look at the line as it stands, without its control
sequences, and as it is shown; what is found there is led back to the bytes it came from.

Control sequences are ECMA-48's (5.4, 8.3) and xterm's (ctlseqs).
"""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from taskgate.masking.finder import compile_bytes

# In order: CSI; OSC, DCS, SOS, PM and APC with their strings; unfinished ones at the end; others of
# two bytes and more; single controls, C1 in UTF-8 among them. Of many short matches Python's own
# engine finds several times as many a second as RE2. It is linear here: repetitions in a row share
# no byte, and none reads past the next ESC.
_SEQUENCE = re.compile(
    rb"(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*[@-~]"
    rb"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\|\xc2\x9c|\x1b?\Z)"
    rb"|(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*\Z|\x1b[ -/]*\Z"
    rb"|\x1b[ -/]*[0-~]"
    rb"|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]"
)
_CONTROL = compile_bytes(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
# What makes a place on the screen differ from the place in the line.
_MOVE = compile_bytes(rb"[\x08\r]|(?:\x1b\[|\xc2\x9b)[0-9;]*[@-KPXa-f\x60]")
_COLOUR = re.compile(rb"(?:\x1b\[|\xc2\x9b)[0-9;:]*m")
# Wider than terminals are; a cursor that is sent further stays there.
_MAX_COLUMN = 4096
_BLANK = -1


@dataclass(frozen=True, slots=True)
class View:
    """One way to read a line. `offsets` says where each byte of `text` stands in the line (-1: a
    blank that the cursor left), None where it is the line itself."""

    text: bytes
    offsets: Sequence[int] | None = None

    def led_back(self, start: int, end: int) -> tuple[int, int]:
        """Where a span of `text` stands in the line: from its first byte there to its last."""
        if self.offsets is None:
            return start, end
        found = [at for at in self.offsets[start:end] if at != _BLANK]
        return min(found, default=0), max(found, default=-1) + 1


def has_control(data: bytes) -> bool:
    """Whether anything in `data` is no text, the ends of its lines left aside."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    return _CONTROL.search(data) is not None


def has_moves(data: bytes) -> bool:
    """Whether the cursor moves in `data` other than forward, the ends of its lines left aside."""
    return _MOVE.search(data.replace(b"\r\n", b"\n")) is not None


def without_control(data: bytes) -> bytes:
    """`data` without its control sequences; the ends of lines stay."""
    return _SEQUENCE.sub(b"", data)


def colours_of(data: bytes) -> bytes:
    """The colour changes in `data`, joined."""
    return b"".join(_COLOUR.findall(data)) if b"m" in data else b""


def views(line: bytes) -> list[View]:
    """The ways to read `line`, a part of one line of output."""
    found = [View(line)]
    if _CONTROL.search(line) is not None:
        found.append(_stripped(line))
        if _MOVE.search(line) is not None:
            found.append(_shown(line))
    return found


def _stripped(line: bytes) -> View:
    out = bytearray()
    offsets = array("q")
    done = 0
    for match in _SEQUENCE.finditer(line):
        start, end = match.span()
        out += line[done:start]
        offsets.extend(range(done, start))
        done = end
    out += line[done:]
    offsets.extend(range(done, len(line)))
    return View(bytes(out), offsets)


def _shown(line: bytes) -> View:
    screen = _Screen(line)
    done = 0
    for match in _SEQUENCE.finditer(line):
        start, end = match.span()
        screen.write(done, start)
        screen.control(line[start:end])
        done = end
    screen.write(done, len(line))
    return screen.view()


class _Screen:
    """A row of cells, each the offset of the character in it. Where the cursor goes to another row,
    a new one begins: no value is read from one into the other."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._rows: list[list[int]] = [[]]
        self._column = 0

    def write(self, start: int, end: int) -> None:
        text = self._line[start:end]
        cells: Sequence[int] = range(start, end)
        if not text.isascii():
            cells = [start + at for at, byte in enumerate(text) if byte & 0xC0 != 0x80]
        self._put(cells)

    def control(self, sequence: bytes) -> None:
        if sequence == b"\x08":
            self._column = max(0, self._column - 1)
        elif sequence == b"\r":
            self._column = 0
        elif sequence.startswith((b"\x1b[", b"\xc2\x9b")) and len(sequence) > 2:
            self._csi(sequence[-1:], sequence[2:-1])

    def _put(self, cells: Sequence[int]) -> None:
        row, at = self._rows[-1], self._column
        if len(row) < at:
            row.extend([_BLANK] * (at - len(row)))
        row[at : at + len(cells)] = cells
        self._column = at + len(cells)

    def _csi(self, final: bytes, given: bytes) -> None:
        first = given.split(b";")[0]
        count = min(int(first[:6]), _MAX_COLUMN) if first.isdigit() else 0
        times, row, at = max(1, count), self._rows[-1], self._column
        if final in b"Ca":
            self._column = min(at + times, max(at, _MAX_COLUMN))
        elif final == b"D":
            self._column = max(0, at - times)
        elif final in b"G`":
            self._column = times - 1
        elif final == b"K":
            if count == 0:
                del row[at:]
            else:
                row[: at if count == 1 else len(row)] = [_BLANK] * min(at, len(row))
        elif final == b"P":
            del row[at : at + times]
        elif final == b"X":
            row[at : at + times] = [_BLANK] * len(row[at : at + times])
        elif final == b"@":
            row[at:at] = [_BLANK] * times
        elif final == b"b" and row[at - 1 : at]:
            # The last character once more, so many times (REP).
            self._put(row[at - 1 : at] * times)
        elif final in b"ABEFHJdf":
            self._rows.append([])
            self._column = 0

    def view(self) -> View:
        out = bytearray()
        offsets = array("q")
        for number, row in enumerate(self._rows):
            if number:
                out += b"\n"
                offsets.append(_BLANK)
            for at in row:
                character = b" " if at == _BLANK else self._line[at : at + self._width(at)]
                out += character
                offsets.extend(range(at, at + len(character)) if at != _BLANK else (_BLANK,))
        return View(bytes(out), offsets)

    def _width(self, at: int) -> int:
        """The bytes of the character at `at`, by its first one (RFC 3629)."""
        byte = self._line[at]
        return 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
