"""What a recorded host printed, made safe for the terminal of whoever replays it.

A terminal obeys what it is sent: it can set its title and tell it back as if typed, fill the
clipboard (OSC 52), print, resize, answer questions (DA, DSR, DECRQSS), report the mouse and change
what its keys send. So only what is on the list below passes, each sequence written anew from what
was understood of it; all else is dropped whole. On the list is what paints a screen: moving the
cursor, colours, erasing, inserting, deleting, scrolling regions, the alternate screen. Text passes,
but for controls that show it in another order than it is read in.

Sequences are those of ECMA-48 and of xterm (ctlseqs). No I/O.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from taskgate.model.limits import MAX_CONTROL_SEQUENCE_CHARS

# Longer parameters move nothing any further on any screen, and a repetition takes time.
_MAX_NUMBER: Final = 9_999
_MAX_NUMBERS: Final = 32

# Text up to the next control: C0, DEL, C1.
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
# Bidirectional controls (Unicode UAX #9), line and paragraph separators, surrogates, tags.
_DISGUISES: Final = re.compile(
    "[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
_CONTROLS: Final = frozenset("\b\t\n\r")
# Save and restore the cursor; index, next line, reverse index.
_ESCAPES: Final = frozenset("78DEM")
_MOVES: Final = frozenset("@ABCDEFGHIJKLMPSTXZ`abdefmrsu")
# Insert; origin, wrap, blinking and visible cursor, and the alternate screen in its four ways.
_MODES: Final = frozenset({"4"})
_PRIVATE_MODES: Final = frozenset({"6", "7", "12", "25", "47", "1047", "1048", "1049"})
_ALTERNATE: Final = frozenset({"47", "1047", "1049"})
_PARAMETERS: Final = re.compile(r"[0-9;:]*")
# DEC's special graphics (VT100 user guide, table 3-9), in which programs draw frames.
_FRAMES: Final = str.maketrans(
    "`afgjklmnopqrstuvwxyz{|}~", "◆▒°±┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"
)  # fmt: skip
_STRINGS: Final = frozenset("]P_^X\x90\x98\x9d\x9e\x9f")


@dataclass(frozen=True, slots=True)
class Text:
    """Printable text."""

    text: str


@dataclass(frozen=True, slots=True)
class Control:
    """BS, HT, LF or CR; or, with `escape`, the letter of an escape sequence."""

    letter: str
    escape: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A control sequence: its final letter, its parameters as written, whether they are private
    (`?`)."""

    final: str
    parameters: str = ""
    private: bool = False

    def number(self, at: int = 0, default: int = 1) -> int:
        """The parameter at that place; 0 and nothing are the default."""
        parts = self.parameters.split(";")
        text = parts[at] if at < len(parts) else ""
        return int(text) if text.isdigit() and int(text) else default


Token = Text | Control | Sequence


class _State(Enum):
    GROUND = 0
    ESCAPE = 1
    # An escape sequence of which more comes; `ESC (` and the like pick a set of characters.
    INTERMEDIATE = 2
    SEQUENCE = 3
    STRING = 4
    STRING_ESCAPE = 5


class TerminalReader:
    """A host's output as tokens of the list above, wherever it is cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state = _State.GROUND
        self._collected = ""
        self._sets = ["B", "B"]
        self._shift = 0

    def read(self, data: bytes) -> Iterator[Token]:
        text = self._decoder.decode(data)
        at = 0
        while at < len(text):
            if self._state is _State.GROUND:
                found = _TEXT.match(text, at)
                if found is not None:
                    at = found.end()
                    yield Text(self._printable(found[0]))
                    continue
            yield from self._control(text[at])
            at += 1

    def _printable(self, text: str) -> str:
        if self._sets[self._shift] == "0":
            text = text.translate(_FRAMES)
        return _DISGUISES.sub("\ufffd", text)

    def _control(self, c: str) -> Iterator[Token]:
        state = self._state
        if state in (_State.STRING, _State.STRING_ESCAPE):
            self._string(c)
        elif c == "\x1b":
            self._begin(_State.ESCAPE)
        elif c in "\x18\x1a":
            self._begin(_State.GROUND)
        elif "\x80" <= c <= "\x9f":
            self._eight_bit(c)
        elif c < " " or c == "\x7f":
            # Within a sequence too, a terminal does these at once.
            if c in "\x0e\x0f":
                self._shift = 1 if c == "\x0e" else 0
            elif c in _CONTROLS or c in "\v\f":
                yield Control("\n" if c in "\v\f" else c)
        elif state is _State.ESCAPE:
            yield from self._escape(c)
        elif state is _State.INTERMEDIATE:
            self._intermediate(c)
        elif state is _State.SEQUENCE:
            yield from self._sequence(c)

    def _begin(self, state: _State) -> None:
        self._state = state
        self._collected = ""

    def _eight_bit(self, c: str) -> None:
        if c == "\x9b":
            self._begin(_State.SEQUENCE)
        else:
            self._begin(_State.STRING if c in _STRINGS else _State.GROUND)

    def _string(self, c: str) -> None:
        """Operating system commands, device control strings and the like: dropped whole."""
        if self._state is _State.STRING_ESCAPE:
            # Some terminals end a string at any escape sequence, others at `ESC \\` alone; what
            # follows is read as a sequence again, so that none of it passes as text.
            self._begin(_State.ESCAPE)
            if c == "\\":
                self._begin(_State.GROUND)
            elif c == "[":
                self._begin(_State.SEQUENCE)
            elif c in _STRINGS:
                self._begin(_State.STRING)
            elif c == "\x1b":
                self._state = _State.STRING_ESCAPE
            else:
                self._begin(_State.GROUND)
        elif c == "\x1b":
            self._state = _State.STRING_ESCAPE
        elif c in "\x07\x18\x1a\x9c":
            self._begin(_State.GROUND)

    def _escape(self, c: str) -> Iterator[Token]:
        if c == "[":
            self._begin(_State.SEQUENCE)
        elif c in _STRINGS:
            self._begin(_State.STRING)
        elif " " <= c <= "/":
            self._state = _State.INTERMEDIATE
            self._collected = c
        else:
            self._begin(_State.GROUND)
            if c == "c":
                # A full reset would reach further than the screen.
                self._sets, self._shift = ["B", "B"], 0
                yield from (Sequence("m"), Sequence("r"), Sequence("J", "2"), Sequence("H"))
            elif c in _ESCAPES:
                yield Control(c, escape=True)

    def _intermediate(self, c: str) -> None:
        if " " <= c <= "/":
            self._collected = (self._collected + c)[:4]
            return
        if self._collected in ("(", ")"):
            self._sets["()".index(self._collected)] = "0" if c == "0" else "B"
        self._begin(_State.GROUND)

    def _sequence(self, c: str) -> Iterator[Token]:
        if not "@" <= c <= "~":
            self._collected += c if len(self._collected) < MAX_CONTROL_SEQUENCE_CHARS else ""
            return
        collected = self._collected
        self._begin(_State.GROUND)
        if len(collected) < MAX_CONTROL_SEQUENCE_CHARS:
            yield from _listed(c, collected)


def _listed(final: str, collected: str) -> Iterator[Sequence]:
    """The sequence, or several or none in its place."""
    private = collected.startswith("?")
    parameters = collected[1:] if private else collected
    if _PARAMETERS.fullmatch(parameters) is None:
        return
    if final in "hl":
        allowed = _PRIVATE_MODES if private else _MODES
        for mode in parameters.split(";")[:_MAX_NUMBERS]:
            if mode in allowed:
                yield Sequence(final, mode, private)
    elif final in _MOVES and not private:
        numbers = [_clamped(part) for part in parameters.split(";")[:_MAX_NUMBERS]]
        # Several lines of history (J 3) or a mouse (T with five) are not of the screen; with
        # parameters, `s` and `u` set margins and keyboards.
        if (final == "J" and numbers[0] == "3") or (final in "Tsu" and len(numbers) > 1):
            return
        if (final in "su" and numbers[0]) or (final != "m" and ":" in parameters):
            return
        yield Sequence(final, ";".join(numbers))


def _clamped(part: str) -> str:
    """A parameter; parts of one (`4:3`) are of colours, and as they are."""
    if ":" in part:
        return part
    return str(min(int(part), _MAX_NUMBER)) if part else ""


class TerminalFilter:
    """A host's output, written anew for the terminal of whoever replays it.

    `rows` keeps it to the upper rows of that terminal; 0 leaves it the whole.
    """

    def __init__(self, rows: int = 0) -> None:
        self.rows = rows
        # Whether the host has kept the cursor's place, which there is but one of.
        self.cursor_kept = False
        self._reader = TerminalReader()
        self._alternate = False

    def filter(self, data: bytes) -> str:
        return "".join(self._write(token) for token in self._reader.read(data))

    def begin(self) -> str:
        """An empty screen to play on."""
        return "\x1b[2J" + (f"\x1b[1;{self.rows}r" if self.rows else "") + "\x1b[H"

    def resize(self, rows: int) -> str:
        """Keeps it to other rows from here on."""
        self.rows = rows
        if not rows:
            return ""
        return f"\x1b7\x1b[1;{rows}r\x1b[{rows + 1};1H\x1b[J\x1b8"

    def end(self) -> str:
        """Leaves the terminal as any program expects it, the cursor in a row below."""
        left = "\x1b[?1049l" if self._alternate else ""
        self._alternate = False
        below = f"\x1b[{self.rows + 1};1H\x1b[J" if self.rows else "\x1b[9999;1H\r\n"
        return left + "\x1b[m\x1b[4l\x1b[?6l\x1b[?7h\x1b[?12l\x1b[?25h\x1b[r" + below

    def _write(self, token: Token) -> str:
        match token:
            case Text(text):
                return text
            case Control(letter, escape):
                if escape and letter in "78":
                    self.cursor_kept = letter == "7"
                return f"\x1b{letter}" if escape else letter
            case Sequence(final, parameters, private):
                if private and parameters in _ALTERNATE:
                    self._alternate = final == "h"
                elif final in "su":
                    self.cursor_kept = final == "s"
                if self.rows and not private:
                    parameters = self._kept_above(token)
                return f"\x1b[{'?' if private else ''}{parameters}{final}"

    def _kept_above(self, sequence: Sequence) -> str:
        """Rows beyond the recorded screen are its last."""
        rows, final = self.rows, sequence.final
        if final == "r":
            top, bottom = sequence.number(0), min(sequence.number(1, rows), rows)
            return f"{top};{bottom}" if top < bottom else f"1;{rows}"
        if final in "Hf":
            return f"{min(sequence.number(0), rows)};{sequence.number(1)}"
        if final == "d":
            return str(min(sequence.number(0), rows))
        return sequence.parameters
