"""What is good once, on every node and over restarts."""

import sqlalchemy as sa

from taskgate.model import limits
from taskgate.model.errors import OverLimit
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.schema import once


class SqlOnce:
    """`model.ports.OnceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, name: str, value: bytes, until: float, now: float) -> bool:
        async with self._database.write() as connection:
            # Two nodes that count at once would each find room for the last one.
            await lock_counter(connection, "once")
            await connection.execute(sa.delete(once).where(once.c.until <= now))
            kept = await connection.scalar(sa.select(sa.func.count()).select_from(once)) or 0
            if kept >= limits.MAX_ONCE:
                # Forgetting one would let it be used again.
                raise OverLimit(
                    f"{limits.MAX_ONCE} sign-ins and logouts are remembered already",
                    hint="try again in a few minutes",
                )
            added = await connection.scalar(
                self._database.insert(once)
                .values(name=name, value=value, until=until)
                .on_conflict_do_nothing()
                .returning(once.c.name)
            )
            return added is not None

    async def take(self, name: str, now: float) -> bytes | None:
        async with self._database.write() as connection:
            value: bytes | None = await connection.scalar(
                sa.delete(once)
                .where(once.c.name == name, once.c.until > now)
                .returning(once.c.value)
            )
            return value
