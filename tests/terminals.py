"""A person at a terminal: a program with a pseudo-terminal of its own, typed to and read; OpenSSH's
client before a gated shell is one."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from tests.patience import PATIENCE_S
from tests.readable import is_readable
from tests.ssh_setting import SshSetting

T = TypeVar("T")
# CSI and OSC sequences, and the two-character ones (ECMA-48).
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78]")
# The gated shell's.
_PROMPT = re.compile(r"\S+@\S+ \S+> *$")


class Typist:
    """One program at a terminal. `seen` is all that it has shown so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self.process = process
        self.seen = ""
        self._terminal = terminal
        self._at = 0

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, pattern: str) -> str:
        """What was shown since the last call, up to and with what matches."""
        wanted = re.compile(pattern)
        found = self._once(lambda: wanted.search(self.seen, self._at), pattern)
        shown, self._at = self.seen[self._at : found.end()], found.end()
        return shown

    def ended(self) -> int:
        """The exit status, once it has ended."""
        end = time.monotonic() + PATIENCE_S
        while self._read(0.2) and time.monotonic() < end:
            pass
        return self.process.wait(max(1.0, end - time.monotonic()))

    def resize(self, columns: int, rows: int) -> None:
        _size(self._terminal, columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def _once(self, look: Callable[[], T | None], wanted: str) -> T:
        """What `look` finds in what was shown, once it finds something."""
        end = time.monotonic() + PATIENCE_S
        while not (found := look()):
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError(f"no {wanted!r} in {self.seen[self._at :]!r}")
        return found

    def _read(self, wait_s: float) -> bool:
        """False once nothing more can come."""
        if not is_readable(self._terminal, wait_s):
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


class GatedShell(Typist):
    """OpenSSH's client before a gated shell, which shows each answer between two prompts."""

    def type(self, keys: str) -> None:
        self._at = len(self.seen)
        super().type(keys)

    def wait_for(self, wanted: str) -> str:
        """What came since the last `type` without its escape sequences, once `wanted` is in it."""

        def fresh() -> str:
            return _ESCAPES.sub("", self.seen[self._at :])

        return self._once(lambda: fresh() if wanted in fresh() else None, wanted)

    def says(self, line: str) -> str:
        """Types a line; what is shown before the next prompt."""
        return self.does(line + "\r")

    def does(self, keys: str = "") -> str:
        """Types something that ends in another prompt (or waits for one that is to come); what is
        shown before that."""
        screen = screen_of(self.seen)
        before = len(screen) if screen[-1] else len(screen) - 1
        self.type(keys)
        rows = self._screen(lambda rows: len(rows) > before and _is_prompt(rows), "a prompt")
        return "".join(f"{row}\n" for row in rows[before:-1])

    def ready(self) -> None:
        """Waits for the first prompt."""
        self._screen(_is_prompt, "a prompt")

    def shows(self, wanted: str) -> None:
        """Waits until the last line of the screen ends in `wanted`."""
        self._screen(lambda rows: rows[-1].rstrip().endswith(wanted), wanted)

    def _screen(self, true: Callable[[list[str]], bool], wanted: str) -> list[str]:
        def look() -> list[str] | None:
            rows = screen_of(self.seen)
            return rows if true(rows) else None

        return self._once(look, wanted)


@contextmanager
def at_terminal(
    arguments: list[str], environment: Mapping[str, str], columns: int = 80, rows: int = 24
) -> Iterator[Typist]:
    """Runs a program at a terminal of that size; it is ended afterwards."""
    environment = {**environment, "TERM": "xterm-256color"}
    with _running(arguments, environment, columns, rows) as (process, terminal):
        yield Typist(process, terminal)


@contextmanager
def gated_shell(
    setting: SshSetting,
    task: str,
    *,
    token: str = "",
    term: str = "xterm-256color",
    columns: int = 100,
    rows: int = 30,
) -> Iterator[GatedShell]:
    """`ssh -t task@gate` at a terminal."""
    environment = {**setting.environment(token or setting.grant(task)), "TERM": term}
    arguments = setting.arguments(task, "-tt")
    with _running(arguments, environment, columns, rows) as (process, terminal):
        yield GatedShell(process, terminal)


@contextmanager
def _running(
    arguments: list[str], environment: Mapping[str, str], columns: int, rows: int
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    terminal, inside = os.openpty()
    _size(terminal, columns, rows)
    process = subprocess.Popen(
        # Whoever runs the tests in the background ignores SIGINT, and programs inherit that.
        ["env", "--default-signal=INT", *arguments],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        env={k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")},
    )  # fmt: skip
    os.close(inside)
    try:
        yield process, terminal
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        os.close(terminal)


def _is_prompt(rows: list[str]) -> bool:
    return _PROMPT.match(rows[-1]) is not None


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


def _size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
