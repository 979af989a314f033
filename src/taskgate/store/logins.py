"""API sign-ins."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model.account import Login
from taskgate.model.identity import Identity
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode, encode, plain
from taskgate.store.revoking import came_in, was_cut_off
from taskgate.store.schema import login_people, logins, sign_ins


class SqlLogins:
    """`model.ports.LoginStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, login: Login, most: int) -> bool:
        identity = login.identity
        async with self._database.write() as connection:
            # A cut-off that is under way is waited for: it must not miss this sign-in.
            await lock_counter(connection, "revocations")
            if await was_cut_off(connection, identity.rests_on, identity.authenticated_at):
                return False
            mine = sa.select(login_people.c.token_hash).where(login_people.c.person == identity.key)
            oldest = await connection.scalars(
                sa.select(logins.c.token_hash)
                .where(logins.c.token_hash.in_(mine))
                .order_by(logins.c.created_at.desc())
                .offset(most - 1)
            )
            for token_hash in oldest.all():
                await connection.execute(
                    sa.delete(login_people).where(login_people.c.token_hash == token_hash)
                )
                await connection.execute(sa.delete(logins).where(logins.c.token_hash == token_hash))
            await connection.execute(
                sa.insert(logins).values(
                    token_hash=login.token_hash,
                    identity=encode(identity),
                    created_at=login.created_at,
                    expires_at=login.expires_at,
                )
            )
            await connection.execute(
                sa.insert(login_people),
                [
                    {"token_hash": login.token_hash, "person": key}
                    for key in dict.fromkeys(identity.rests_on)
                ],
            )
            await came_in(self._database, connection, identity.keys, login.created_at)
            await self._note_source(connection, login)
            return True

    async def _note_source(self, connection: AsyncConnection, login: Login) -> None:
        upsert = self._database.insert(sign_ins).values(
            identity=encode(login.identity),
            person=login.identity.key,
            source=plain(login.source),
            application=plain(login.application),
            times=1,
            first_at=login.created_at,
            last_at=login.created_at,
        )
        await connection.execute(
            upsert.on_conflict_do_update(
                index_elements=list(sign_ins.primary_key.columns),
                set_={
                    "identity": upsert.excluded.identity,
                    "times": sign_ins.c.times + 1,
                    "last_at": upsert.excluded.last_at,
                },
            )
        )

    async def get(self, token_hash: str) -> Login | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(logins).where(logins.c.token_hash == token_hash)
            )
            row = found.one_or_none()
            if row is None:
                return None
            identity = decode(row.identity, Identity)
            return Login(row.token_hash, identity, row.created_at, row.expires_at)

    async def end(self, token_hash: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(login_people).where(login_people.c.token_hash == token_hash)
            )
            await connection.execute(sa.delete(logins).where(logins.c.token_hash == token_hash))

    async def forget(self, now: float) -> None:
        over = sa.select(logins.c.token_hash).where(logins.c.expires_at <= now)
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(login_people).where(login_people.c.token_hash.in_(over))
            )
            await connection.execute(sa.delete(logins).where(logins.c.expires_at <= now))
