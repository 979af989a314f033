"""The sequence of revocations read from a thread of its own, whatever the event loop is doing.

Each reader has its own connection and is used by the one thread that opened it. Nobody is vouched
for before it has answered, and until then it has the store's ordinary time. Later a call takes at
most about `limits.REVOCATION_BLIND_S`: whoever waits longer is blind anyway.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from taskgate.model import limits
from taskgate.model.errors import StoreUnavailable
from taskgate.model.token import Revocation

_AFTER = (
    "SELECT sequence, grant_id, at, why FROM revocations WHERE sequence > ?"
    " ORDER BY sequence LIMIT ?"
)
_LAST = "SELECT value FROM counters WHERE name = 'revocations'"

T = TypeVar("T")


class AskedRevocations(Protocol):
    """The same over an event loop."""

    async def revocations_after(self, sequence: int, limit: int) -> tuple[Revocation, ...]: ...

    async def last_revocation(self) -> int: ...


class SqliteRevocations:
    """`model.ports.RevocationReader` of a SQLite file."""

    def __init__(self, path: Path) -> None:
        """Raises: StoreUnavailable."""
        self._path = path
        try:
            self._file = _identity(path)
            # Never makes the file: an empty one would look like a store without revocations.
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=limits.REVOCATION_BLIND_S / 2,
                isolation_level=None,
            )
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error) from error
        try:
            for setting in ("query_only=ON", "trusted_schema=OFF"):
                self._connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error as error:
            self._connection.close()
            raise _unavailable(error) from error

    def last(self) -> int:
        rows = self._rows(_LAST, ())
        if not rows:
            raise StoreUnavailable("the state store has no sequence of revocations")
        return int(rows[0][0])

    def after(self, sequence: int, limit: int) -> tuple[Revocation, ...]:
        return tuple(Revocation(*row) for row in self._rows(_AFTER, (sequence, limit)))

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    def _rows(self, statement: str, values: tuple[int, ...]) -> list[tuple[int, str, float, str]]:
        try:
            # A file that was moved away can still be read, but nobody writes to it any more.
            if _identity(self._path) != self._file:
                raise StoreUnavailable("the state store's file was replaced by another")
            with closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error) from error


class LoopRevocations:
    """`model.ports.RevocationReader` of a store that is asked over an event loop: over one of its
    own, which runs only while a call does. `close` takes down what `sequence` stands on."""

    def __init__(
        self, sequence: AskedRevocations, close: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        self._sequence = sequence
        self._close = close
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._answered = False
        # What was not answered in time, and may be yet.
        self._late: asyncio.Task[object] | None = None

    def last(self) -> int:
        asked = self._sequence.last_revocation()
        return self._runner.run(self._in_time(asked, limits.STORE_TIMEOUT_S))

    def after(self, sequence: int, limit: int) -> tuple[Revocation, ...]:
        asked = self._sequence.revocations_after(sequence, limit)
        within_s = limits.REVOCATION_BLIND_S if self._answered else limits.STORE_TIMEOUT_S
        found = self._runner.run(self._in_time(asked, within_s))
        self._answered = True
        return found

    def close(self) -> None:
        try:
            self._runner.run(self._closed())
            self._runner.run(_last_turns())
        finally:
            self._runner.close()

    async def _in_time(self, asked: Coroutine[None, None, T], within_s: float) -> T:
        """The answer. A question that is late is not broken off: it may be opening a connection,
        which the next one would have to begin anew, again and again where it takes long. The next
        one waits for it instead; it ends by the store's own time at the latest.

        Raises: StoreUnavailable, and what `asked` does.
        """
        silent = StoreUnavailable(f"the state store did not answer within {within_s:g} s")
        end = asyncio.get_running_loop().time() + within_s
        if self._late is not None:
            done, _ = await asyncio.wait({self._late}, timeout=within_s)
            if not done:
                asked.close()
                raise silent
            # Whatever it was, it is too old.
            self._late.exception()
            self._late = None
        task = asyncio.create_task(asked)
        left_s = end - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({task}, timeout=left_s)
        if not done:
            self._late = task
            raise silent
        return task.result()

    async def _closed(self) -> None:
        """First what is late, whose connection would come back to what is closed by then."""
        if self._late is not None:
            await asyncio.wait({self._late}, timeout=limits.REVOCATION_BLIND_S)
            self._late.cancel()
            await asyncio.wait({self._late}, timeout=limits.REVOCATION_BLIND_S)
        with suppress(StoreUnavailable, SQLAlchemyError, OSError, TimeoutError):
            async with asyncio.timeout(limits.REVOCATION_BLIND_S):
                await self._close()


async def _last_turns() -> None:
    """What a driver still takes down by itself is waited for; sockets that were aborted, here or by
    a fault, are closed in a later turn of their loop."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        await asyncio.wait(rest, timeout=limits.REVOCATION_BLIND_S)
    for _ in range(3):
        await asyncio.sleep(0)


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the state store cannot be read ({error})",
        hint="try again; the gateway's log has the database's own words",
    )
