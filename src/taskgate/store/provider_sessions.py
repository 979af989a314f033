"""Which session at a provider each API sign-in rests on."""

from collections.abc import Collection

import sqlalchemy as sa

from taskgate.model.account import ProviderSession
from taskgate.store.database import Database
from taskgate.store.schema import provider_sessions


class SqlProviderSessions:
    """`model.ports.ProviderSessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: ProviderSession, now: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(provider_sessions).where(provider_sessions.c.until <= now)
            )
            await connection.execute(
                sa.insert(provider_sessions).values(
                    token_hash=session.token_hash,
                    provider=session.provider,
                    name=session.name,
                    session_index=session.index,
                    until=session.until,
                )
            )

    async def get(self, token_hash: str) -> ProviderSession | None:
        found = await self._find(provider_sessions.c.token_hash == token_hash)
        return found[0] if found else None

    async def find(
        self, provider: str, name: str, indexes: Collection[str]
    ) -> tuple[ProviderSession, ...]:
        conditions = [provider_sessions.c.provider == provider, provider_sessions.c.name == name]
        if indexes:
            conditions.append(provider_sessions.c.session_index.in_(sorted(indexes)))
        return await self._find(*conditions)

    async def remove(self, token_hash: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(provider_sessions).where(provider_sessions.c.token_hash == token_hash)
            )

    async def _find(self, *conditions: sa.ColumnElement[bool]) -> tuple[ProviderSession, ...]:
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(provider_sessions).where(*conditions))
            return tuple(
                ProviderSession(r.token_hash, r.provider, r.name, r.session_index, r.until)
                for r in rows
            )
