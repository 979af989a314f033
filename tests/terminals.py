"""A person at a terminal: a program with a pseudo-terminal of its own, typed to and read."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.readable import is_readable


class Typist:
    """One program at a terminal. `seen` is all that it has shown so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self.process = process
        self.seen = ""
        self._terminal = terminal
        self._at = 0

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, pattern: str, within_s: float = 60.0) -> str:
        """What was shown since the last call, up to and with what matches."""
        end = time.monotonic() + within_s
        while True:
            found = re.compile(pattern).search(self.seen, self._at)
            if found is not None:
                shown, self._at = self.seen[self._at : found.end()], found.end()
                return shown
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError(f"no {pattern!r} in {self.seen[self._at :]!r}")

    def ended(self, within_s: float = 60.0) -> int:
        """The exit status, once it has ended."""
        end = time.monotonic() + within_s
        while self._read(0.2) and time.monotonic() < end:
            pass
        return self.process.wait(max(1.0, end - time.monotonic()))

    def resize(self, columns: int, rows: int) -> None:
        _size(self._terminal, columns, rows)
        self.process.send_signal(signal.SIGWINCH)

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


@contextmanager
def at_terminal(
    arguments: list[str], environment: Mapping[str, str], columns: int = 80, rows: int = 24
) -> Iterator[Typist]:
    """Runs a program at a terminal of that size; it is ended afterwards."""
    kept = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
    terminal, inside = os.openpty()
    _size(terminal, columns, rows)
    process = subprocess.Popen(
        # Whoever runs the tests in the background ignores SIGINT, and programs inherit that.
        ["env", "--default-signal=INT", *arguments],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        env={**kept, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(inside)
    try:
        yield Typist(process, terminal)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        os.close(terminal)


def _size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
