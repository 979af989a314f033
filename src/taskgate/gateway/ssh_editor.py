"""A line editor for a client's terminal, in the gate's own process: prompt_toolkit, with its hands
tied.

Its input and output are the client's channel; it has no terminal, no signals and no files of this
process. Only the keys listed here do anything: of prompt_toolkit's own bindings some start programs
(an editor, a shell), stop the process, or repeat a key a million times.
"""

import asyncio
import codecs
import itertools
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TextIO, cast

from prompt_toolkit.application import Application, create_app_session, run_in_terminal
from prompt_toolkit.application import application as _toolkit
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import InMemoryClipboard
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.history import DummyHistory
from prompt_toolkit.input import typeahead
from prompt_toolkit.input.base import Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.key_binding.bindings import search
from prompt_toolkit.key_binding.bindings.named_commands import get_by_name
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import BufferControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.widgets import SearchToolbar

from taskgate.model.limits import (
    MAX_SHELL_HISTORY,
    MAX_SHELL_LINE_CHARS,
    MAX_SHELL_WAITING_CHARS,
    MAX_TERMINAL_COLUMNS,
    MAX_TERMINAL_ROWS,
)
from taskgate.protocols.ssh.completion import Completion

_NUMBERS: Final = itertools.count()
_PASTE_ENDS: Final = "\x1b[201~"
_CHARS_PER_TURN: Final = 256
# A key that may end the line; what follows it may not be read before there is a next one.
_ENDING: Final = frozenset("\r\n\x03\x04")
_MOVES: Final[dict[tuple[str, ...], str]] = {
    ("c-a",): "beginning-of-line", ("home",): "beginning-of-line",
    ("c-e",): "end-of-line", ("end",): "end-of-line",
    ("c-f",): "forward-char", ("right",): "forward-char",
    ("c-b",): "backward-char", ("left",): "backward-char",
    ("escape", "f"): "forward-word", ("c-right",): "forward-word",
    ("escape", "b"): "backward-word", ("c-left",): "backward-word",
    ("c-h",): "backward-delete-char", ("delete",): "delete-char",
    ("c-k",): "kill-line", ("c-u",): "unix-line-discard", ("c-w",): "unix-word-rubout",
    ("escape", "d"): "kill-word", ("escape", "c-h"): "backward-kill-word",
    ("c-t",): "transpose-chars", ("c-l",): "clear-screen",
}  # fmt: skip


class GivenUp(Exception):
    """The line was given up (Ctrl-C)."""


class Ended(Exception):
    """There are no more lines (Ctrl-D)."""


class LineEditor:
    """Edits one line after another. `write` takes what the client's terminal is to show, `size` is
    its columns and rows now, `complete` says what could follow a text; Enter behind one that
    `is_unfinished` begins another line of it."""

    def __init__(
        self,
        write: Callable[[str], None],
        size: Callable[[], tuple[int, int]],
        complete: Callable[[str], Completion | None],
        is_unfinished: Callable[[str], bool],
    ) -> None:
        self.history: deque[str] = deque(maxlen=MAX_SHELL_HISTORY)
        self._complete = complete
        self._is_unfinished = is_unfinished
        self._input = _ChannelInput()
        self._output = _ChannelOutput(write, size)
        self._clipboard = InMemoryClipboard(max_size=4)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._application: Application[str] | None = None

    @property
    def full(self) -> bool:
        """Whether more keys wait than may: the client should not be read."""
        return self._input.waiting > MAX_SHELL_WAITING_CHARS // 2

    def feed(self, data: bytes) -> None:
        """Keys. Those that come before there is a line to edit wait for it."""
        if not self._input.feed(self._decoder.decode(data)):
            self._output.bell()
            self._output.flush()

    def end(self) -> None:
        """The client sends no more: nor will there be a line."""
        self._input.feed("\x03\x04")

    def flow(self, wanted: bool) -> None:
        """Whether the client takes what it is shown; where not, its keys wait."""
        self._input.flow(wanted)

    def drop_waiting(self) -> None:
        """Forgets the keys that nothing has read."""
        self._input.drop()

    def show_above(self, text: str) -> bool:
        """Shows whole lines above the one that is edited; False where none is."""
        application = self._application
        if application is None or application.context is None or not application.is_running:
            return False
        application.context.copy().run(run_in_terminal, lambda: self._output.write_all(text))
        return True

    def resized(self) -> None:
        application = self._application
        if application is not None and application.is_running:
            application._on_resize()

    async def read(self, prompt: str) -> str:
        """The next line, which may have several lines in it where it was pasted.

        Raises: GivenUp, Ended.
        """
        application = self._application = self._make(prompt)
        self._input.failed = lambda error: application.exit(exception=error)
        try:
            # Without a session of its own it would share the default one: the keys of one client
            # would reach another's line.
            with create_app_session(input=self._input, output=self._output):
                text = await application.run_async(set_exception_handler=False, handle_sigint=False)
        finally:
            self._application = None
            typeahead._buffer.pop(self._input.typeahead_hash(), None)
        if text.strip() and (not self.history or self.history[-1] != text):
            self.history.append(text)
        return text

    def _make(self, prompt: str) -> "Application[str]":
        buffer = _CappedBuffer(history=DummyHistory(), multiline=True)
        # A history of prompt_toolkit's is read bit by bit while keys are already taken.
        buffer._working_lines.extendleft(reversed(self.history))
        buffer.working_index = len(self.history)
        toolbar = SearchToolbar(search_buffer=_CappedBuffer(multiline=False))
        control = BufferControl(
            buffer,
            input_processors=[BeforeInput(prompt)],
            search_buffer_control=toolbar.control,
            preview_search=True,
        )
        window = Window(control, dont_extend_height=True, wrap_lines=True)
        application: Application[str] = Application(
            Layout(HSplit([window, toolbar]), focused_element=window),
            key_bindings=self._bindings(buffer),
            clipboard=self._clipboard,
            color_depth=ColorDepth.DEPTH_1_BIT,
            include_default_pygments_style=False,
            enable_page_navigation_bindings=False,
            mouse_support=False,
            input=self._input,
            output=self._output,
        )
        # The bindings above are all there are.
        application._default_bindings = KeyBindings()
        application.terminal_size_polling_interval = None
        return application

    def _bindings(self, line: Buffer) -> KeyBindings:
        keys = KeyBindings()
        for sequence, name in _MOVES.items():
            keys.add(*sequence)(get_by_name(name))
        editing = ~is_searching

        @keys.add(Keys.Any)
        def _(event: KeyPressEvent) -> None:
            if event.data.isprintable():
                event.current_buffer.insert_text(event.data)

        @keys.add(Keys.BracketedPaste)
        def _(event: KeyPressEvent) -> None:
            pasted = event.data.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
            event.current_buffer.insert_text("".join(c for c in pasted if _may_stand(c)))

        @keys.add("c-y")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(event.app.clipboard.get_data().text)

        @keys.add("enter", filter=editing)
        @keys.add("c-j", filter=editing)
        def _(event: KeyPressEvent) -> None:
            if self._is_unfinished(line.text) and len(line.text) < MAX_SHELL_LINE_CHARS:
                line.insert_text("\n")
            else:
                event.app.exit(result=line.text)

        @keys.add("c-c", filter=editing)
        def _(event: KeyPressEvent) -> None:
            event.app.exit(exception=GivenUp())

        @keys.add("c-d", filter=editing)
        def _(event: KeyPressEvent) -> None:
            if line.text:
                line.delete()
            else:
                event.app.exit(exception=Ended())

        @keys.add("up", filter=editing)
        @keys.add("c-p", filter=editing)
        def _(event: KeyPressEvent) -> None:
            line.auto_up()

        @keys.add("down", filter=editing)
        @keys.add("c-n", filter=editing)
        def _(event: KeyPressEvent) -> None:
            line.auto_down()

        @keys.add("c-i", filter=editing)
        def _(event: KeyPressEvent) -> None:
            self._completed(line)

        keys.add("c-r", filter=editing)(search.start_reverse_incremental_search)
        keys.add("c-r", filter=is_searching)(search.reverse_incremental_search)
        keys.add("c-s", filter=is_searching)(search.forward_incremental_search)
        keys.add("enter", filter=is_searching)(search.accept_search)
        keys.add("escape", filter=is_searching, eager=True)(search.accept_search)
        keys.add("c-g", filter=is_searching)(search.abort_search)
        keys.add("c-c", filter=is_searching)(search.abort_search)
        return keys

    def _completed(self, line: Buffer) -> None:
        before = line.document.text_before_cursor
        found = self._complete(before)
        if found is None:
            self._output.bell()
            return
        if found.text != before[found.start :]:
            after = line.document.text_after_cursor
            text = before[: found.start] + found.text
            if len(text) + len(after) <= MAX_SHELL_LINE_CHARS:
                line.document = Document(text + after, len(text))
        elif found.listed:
            run_in_terminal(lambda: self._output.write_all("  ".join(found.listed) + "\r\n"))


def _raise(error: Exception) -> None:
    raise error


def _may_stand(character: str) -> bool:
    return character in "\n\t" or character.isprintable()


class _CappedBuffer(Buffer):
    """A line of bounded length, and nothing to undo: each step would keep the whole line."""

    def insert_text(self, data: str, *arguments: Any, **options: Any) -> None:
        if len(self.text) + len(data) <= MAX_SHELL_LINE_CHARS:
            super().insert_text(data, *arguments, **options)

    def save_to_undo_stack(self, clear_redo_stack: bool = True) -> None:
        """Nothing is kept."""


class _ChannelInput(Input):
    """Keys from a channel. They are read as far as the end of a line at a time, so that none is
    lost between two lines."""

    def __init__(self) -> None:
        self._keys: list[KeyPress] = []
        self._parser = Vt100Parser(self._keys.append)
        self._waiting = ""
        self._ready: Callable[[], None] | None = None
        self._turn: asyncio.Handle | None = None
        self._swallowing = False
        self._flows = True
        self._number = next(_NUMBERS)
        self.failed: Callable[[Exception], None] = _raise

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def feed(self, text: str) -> bool:
        """Whether there was room. Half a line is worse than none, so then none is kept."""
        room = len(self._waiting) + len(text) <= MAX_SHELL_WAITING_CHARS
        self._waiting = self._waiting + text if room else ""
        self._soon()
        return room

    def flow(self, wanted: bool) -> None:
        self._flows = wanted
        self._soon()

    def drop(self) -> None:
        self._waiting = ""

    def _soon(self) -> None:
        if self._turn is None and self._ready is not None and self._waiting and self._flows:
            self._turn = asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        self._turn = None
        if self._ready is None or not self._flows:
            return
        try:
            self._ready()
        except Exception as error:
            self.failed(error)
        self._soon()

    def read_keys(self) -> list[KeyPress]:
        at = 0
        limit = min(len(self._waiting), _CHARS_PER_TURN)
        while at < limit:
            at += 1
            if self._waiting[at - 1] in _ENDING:
                break
        text, self._waiting = self._waiting[:at], self._waiting[at:]
        if self._swallowing:
            text = self._swallowed(text)
        if text:
            self._parser.feed(text)
        parser = self._parser
        if parser._in_bracketed_paste and len(parser._paste_buffer) > MAX_SHELL_LINE_CHARS:
            # What is left of it must not be taken for keys.
            self._swallowing, self._tail = True, parser._paste_buffer[-len(_PASTE_ENDS) :]
            parser.reset()
        found, self._keys[:] = list(self._keys), []
        return found

    _tail = ""

    def _swallowed(self, text: str) -> str:
        """What follows the end of a paste that is too long."""
        seen = self._tail + text
        _, end, rest = seen.partition(_PASTE_ENDS)
        self._tail = seen[-len(_PASTE_ENDS) :]
        self._swallowing = not end
        return rest if end else ""

    def flush_keys(self) -> list[KeyPress]:
        self._parser.flush()
        found, self._keys[:] = list(self._keys), []
        return found

    def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:
        return _Attached(self, input_ready_callback)

    def detach(self) -> AbstractContextManager[None]:
        return _Attached(self, None)

    def swap(self, ready: Callable[[], None] | None) -> Callable[[], None] | None:
        before, self._ready = self._ready, ready
        self._soon()
        return before

    def raw_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def fileno(self) -> int:
        raise OSError("a channel has no file descriptor")

    def typeahead_hash(self) -> str:
        # Never one that another client had.
        return f"channel {self._number}"

    @property
    def closed(self) -> bool:
        return False

    def close(self) -> None:
        """The channel is its owner's."""


class _Attached:
    def __init__(self, input_: _ChannelInput, ready: Callable[[], None] | None) -> None:
        self._input = input_
        self._ready = ready
        self._before: Callable[[], None] | None = None

    def __enter__(self) -> None:
        self._before = self._input.swap(self._ready)

    def __exit__(self, *_: object) -> None:
        self._input.swap(self._before)


class _Sink:
    """What stands for a file."""

    encoding = "utf-8"

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("a channel has no file descriptor")


class _ChannelOutput(Vt100_Output):
    def __init__(self, write: Callable[[str], None], size: Callable[[], tuple[int, int]]) -> None:
        self._write = write

        def bounded() -> Size:
            columns, rows = size()
            return Size(
                rows=min(max(rows, 1), MAX_TERMINAL_ROWS),
                columns=min(max(columns, 1), MAX_TERMINAL_COLUMNS),
            )

        super().__init__(cast(TextIO, _Sink(write)), bounded, term="xterm", enable_cpr=False)

    def flush(self) -> None:
        if self._buffer:
            data, self._buffer = "".join(self._buffer), []
            self._write(data)

    def write_all(self, text: str) -> None:
        """Past the buffer, as it is."""
        self._write(text)


def _no_signals(_handler: Callable[[], None]) -> AbstractContextManager[None]:
    return nullcontext()


# The process's own terminal may change its size, and that is nothing to a client.
_toolkit.attach_winch_signal_handler = cast(Any, _no_signals)
