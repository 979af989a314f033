"""Authenticators, passkeys and recovery codes of local users, and challenges to their browsers."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model import limits
from taskgate.model.errors import Conflict, NotFound, OverLimit
from taskgate.model.factor import Authenticator, Challenge, Factors, Passkey
from taskgate.store.database import Database
from taskgate.store.encoding import plain
from taskgate.store.revoking import cut_off
from taskgate.store.schema import authenticators, challenges, passkeys, recovery_codes, users

_ISSUER = "local"


class SqlFactors:
    """`model.factor_ports.FactorStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user: str) -> Factors:
        async with self._database.read() as connection:
            return await _of(connection, user)

    async def add_authenticator(self, one: Authenticator, most: int) -> None:
        async with self._database.write() as connection:
            await _ensure_room(connection, one.user, most)
            await connection.execute(
                sa.insert(authenticators).values(
                    id=one.id,
                    user=one.user,
                    label=plain(one.label),
                    added_at=one.added_at,
                    confirmed=one.confirmed,
                    last_step=one.last_step,
                    last_used_at=one.last_used_at,
                )
            )

    async def confirm_authenticator(
        self, factor_id: str, step: int, at: float, codes: Collection[str]
    ) -> bool:
        async with self._database.write() as connection:
            user = await connection.scalar(
                sa.update(authenticators)
                .where(authenticators.c.id == factor_id, authenticators.c.last_step < step)
                .values(confirmed=True, last_step=step, last_used_at=at)
                .returning(authenticators.c.user)
            )
            if user is None:
                return False
            if codes:
                await _replace_codes(connection, user, codes)
            return True

    async def use_step(self, factor_id: str, step: int, at: float) -> bool:
        async with self._database.write() as connection:
            changed = await connection.execute(
                sa.update(authenticators)
                .where(
                    authenticators.c.id == factor_id,
                    authenticators.c.confirmed.is_(sa.true()),
                    authenticators.c.last_step < step,
                )
                .values(last_step=step, last_used_at=at)
            )
            return changed.rowcount == 1

    async def add_passkey(self, passkey: Passkey, codes: Collection[str], most: int) -> None:
        try:
            async with self._database.write() as connection:
                await _ensure_room(connection, passkey.user, most)
                await connection.execute(
                    sa.insert(passkeys).values(
                        id=passkey.id,
                        user=passkey.user,
                        label=plain(passkey.label),
                        credential_id=passkey.credential_id,
                        public_key=passkey.public_key,
                        sign_count=passkey.sign_count,
                        added_at=passkey.added_at,
                        last_used_at=passkey.last_used_at,
                    )
                )
                if codes:
                    await _replace_codes(connection, passkey.user, codes)
        except Conflict:
            raise Conflict("this passkey is registered already") from None

    async def passkey(self, credential_id: bytes) -> Passkey | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(passkeys).where(passkeys.c.credential_id == credential_id)
            )
            row = found.one_or_none()
            return _passkey(row) if row is not None else None

    async def use_passkey(self, factor_id: str, before: int, after: int, at: float) -> bool:
        async with self._database.write() as connection:
            changed = await connection.execute(
                sa.update(passkeys)
                .where(passkeys.c.id == factor_id, passkeys.c.sign_count == before)
                .values(sign_count=after, last_used_at=at)
            )
            return changed.rowcount == 1

    async def replace_codes(self, user: str, codes: Collection[str]) -> None:
        async with self._database.write() as connection:
            await _replace_codes(connection, user, codes)

    async def use_code(self, user: str, code_hash: str) -> bool:
        async with self._database.write() as connection:
            gone = await connection.execute(
                sa.delete(recovery_codes).where(
                    recovery_codes.c.code_hash == code_hash, recovery_codes.c.user == user
                )
            )
            return gone.rowcount == 1

    async def remove(self, user: str, factor_id: str) -> bool:
        async with self._database.write() as connection:
            await _lock(connection, user)
            gone = 0
            for table in (authenticators, passkeys):
                removed = await connection.execute(
                    sa.delete(table).where(table.c.id == factor_id, table.c.user == user)
                )
                gone += removed.rowcount
            if not (await _of(connection, user)).demanded:
                await connection.execute(
                    sa.delete(recovery_codes).where(recovery_codes.c.user == user)
                )
            return gone > 0

    async def reset(self, user: str, at: float, why: str) -> tuple[str, ...]:
        async with self._database.write() as connection:
            await _lock(connection, user)
            gone: list[str] = []
            for table in (authenticators, passkeys):
                removed = await connection.scalars(
                    sa.delete(table).where(table.c.user == user).returning(table.c.id)
                )
                gone.extend(removed.all())
            await connection.execute(sa.delete(recovery_codes).where(recovery_codes.c.user == user))
            await cut_off(self._database, connection, f"{_ISSUER}:{user}", at, why)
            return tuple(gone)

    async def ask(self, challenge: Challenge, now: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(sa.delete(challenges).where(challenges.c.expires_at <= now))
            waiting = await connection.scalar(sa.select(sa.func.count()).select_from(challenges))
            if waiting is not None and waiting >= limits.MAX_OPEN_CHALLENGES:
                raise OverLimit(
                    "too many people are about to use a passkey", hint="try again in a minute"
                )
            await connection.execute(
                sa.insert(challenges).values(
                    digest=challenge.digest,
                    purpose=challenge.purpose,
                    user=challenge.user,
                    expires_at=challenge.expires_at,
                )
            )

    async def spend(self, digest: str, purpose: str, user: str, now: float) -> bool:
        async with self._database.write() as connection:
            gone = await connection.execute(
                sa.delete(challenges).where(
                    challenges.c.digest == digest,
                    challenges.c.purpose == purpose,
                    challenges.c.user == user,
                    challenges.c.expires_at > now,
                )
            )
            return gone.rowcount == 1


async def _of(connection: AsyncConnection, user: str) -> Factors:
    apps = await connection.execute(
        sa.select(authenticators)
        .where(authenticators.c.user == user)
        .order_by(authenticators.c.added_at)
    )
    keys = await connection.execute(
        sa.select(passkeys).where(passkeys.c.user == user).order_by(passkeys.c.added_at)
    )
    left = await connection.scalar(
        sa.select(sa.func.count()).select_from(recovery_codes).where(recovery_codes.c.user == user)
    )
    return Factors(
        tuple(_authenticator(row) for row in apps),
        tuple(_passkey(row) for row in keys),
        left or 0,
    )


async def _lock(connection: AsyncConnection, user: str) -> None:
    """One change of a user's factors at a time. Raises: NotFound."""
    found = await connection.scalar(
        sa.select(users.c.name).where(users.c.name == user).with_for_update()
    )
    if found is None:
        raise NotFound(f"there is no user {user}", hint="taskgate user list shows them")


async def _ensure_room(connection: AsyncConnection, user: str, most: int) -> None:
    await _lock(connection, user)
    if (await _of(connection, user)).count >= most:
        raise OverLimit(
            f"{user} has {most} authenticators and passkeys already",
            hint="taskgate mfa remove takes one away",
        )


async def _replace_codes(connection: AsyncConnection, user: str, codes: Collection[str]) -> None:
    await connection.execute(sa.delete(recovery_codes).where(recovery_codes.c.user == user))
    await connection.execute(
        sa.insert(recovery_codes), [{"code_hash": code, "user": user} for code in sorted(codes)]
    )


def _authenticator(row: sa.Row[Any]) -> Authenticator:
    return Authenticator(
        id=row.id,
        user=row.user,
        label=row.label,
        added_at=row.added_at,
        confirmed=row.confirmed,
        last_step=row.last_step,
        last_used_at=row.last_used_at,
    )


def _passkey(row: sa.Row[Any]) -> Passkey:
    return Passkey(
        id=row.id,
        user=row.user,
        label=row.label,
        credential_id=row.credential_id,
        public_key=row.public_key,
        sign_count=row.sign_count,
        added_at=row.added_at,
        last_used_at=row.last_used_at,
    )
