"""Numbers that grow in commit order."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.store.schema import counters


async def lock_counter(connection: AsyncConnection, name: str) -> int:
    """The counter's value; nobody else gets past this call until the transaction ends.

    Numbers handed out under the lock become visible in their order, so a follower that has seen
    n will never find n-1 appearing later.
    """
    value: int = (
        await connection.execute(
            sa.select(counters.c.value).where(counters.c.name == name).with_for_update()
        )
    ).scalar_one()
    return value


async def set_counter(connection: AsyncConnection, name: str, value: int) -> None:
    """Moves the counter; the caller holds its lock."""
    await connection.execute(sa.update(counters).where(counters.c.name == name).values(value=value))
