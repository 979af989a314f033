"""OpenSSH's client in a terminal of its own, typed into as a person does."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.readable import is_readable
from tests.ssh_setting import SshSetting

# CSI and OSC sequences, and the two-character ones (ECMA-48).
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78]")

# The gated shell's.
_PROMPT = re.compile(r"\S+@\S+ \S+> *$")


class Typist:
    """`seen` is all that the terminal was sent, escape sequences left out."""

    def __init__(self, terminal: int, process: "subprocess.Popen[bytes]") -> None:
        self._terminal = terminal
        self.process = process
        self.raw = ""
        self._mark = 0

    @property
    def seen(self) -> str:
        return _ESCAPES.sub("", self.raw)

    @property
    def fresh(self) -> str:
        """What came since the last `type`."""
        return _ESCAPES.sub("", self.raw[self._mark :])

    def type(self, keys: str) -> None:
        self._mark = len(self.raw)
        os.write(self._terminal, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        _set_size(self._terminal, columns, rows)

    def wait_for(self, wanted: str, *, within_s: float = 60.0, raw: bool = False) -> str:
        """What came since the last `type`, once `wanted` is in it."""
        end = time.monotonic() + within_s
        while wanted not in (self.raw[self._mark :] if raw else self.fresh):
            left = end - time.monotonic()
            if left <= 0 or not self._take(left):
                raise AssertionError(f"no {wanted!r} in {self.raw[self._mark :]!r}")
        return self.fresh

    def says(self, line: str) -> str:
        """Types a line; what is shown before the next prompt."""
        return self.does(line + "\r")

    def does(self, keys: str = "") -> str:
        """Types something that ends in another prompt (or waits for one that is to come); what is
        shown before that."""
        screen = screen_of(self.raw)
        before = len(screen) if screen[-1] else len(screen) - 1
        self.type(keys)
        self._until(lambda rows: len(rows) > before and _PROMPT.match(rows[-1]) is not None)
        return "".join(f"{row}\n" for row in screen_of(self.raw)[before:-1])

    def ready(self) -> None:
        """Waits for the first prompt."""
        self._until(lambda rows: _PROMPT.match(rows[-1]) is not None)

    def shows(self, wanted: str) -> None:
        """Waits until the last line of the screen ends in `wanted`."""
        self._until(lambda rows: rows[-1].rstrip().endswith(wanted))

    def _until(self, true: Callable[[list[str]], bool], within_s: float = 60.0) -> None:
        end = time.monotonic() + within_s
        while not true(screen_of(self.raw)):
            left = end - time.monotonic()
            if left <= 0 or not self._take(left):
                raise AssertionError("\n".join(screen_of(self.raw)))

    def end(self) -> int:
        """Waits for the client's end; its status."""
        while self._take(60):
            pass
        return self.process.wait(60)

    def _take(self, within_s: float) -> bool:
        if not is_readable(self._terminal, within_s):
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def typing(
    setting: SshSetting,
    task: str,
    *command: str,
    token: str = "",
    term: str = "xterm-256color",
    columns: int = 100,
    rows: int = 30,
) -> Iterator[Typist]:
    """`ssh -t task@gate` in a terminal."""
    ours, theirs = pty.openpty()
    _set_size(ours, columns, rows)
    with subprocess.Popen(
        # setsid makes the terminal the client's own, so that it is told of another size.
        ["setsid", "--ctty", *setting.arguments(task, "-tt"), *command],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**setting.environment(token or setting.grant(task)), "TERM": term},
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            yield Typist(ours, process)
        finally:
            process.kill()
            os.close(ours)


def screen_of(raw: str) -> list[str]:
    """The lines that a terminal without an end would show, down to the cursor's."""
    lines, row, column = [""], 0, 0
    for step in re.finditer(r"\x1b\[([0-9;?]*)([@-~])|\x1b.|[\s\S]", raw):
        text, count, what = step.group(), step.group(1), step.group(2)
        much = int(count) if count and count.isdecimal() else 1
        if what == "A":
            row = max(0, row - much)
        elif what == "B" or text == "\n":
            row += much if what else 1
        elif what == "C":
            column += much
        elif what == "D" or text == "\b":
            column = max(0, column - much)
        elif text == "\r":
            column = 0
        elif what in ("K", "J") and count in ("", "0"):
            lines[row] = lines[row][:column]
            if what == "J":
                del lines[row + 1 :]
        elif what is None and text.isprintable():
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + 1 :]
            column += 1
        while len(lines) <= row:
            lines.append("")
    return lines[: row + 1]


def _set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
