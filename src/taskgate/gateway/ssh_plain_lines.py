"""Lines from a client that has no terminal, or a simple one: nothing to edit but what a typewriter
can."""

import asyncio
import codecs
from collections import deque
from collections.abc import Callable

from taskgate.gateway.ssh_editor import Ended, GivenUp
from taskgate.model.errors import OverLimit
from taskgate.model.limits import (
    MAX_SHELL_HISTORY,
    MAX_SHELL_LINE_CHARS,
    MAX_SHELL_WAITING_CHARS,
)

_INTERRUPT, _END, _ERASE = "\x03", "\x04", "\x7f\x08"


class PlainLines:
    """`echo` shows what is typed to a terminal that does not show it itself; None where there is
    none."""

    def __init__(
        self, echo: Callable[[str], None] | None, is_unfinished: Callable[[str], bool]
    ) -> None:
        self.history: deque[str] = deque(maxlen=MAX_SHELL_HISTORY)
        self._echo = echo
        self._is_unfinished = is_unfinished
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[str] = deque()
        self._line = ""
        self._ended = False
        self._more = asyncio.Event()

    @property
    def full(self) -> bool:
        return len(self._waiting) > MAX_SHELL_WAITING_CHARS // 2

    def feed(self, data: bytes) -> None:
        self._waiting.extend(self._decoder.decode(data))
        self._more.set()

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._more.set()

    def flow(self, wanted: bool) -> None:
        """Lines are short, and what they come to waits elsewhere."""

    def drop_waiting(self) -> None:
        self._waiting.clear()

    async def read(self, prompt: str) -> str:
        """The next line, and those that it goes on in.

        Raises: GivenUp, Ended; OverLimit for one that is too long.
        """
        text = await self._one(prompt)
        while self._is_unfinished(text) and len(text) <= MAX_SHELL_LINE_CHARS:
            try:
                text += "\n" + await self._one("> ")
            except Ended:
                break
            await asyncio.sleep(0)
        if text.strip():
            self.history.append(text)
        return text

    async def _one(self, prompt: str) -> str:
        if self._echo is not None:
            self._echo(prompt)
        while True:
            while self._waiting:
                line = self._took(self._waiting.popleft())
                if line is not None:
                    return line
            if self._ended:
                if self._line:
                    line, self._line = self._line, ""
                    return line
                raise Ended
            self._more.clear()
            await self._more.wait()

    def _took(self, character: str) -> str | None:
        """The whole line where `character` ends it."""
        if character == "\n" or (character == "\r" and self._echo is not None):
            line, self._line = self._line, ""
            self._show("\r\n")
            return line
        if self._echo is not None and character == _INTERRUPT:
            self._line = ""
            self._show("^C\r\n")
            raise GivenUp
        if self._echo is not None and character == _END:
            if not self._line:
                raise Ended
        elif self._echo is not None and character in _ERASE:
            if self._line:
                self._line = self._line[:-1]
                self._show("\b \b")
        elif self._echo is None or character.isprintable() or character == "\t":
            self._line += character
            self._show(character)
            if len(self._line) > MAX_SHELL_LINE_CHARS:
                raise OverLimit(f"a line of more than {MAX_SHELL_LINE_CHARS} characters")
        return None

    def _show(self, text: str) -> None:
        if self._echo is not None:
            self._echo(text)
