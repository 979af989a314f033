"""What of the keys typed into a terminal the host has shown.

The gate does not see whether a program at the host has switched the echo off, to ask for a
password. It sees what comes back. A line of keys counts as echoed only where the host's very next
output repeats each of them, in order; one key that is not repeated hides its whole line. What is
not echoed is counted, and forgotten here.

This errs on the side of hiding: keys that a program acts upon, a line typed before its prompt, and
one that an editor paints in another order are hidden as well. What the host makes of them is in
its output.
"""

from dataclasses import dataclass
from typing import Final

from taskgate.model.limits import MAX_TYPED_LINE_BYTES

_ESC: Final = 0x1B
_ERASE: Final = b"\x08\x7f"
# What ends a line, or gives it up: Enter, ^C, ^D, ^U, ^Z, ^\.
_CR: Final = 0x0D
_WRAP: Final = b" \r"
_NEWLINE: Final = b"\r\n"
_ENDS: Final = b"\r\n\x03\x04\x15\x1a\x1c"


@dataclass(frozen=True, slots=True)
class Typed:
    """A line: its echoed keys without its end, and how many keys were not kept (bytes)."""

    text: bytes
    hidden: int


class _Escapes:
    """Leaves escape sequences out (ECMA-48, section 5.3 and 5.4), wherever they are cut."""

    def __init__(self) -> None:
        self._state = 0

    def plain(self, byte: int) -> int | None:
        """The byte, if it is text; None if it belongs to a sequence."""
        if self._state == 0 and byte != _ESC:
            return byte
        self._state = self._next(byte) if self._state else 1
        return None

    def skip(self, data: bytes) -> None:
        """Passes text that nobody compares: only a sequence that is cut at its end matters."""
        if self._state == 0:
            at = data.rfind(_ESC)
            data = data[at:] if at >= 0 else b""
        for byte in data:
            self._state = self._next(byte) if self._state else int(byte == _ESC)

    def _next(self, byte: int) -> int:
        """1: after ESC; 2: a control sequence; 3: a string; 4: ESC in a string; 5: one more."""
        if self._state == 1:
            if byte in b"[":
                return 2
            if byte in b"]P_^X":
                return 3
            return 5 if byte in b"O()*+ #%" else 0
        if self._state == 2:
            return 0 if 0x40 <= byte <= 0x7E else 2
        if self._state == 3:
            return 0 if byte == 0x07 else 4 if byte == _ESC else 3
        return 0


class Echo:
    """One terminal's keys and what came back."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._awaited = bytearray()
        self._hidden = 0
        self._missed = False
        self._line_ended = False
        self._wrapped = False
        self._keys = _Escapes()
        self._output = _Escapes()

    def typed(self, data: bytes) -> list[Typed]:
        """Keys on their way to the host; the lines that are over."""
        done: list[Typed] = []
        for key in data:
            byte = self._keys.plain(key)
            if byte is None or (byte < 0x20 and byte not in _ENDS and byte not in _ERASE):
                self._hidden += 1
            elif self._missed:
                self._hidden += 1
                if byte in _ENDS:
                    self._close(done)
            elif len(self._line) + len(self._awaited) >= MAX_TYPED_LINE_BYTES:
                self._hidden += 1
                self._miss(done)
                self._missed = True
            else:
                self._awaited.append(byte)
                self._settle(done)
            if self._hidden >= MAX_TYPED_LINE_BYTES:
                done.append(self._take(b""))
        return done

    def shown(self, data: bytes) -> list[Typed]:
        """What the host shows; the lines that are over by it."""
        done: list[Typed] = []
        for at in range(len(data)):
            if not self._awaited and not self._line_ended:
                self._output.skip(data[at:])
                break
            byte = self._output.plain(data[at])
            if byte is None or (self._line_ended and byte in _NEWLINE):
                continue
            self._line_ended = False
            if not self._awaited:
                continue
            if self._wrapped and self._line[-1:] == bytes((byte,)):
                # At the end of a row, readline shows a key, goes back, and shows it again.
                self._wrapped = False
            elif byte != self._awaited[0]:
                self._wrapped = byte == _CR
                if byte not in _WRAP:
                    self._miss(done)
            else:
                self._wrapped = False
                self._line.append(self._awaited.pop(0))
                self._settle(done)
        return done

    def ended(self) -> list[Typed]:
        """Nothing more is shown."""
        done: list[Typed] = []
        if self._awaited:
            self._miss(done)
        if self._line or self._hidden:
            self._close(done)
        return done

    def _settle(self, done: list[Typed]) -> None:
        """Keys at the front that no echo is awaited for."""
        while self._awaited and self._awaited[0] in _ENDS + _ERASE:
            byte = self._awaited.pop(0)
            if byte in _ENDS:
                self._line_ended = byte in _NEWLINE
                self._close(done)
            else:
                self._hidden += 1
                del self._line[_last_character(self._line) :]

    def _miss(self, done: list[Typed]) -> None:
        """The host did not repeat a key: nothing of the line is kept, nor of what follows it."""
        awaited = bytes(self._awaited)
        self._awaited.clear()
        self._hidden += len(self._line) + len(awaited)
        self._line.clear()
        self._missed = awaited[-1:] not in _ENDS or not awaited
        if not self._missed:
            self._close(done)

    def _close(self, done: list[Typed]) -> None:
        self._missed = False
        if self._line or self._hidden:
            done.append(self._take(bytes(self._line)))
        self._line.clear()

    def _take(self, text: bytes) -> Typed:
        taken, self._hidden = Typed(text, self._hidden), 0
        return taken


def _last_character(line: bytearray) -> int:
    """Where the last character of UTF-8 begins."""
    at = len(line) - 1
    while at > 0 and line[at] & 0xC0 == 0x80:
        at -= 1
    return max(at, 0)
