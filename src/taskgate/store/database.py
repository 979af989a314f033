"""One database, SQLite or PostgreSQL, and its faults in the gate's own words.

SQLite: write-ahead log, foreign keys on, one writer at a time in this process (others wait in
line here instead of racing for the file's lock), every write begun with BEGIN IMMEDIATE so that
what a transaction has read cannot change under it. PostgreSQL: READ COMMITTED; whoever must not
race locks the row it decides by.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite.dml import Insert as SqliteInsert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from taskgate.model import limits
from taskgate.model.errors import BadConfig, Conflict, StoreUnavailable, TaskgateError, Unreadable
from taskgate.model.secret import Secret

# At level debug it logs every statement with its parameters.
logging.getLogger("aiosqlite").setLevel(logging.WARNING)

_SQLITE_READERS = 4
_POSTGRES_CONNECTIONS = 10
# Kept under STORE_TIMEOUT_S, so that the database's own, clearer error comes first.
_LOCK_WAIT_S = limits.STORE_TIMEOUT_S * 0.5
# SQLite: how long a node that starts waits for another one that makes the tables.
_MIGRATION_WAIT_S = 30.0


class Database:
    """Connections to one database; `open_database` makes it."""

    def __init__(
        self, url: URL, writer: AsyncEngine, reader: AsyncEngine, follower: AsyncEngine
    ) -> None:
        self.url = url
        self._writer = writer
        self._reader = reader
        self._follower = follower
        self._one_writer = asyncio.Lock() if url.get_backend_name() == "sqlite" else None

    @property
    def sqlite(self) -> bool:
        return self._one_writer is not None

    def insert(self, table: sa.Table) -> SqliteInsert | PostgresInsert:
        """An INSERT that knows ON CONFLICT."""
        return SqliteInsert(table) if self.sqlite else PostgresInsert(table)

    @asynccontextmanager
    async def read(self, timeout_s: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; for `limits.STORE_TIMEOUT_S` where nothing else is said.

        Raises: StoreUnavailable.
        """
        async with self._translated(timeout_s), self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self, timeout_s: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the block's end and rolled back on any error. It may take as
        long as a `read`.

        Raises: StoreUnavailable; Conflict where a key is taken or missing.
        """
        async with self._translated(timeout_s):
            if self._one_writer is None:
                async with self._writer.begin() as connection:
                    yield connection
            else:
                async with self._one_writer, self._writer.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def migrate(self, timeout_s: float) -> AsyncIterator[AsyncConnection]:
        """As `write`, for a transaction that takes long: whoever begins one of these meanwhile
        waits for it longer than a statement would.

        Raises: StoreUnavailable.
        """
        if not self.sqlite:
            async with self.write(timeout_s) as connection:
                yield connection
            return
        patient = _sqlite_writer(self.url, _MIGRATION_WAIT_S)
        try:
            async with self._translated(timeout_s), patient.begin() as connection:
                yield connection
        finally:
            await patient.dispose()

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncConnection]:
        """A connection kept for who polls: it never waits behind a crowd of other readers.

        Raises: StoreUnavailable.
        """
        async with self._translated(), self._follower.connect() as connection:
            yield connection

    def apart(self) -> "Database":
        """The same PostgreSQL database by one connection of its own, for another event loop."""
        engine = _postgres_engine(self.url, 1)
        return Database(self.url, engine, engine, engine)

    async def close(self) -> None:
        for engine in {self._writer, self._reader, self._follower}:
            await engine.dispose()

    @asynccontextmanager
    async def _translated(self, timeout_s: float | None = None) -> AsyncIterator[None]:
        if timeout_s is None:
            timeout_s = limits.STORE_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TaskgateError:
            raise
        except IntegrityError as error:
            raise Conflict("the store holds something that does not go with this") from error
        except TimeoutError:
            raise StoreUnavailable(
                f"the state store did not answer within {timeout_s:g} s",
                hint="try again; if it stays so, look at the store's load and locks",
            ) from None
        except UnicodeError:
            raise _unreadable() from None
        except (SQLAlchemyError, OSError) as error:
            raise _fault(error) from error


def _fault(error: Exception) -> TaskgateError:
    origin = error.orig if isinstance(error, DBAPIError) else error
    text = str(origin)
    if "database is locked" in text or "database table is locked" in text:
        return StoreUnavailable(
            "the state store is locked by another process",
            hint="try again; if it stays so, find what else has the database file open",
        )
    # SQLSTATE class 22 (data exception): the text holds a NUL, in whatever was asked for.
    if str(getattr(origin, "sqlstate", None) or "").startswith("22"):
        return _unreadable()
    return StoreUnavailable(
        f"the state store cannot be used ({type(error).__name__})",
        hint="try again; the gateway's log has the database's own words",
    )


def _unreadable() -> Unreadable:
    return Unreadable("the text holds characters that cannot be stored")


async def open_database(url: str, password: Secret | None = None) -> Database:
    """Connects lazily: only a wrong address is found here, not a server that is down.

    `url` is SQLAlchemy's (`sqlite+aiosqlite:////path/file`, `postgresql+asyncpg://user@host/db`).
    A new SQLite file is made readable by its owner alone. Raises: BadConfig.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadConfig(
            "the store's url cannot be read",
            hint="write sqlite+aiosqlite:////path/file.db or postgresql+asyncpg://user@host/db",
        ) from None
    if password is not None:
        parsed = parsed.set(password=password.reveal())
    if parsed.drivername == "sqlite+aiosqlite":
        return await asyncio.to_thread(_open_sqlite, parsed)
    if parsed.drivername == "postgresql+asyncpg":
        engine = _postgres_engine(parsed, _POSTGRES_CONNECTIONS)
        return Database(parsed, engine, engine, _postgres_engine(parsed, 1))
    raise BadConfig(
        f"the store cannot be {parsed.drivername}",
        hint="sqlite+aiosqlite and postgresql+asyncpg are what there is",
    )


def _postgres_engine(url: URL, connections: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=limits.STORE_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "timeout": limits.STORE_TIMEOUT_S,
            "server_settings": {
                "application_name": "taskgate",
                "statement_timeout": str(int(limits.STORE_TIMEOUT_S * 1000)),
                "lock_timeout": str(int(_LOCK_WAIT_S * 1000)),
                "idle_in_transaction_session_timeout": "30000",
            },
        },
    )


def _open_sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:":
        raise BadConfig(
            "the store needs a file: state must outlive the process",
            hint="write sqlite+aiosqlite:////var/lib/taskgate/taskgate.db",
        )
    path = Path(url.database)
    try:
        # SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise BadConfig(
            f"cannot open the store's file {path}: {error.strerror}",
            hint="make the folder, or name another place in store.url or state_dir",
        ) from None
    writer = _sqlite_writer(url, _LOCK_WAIT_S)
    reader = _sqlite_engine(url, _SQLITE_READERS, "BEGIN", "PRAGMA query_only=ON")
    follower = _sqlite_engine(url, 1, "BEGIN", "PRAGMA query_only=ON")
    return Database(url, writer, reader, follower)


def _sqlite_writer(url: URL, lock_wait_s: float) -> AsyncEngine:
    return _sqlite_engine(url, 1, "BEGIN IMMEDIATE", "PRAGMA journal_mode=WAL", lock_wait_s)


def _sqlite_engine(
    url: URL, connections: int, begin: str, setting: str, lock_wait_s: float | None = None
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=limits.STORE_TIMEOUT_S,
        hide_parameters=True,
        connect_args={"timeout": _LOCK_WAIT_S if lock_wait_s is None else lock_wait_s},
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions of its own (it would begin them deferred).
        connection.isolation_level = None
        cursor = connection.cursor()
        for statement in (
            # A revocation that was answered must survive a power cut: FULL, not NORMAL.
            "PRAGMA synchronous=FULL",
            "PRAGMA foreign_keys=ON",
            "PRAGMA trusted_schema=OFF",
            setting,
        ):
            cursor.execute(statement)
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def began(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
