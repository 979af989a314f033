"""A client that reads rows without end, and notes when they stopped coming."""

import contextlib
import threading
import time
from types import TracebackType

import psycopg

from tests.faults.faulty import Faulty
from tests.patience import PATIENCE_S, eventually

ENDLESS = "SELECT generate_series(1, 1000000000), repeat('z', 200)"


class Streaming:
    """Reads in a thread of its own. `rows` came; `error` is what ended them.

    Raises: psycopg.Error, also on entering, where not a row came.
    """

    def __init__(self, faulty: Faulty, task: str, token: str) -> None:
        self.token = token
        self.rows = 0
        self.error: psycopg.Error | None = None
        self._faulty = faulty
        self._ended_at = 0.0
        self._begun = threading.Event()
        self._connection = faulty.connect(task, token)
        try:
            found = self._connection.execute("SELECT pg_backend_pid()").fetchone()
        except psycopg.Error:
            self._connection.close()
            raise
        assert found is not None
        self._pid = found[0]
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Streaming":
        self._thread.start()
        self._begun.wait(PATIENCE_S)
        if not self.rows:
            self.__exit__(None, None, None)
            raise self.error or AssertionError("not a row came")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._connection.cancel()
        self._thread.join(PATIENCE_S)
        self._connection.close()

    def wait(self) -> float:
        """When the rows stopped, on the monotonic clock."""
        self._thread.join(PATIENCE_S)
        assert self._ended_at, "the rows go on"
        return self._ended_at

    def runs_on(self) -> bool:
        """Whether the server still works on it, once it had a moment to stop."""
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {self._pid}"
        with contextlib.suppress(AssertionError):
            return not eventually(lambda: self._faulty.server.run(asked).strip() == "0")
        return True

    def _read(self) -> None:
        try:
            for _ in self._connection.cursor().stream(ENDLESS):
                self.rows += 1
                self._begun.set()
        except psycopg.Error as error:
            self.error = error
        self._ended_at = time.monotonic()
        self._begun.set()
