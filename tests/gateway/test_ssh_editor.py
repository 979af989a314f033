"""The editor of a gated shell's lines, on the gate's own event loop: keys in, a line out."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from prompt_toolkit.input import typeahead

from taskgate.gateway.ssh_editor import Ended, GivenUp, LineEditor
from taskgate.model.limits import (
    MAX_SHELL_HISTORY,
    MAX_SHELL_LINE_CHARS,
    MAX_SHELL_WAITING_CHARS,
    MAX_TERMINAL_COLUMNS,
    MAX_TERMINAL_ROWS,
)
from taskgate.protocols.ssh.completion import Completion
from taskgate.protocols.ssh.gated import is_unfinished

PASTE, PASTED = "\x1b[200~", "\x1b[201~"


class Terminal:
    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.size = (columns, rows)
        self.shown = ""
        self.editor = LineEditor(self._show, lambda: self.size, lambda _: None, is_unfinished)

    def _show(self, text: str) -> None:
        self.shown += text

    async def line(self, keys: str) -> str:
        self.editor.feed(keys.encode())
        return await asyncio.wait_for(self.editor.read("> "), 60)


def _on_uvloop(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await work()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def typed(keys: str, **size: int) -> str:
    """The line that `keys` come to."""
    found: list[str] = []

    async def work() -> None:
        found.append(await Terminal(**size).line(keys))

    _on_uvloop(work)
    return found[0]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("echo a\r", "echo a"),
        ("rm x\x7f\x7f\x7f\x7fls\r", "ls"),
        ("bc\x01a\x05d\r", "abcd"),
        ("one two\x17three\r", "one three"),
        ("one two\x1b[D\x1b[D\x1b[D\x0b\r", "one "),
        ("gone\x15kept\r", "kept"),
        ("kept\x15\x19\x19\r", "keptkept"),
        ("żółw 好\x7f木\r", "żółw 木"),
        (f"{PASTE}one\r\ntwo\r\n{PASTED}\r", "one\ntwo"),
        (f"{PASTE}a\x1b[31mb\x03c{PASTED}\r", "a[31mbc"),
        ("a\x1bOPb\x1b[15~c\x1b[<0;1;1Md\r", "abcd"),
        ("echo 'a\rb'\r", "echo 'a\nb'"),
        ("cat <<E\ra\rE\r", "cat <<E\na\nE"),
        ("for a in b\rdo c\rdone\r", "for a in b\ndo c\ndone"),
        ("a\u202eb\u200b\x00c\r", "abc"),
    ],
)
def test_the_line_is_what_is_left_of_the_keys(keys: str, line: str) -> None:
    assert typed(keys) == line


@pytest.mark.parametrize(
    "keys",
    [
        "\x18\x05",  # an editor
        "\x1b!",  # a command of the gate's own machine
        "\x1a",  # to the background
        "y\x18(a\x18)\x18e",  # keyboard macros
        "\x1f\x1f",  # undo
    ],
)
def test_what_a_line_editor_can_do_besides_is_not_there(keys: str) -> None:
    assert typed(f"{keys}x\r").endswith("x")


def test_no_key_is_repeated_a_million_times() -> None:
    assert typed("\x1b9\x1b9\x1b9\x1b9\x1b9ab\r") == "99999ab"


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (2, 1), (10, 2), (10**6, 10**6)])
def test_any_size_of_a_terminal(size: tuple[int, int]) -> None:
    assert typed("echo 好 abc\r", columns=size[0], rows=size[1]) == "echo 好 abc"


def test_keys_behind_a_line_are_for_the_next() -> None:
    async def work() -> None:
        terminal = Terminal()
        assert await terminal.line("one\rtwo\r\x03three\r\x04") == "one"
        assert await terminal.line("") == "two"
        with pytest.raises(GivenUp):
            await terminal.line("")
        assert await terminal.line("") == "three"
        with pytest.raises(Ended):
            await terminal.line("")
        assert not typeahead._buffer

    _on_uvloop(work)


def test_two_editors_share_nothing() -> None:
    async def work() -> None:
        one, two = Terminal(), Terminal()
        lines = await asyncio.gather(one.line("a\x1b[A"), _later(two, one))
        assert list(lines) == ["ab", "c"]
        assert "c" not in one.shown.replace("\x1b[?1c", "").rpartition("ab")[2]

    async def _later(two: Terminal, one: Terminal) -> str:
        line = await two.line("c\r")
        one.editor.feed(b"b\r")
        return line

    _on_uvloop(work)


def test_the_processs_own_signals_are_left_alone() -> None:
    async def work() -> None:
        before = [signal.getsignal(one) for one in signal.Signals if one.name[:4] != "SIGR"]
        terminal = Terminal()
        line = asyncio.ensure_future(terminal.line("a"))
        while "a" not in terminal.shown:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        after = [signal.getsignal(one) for one in signal.Signals if one.name[:4] != "SIGR"]
        assert after == before
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        terminal.editor.feed(b"\r")
        assert await line == "a"

    _on_uvloop(work)


def test_completion_and_a_list_of_what_could_follow() -> None:
    async def work() -> None:
        terminal = Terminal()
        found = {"sy": Completion(0, "systemctl ", ("systemctl",)), "systemctl ": None}
        listed = Completion(3, "st", ("start", "status"))
        terminal.editor._complete = lambda before: found.get(before, listed)
        assert await terminal.line("sy\t\t\r") == "systemctl "
        assert await terminal.line("do st\t\r") == "do st"
        assert "start  status" in terminal.shown

    _on_uvloop(work)


def test_a_notice_is_shown_above_the_line() -> None:
    async def work() -> None:
        terminal = Terminal()
        assert not terminal.editor.show_above("nobody edits\r\n")
        line = asyncio.ensure_future(terminal.line("ab"))
        while "ab" not in terminal.shown:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        assert terminal.editor.show_above("by the way\r\n")
        terminal.editor.feed(b"c\r")
        assert await line == "abc"
        assert "by the way\r\n" in terminal.shown

    _on_uvloop(work)


@pytest.mark.cap("MAX_SHELL_LINE_CHARS")
def test_a_line_that_is_too_long() -> None:
    room = "x" * (MAX_SHELL_LINE_CHARS - 1)
    assert typed(f"{room}yz\r") == room + "y"
    assert typed(f"{room}{PASTE}yz{PASTED}w\r") == room + "w"
    long = "rm -rf /\r" * MAX_SHELL_LINE_CHARS
    assert typed(f"{PASTE}{long[: MAX_SHELL_WAITING_CHARS // 2]}{PASTED}echo a\r") == "echo a"


@pytest.mark.cap("MAX_SHELL_WAITING_CHARS")
def test_keys_that_nothing_reads() -> None:
    async def work() -> None:
        terminal = Terminal()
        terminal.editor.feed(b"echo rest\r" * (MAX_SHELL_WAITING_CHARS // 10))
        assert terminal.editor.full
        terminal.editor.feed(b"more\rthan there is room for")
        # None of it is run, rather than a part.
        assert await terminal.line("echo a\r") == "echo a"

    _on_uvloop(work)


@pytest.mark.cap("MAX_SHELL_HISTORY")
def test_lines_that_are_remembered() -> None:
    async def work() -> None:
        terminal = Terminal()
        for number in range(MAX_SHELL_HISTORY + 5):
            await terminal.line(f"{number}\r")
        assert len(terminal.editor.history) == MAX_SHELL_HISTORY
        assert await terminal.line("\x1b[A" * (MAX_SHELL_HISTORY + 5) + "\r") == "5"

    _on_uvloop(work)


@pytest.mark.cap("MAX_TERMINAL_COLUMNS", "MAX_TERMINAL_ROWS")
def test_a_terminal_of_absurd_size() -> None:
    size = Terminal(10**6, 10**6).editor._output.get_size()
    assert (size.columns, size.rows) == (MAX_TERMINAL_COLUMNS, MAX_TERMINAL_ROWS)
