"""What a terminal has shown, as lines of text: to be read, and searched.

Each line is what stood there when the host went on to the next one. Within a line, keys that were
erased or overwritten are gone, as on the screen; programs that paint the whole screen come out as
the pieces that they painted, in order.
"""

from typing import Final

from taskgate.model.limits import MAX_SCREEN_LINE_CHARS
from taskgate.recording.terminal_filter import Control, Sequence, TerminalReader, Text, Token

# What goes to another line without a line feed.
_VERTICAL: Final = frozenset("ABEFHJLMSTdefr")


class ScreenText:
    """One terminal's output, fed in order."""

    def __init__(self) -> None:
        self._reader = TerminalReader()
        self._line: list[str] = []
        self._column = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that are over."""
        done: list[str] = []
        for token in self._reader.read(data):
            self._take(token, done)
        return done

    def end(self) -> list[str]:
        """The line that was not over yet."""
        done: list[str] = []
        self._next(done)
        return done

    def _take(self, token: Token, done: list[str]) -> None:
        match token:
            case Text(text):
                self._write(text, done)
            case Control("\n") | Control("D" | "E" | "M", escape=True):
                self._next(done, keep_empty=token.letter == "\n")
            case Control("\r"):
                self._column = 0
            case Control("\b"):
                self._column = max(0, self._column - 1)
            case Control("\t"):
                self._move(self._column // 8 * 8 + 8)
            case Sequence(final):
                self._sequence(token, final, done)

    def _write(self, text: str, done: list[str]) -> None:
        while text:
            room = MAX_SCREEN_LINE_CHARS - self._column
            part, text = text[:room], text[room:]
            self._line[self._column : self._column + len(part)] = part
            self._column += len(part)
            if self._column >= MAX_SCREEN_LINE_CHARS:
                self._next(done)

    def _sequence(self, token: Sequence, final: str, done: list[str]) -> None:
        if final in _VERTICAL or (final in "hl" and token.private and "47" in token.parameters):
            self._next(done)
        elif final == "K":
            kind = token.number(default=0)
            if kind in (1, 2):
                upto = min(self._column + 1, len(self._line)) if kind == 1 else len(self._line)
                self._line[:upto] = " " * upto
            if kind in (0, 2):
                del self._line[self._column :]
        elif final in "Ca":
            self._move(self._column + token.number())
        elif final == "D":
            self._column = max(0, self._column - token.number())
        elif final in "G`":
            self._move(token.number() - 1)
        elif final == "P":
            del self._line[self._column : self._column + token.number()]
        elif final == "@":
            blank = min(token.number(), MAX_SCREEN_LINE_CHARS - self._column)
            self._line[self._column : self._column] = " " * blank
            del self._line[MAX_SCREEN_LINE_CHARS:]

    def _move(self, column: int) -> None:
        self._column = min(column, MAX_SCREEN_LINE_CHARS - 1)
        self._line += " " * (self._column - len(self._line))

    def _next(self, done: list[str], keep_empty: bool = False) -> None:
        line = "".join(self._line).rstrip()
        if line or keep_empty:
            done.append(line)
        self._line.clear()
        self._column = 0
