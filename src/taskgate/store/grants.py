"""Grants, their tokens, and the sequence of revocations."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model.errors import OverLimit
from taskgate.model.grant import Grant, Link, Permitted
from taskgate.model.identity import Identity
from taskgate.model.ports import RevocationReader
from taskgate.model.token import GrantSelector, Revocation, Token
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode, decode_any, encode, plain
from taskgate.store.following import LoopRevocations, SqliteRevocations
from taskgate.store.revoking import came_in, cut_off, revoke, selected, was_cut_off
from taskgate.store.schema import counters, grant_people, grants, revocations, tokens
from taskgate.store.scoping import of_tasks


class SqlGrants:
    """`model.ports.GrantStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, grant: Grant, token: Token, most: int) -> bool:
        identity = grant.identity
        async with self._database.write() as connection:
            # The same lock as revoking: a person who is being cut off gets no new grant.
            await lock_counter(connection, "revocations")
            if await was_cut_off(connection, identity.rests_on, identity.authenticated_at):
                return False
            if grant.parent is not None and not await _is_live(
                connection, grant.parent, grant.not_before
            ):
                return False
            # Whoever is behind it all: agents by the hundred get no more than one person does.
            principal = identity.keys[-1]
            held = await connection.scalar(
                sa.select(sa.func.count())
                .select_from(grants)
                .where(*selected(GrantSelector(person=principal)), *_live(grant.not_before))
            )
            if held is not None and held >= most:
                raise OverLimit(
                    f"{principal} already has {held} live grants, and {most} is the most",
                    hint="end some of them with taskgate revoke, or wait until they expire",
                )
            await connection.execute(
                sa.insert(grants).values(
                    id=grant.id,
                    identity=encode(identity),
                    task=grant.task,
                    reason=plain(grant.reason),
                    resources=encode(grant.resources),
                    not_before=grant.not_before,
                    expires_at=grant.expires_at,
                    revoked_at=grant.revoked_at,
                    revoked_why=plain(grant.revoked_why),
                    parent=grant.parent,
                    lapsed=False,
                    step=plain(grant.step) if grant.parent is not None else None,
                    narrowings=encode(grant.narrowings) if grant.narrowings else None,
                    chain=encode(grant.chain) if grant.chain else None,
                    uses_left=grant.uses_left,
                    break_glass=grant.break_glass or None,
                )
            )
            await connection.execute(
                sa.insert(grant_people),
                [{"grant_id": grant.id, "person": key} for key in dict.fromkeys(identity.rests_on)],
            )
            await _insert_token(connection, token)
            if grant.parent is None:
                await came_in(self._database, connection, identity.keys, grant.not_before)
            return True

    async def use(self, grant: Grant, now: float) -> bool:
        ids = (grant.id, *(link.grant for link in grant.chain))
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            if not await _is_live(connection, grant.id, now):
                return False
            counted = sa.and_(grants.c.id.in_(ids), grants.c.uses_left.is_not(None))
            spent = await connection.scalar(
                sa.select(grants.c.id).where(counted, grants.c.uses_left < 1).limit(1)
            )
            if spent is not None:
                return False
            await connection.execute(
                sa.update(grants).where(counted).values(uses_left=grants.c.uses_left - 1)
            )
            return True

    async def add_token(self, token: Token, most: int) -> bool:
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            if not await _is_live(connection, token.grant_id, token.issued_at):
                return False
            held = await connection.scalar(
                sa.select(sa.func.count())
                .select_from(tokens)
                .where(tokens.c.grant_id == token.grant_id, tokens.c.expires_at > token.issued_at)
            )
            if held is not None and held >= most:
                raise OverLimit(
                    f"grant {token.grant_id} already has {held} tokens, and {most} is the most",
                    hint="request a new grant",
                )
            await _insert_token(connection, token)
            return True

    async def get(self, grant_id: str) -> Grant | None:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(grants).where(grants.c.id == grant_id))
            row = found.one_or_none()
            return _grant(row) if row is not None else None

    async def by_token(self, token_hash: str) -> tuple[Grant, Token] | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(
                    grants,
                    tokens.c.parent_hash,
                    tokens.c.issued_at,
                    tokens.c.expires_at.label("token_expires_at"),
                )
                .join(tokens, tokens.c.grant_id == grants.c.id)
                .where(tokens.c.token_hash == token_hash, grants.c.lapsed.is_(sa.false()))
            )
            row = found.one_or_none()
            if row is None:
                return None
            token = Token(token_hash, row.id, row.issued_at, row.token_expires_at, row.parent_hash)
            return _grant(row), token

    async def find(
        self,
        selector: GrantSelector,
        live_at: float | None,
        limit: int,
        *,
        tasks: Collection[str] | None = None,
    ) -> tuple[Grant, ...]:
        conditions = [*selected(selector), *of_tasks(grants.c.task, tasks)]
        if live_at is not None:
            conditions.extend(_live(live_at))
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(grants)
                .where(*conditions)
                .order_by(grants.c.not_before.desc(), grants.c.id)
                .limit(limit)
            )
            return tuple(_grant(row) for row in found)

    async def revoke(self, selector: GrantSelector, at: float, why: str) -> tuple[Revocation, ...]:
        async with self._database.write() as connection:
            return await revoke(connection, selector, at, why)

    async def cut_off(
        self, person: str, at: float, why: str, *, grants_too: bool = True
    ) -> tuple[Revocation, ...]:
        async with self._database.write() as connection:
            return await cut_off(self._database, connection, person, at, why, grants_too=grants_too)

    async def lapse(self, now: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(grants)
                .where(grants.c.lapsed.is_(sa.false()), grants.c.expires_at <= now)
                .values(lapsed=True)
            )

    def revocation_reader(self) -> RevocationReader:
        if self._database.sqlite:
            return SqliteRevocations(Path(self._database.url.database or ""))
        apart = self._database.apart()
        return LoopRevocations(SqlGrants(apart), apart.close)

    async def revocations_after(self, sequence: int, limit: int) -> tuple[Revocation, ...]:
        async with self._database.follow() as connection:
            found = await connection.execute(
                sa.select(revocations)
                .where(revocations.c.sequence > sequence)
                .order_by(revocations.c.sequence)
                .limit(limit)
            )
            return tuple(Revocation(row.sequence, row.grant_id, row.at, row.why) for row in found)

    async def last_revocation(self) -> int:
        async with self._database.follow() as connection:
            value: int = (
                await connection.execute(
                    sa.select(counters.c.value).where(counters.c.name == "revocations")
                )
            ).scalar_one()
            return value


def _live(at: float) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        grants.c.revoked_at.is_(None),
        grants.c.lapsed.is_(sa.false()),
        grants.c.not_before <= at,
        grants.c.expires_at > at,
    )


def grant_is_live(grant_id: sa.ColumnElement[str] | str, at: float) -> sa.ColumnElement[bool]:
    """The same as a condition of another table's statement."""
    return sa.exists().where(grants.c.id == grant_id, *_live(at))


async def _is_live(connection: AsyncConnection, grant_id: str, at: float) -> bool:
    found = await connection.scalar(
        sa.select(grants.c.id).where(grants.c.id == grant_id, *_live(at))
    )
    return found is not None


async def _insert_token(connection: AsyncConnection, token: Token) -> None:
    await connection.execute(
        sa.insert(tokens).values(
            token_hash=token.token_hash,
            grant_id=token.grant_id,
            parent_hash=token.parent_hash,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
        )
    )


def _grant(row: sa.Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        identity=decode(row.identity, Identity),
        task=row.task,
        reason=row.reason,
        resources=decode_any(row.resources, tuple[str, ...]),
        not_before=row.not_before,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_why=row.revoked_why,
        parent=row.parent,
        step=row.step or "",
        narrowings=decode_any(row.narrowings, tuple[tuple[Permitted, ...], ...])
        if row.narrowings
        else (),
        uses_left=row.uses_left,
        break_glass=row.break_glass or "",
        chain=decode_any(row.chain, tuple[Link, ...]) if row.chain else (),
    )
