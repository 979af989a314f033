"""People who leave: everything of theirs ends in one transaction, and they are barred."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model.approval import ApprovalState
from taskgate.model.identity import same_person
from taskgate.model.leaving import DIRECTORY, Departure, Ended, Leaver
from taskgate.model.token import Revocation
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import plain
from taskgate.store.revoking import cut_off, spellings
from taskgate.store.schema import (
    approvals,
    arrivals,
    departures,
    grant_people,
    login_people,
    sessions,
    ssh_keys,
    standing_approvals,
    users,
    votes,
)

_LOCAL = "local:"


class SqlLeaving:
    """`model.ports.LeavingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def offboard(self, leaver: Leaver, at: float) -> Ended:
        async with self._database.write() as connection:
            # Votes, grants and sign-ins take the same lock first: none slips past.
            await lock_counter(connection, "revocations")
            keys = await spellings(
                connection, leaver.keys | {_LOCAL + name for name in leaver.users}
            )
            sign_ins = await connection.scalar(
                sa.select(sa.func.count(sa.distinct(login_people.c.token_hash))).where(
                    login_people.c.person.in_(keys)
                )
            )
            disabled = await _disable(connection, leaver.users)
            await self._bar(connection, leaver, keys, disabled, at)
            revoked: list[Revocation] = []
            for key in keys:
                revoked += await cut_off(self._database, connection, key, at, leaver.why)
            await connection.execute(sa.delete(ssh_keys).where(ssh_keys.c.person.in_(keys)))
            return Ended(
                revocations=tuple(revoked),
                logins=sign_ins or 0,
                users=disabled,
                approvals=await _cancel_asked(connection, keys, at, leaver.why),
                withdrawn=await _withdraw(connection, keys, at, leaver.why),
                standing=await _end_standing(connection, keys, at),
                sessions=await _open_sessions(connection, keys),
            )

    async def reinstate(self, people: Collection[str], only_by: str | None = None) -> bool:
        conditions: list[sa.ColumnElement[bool]] = [_alike(departures, people)]
        if only_by is not None:
            conditions.append(departures.c.by == only_by)
        async with self._database.write() as connection:
            found = await connection.execute(
                sa.delete(departures).where(*conditions).returning(departures.c.disabled_user)
            )
            names = found.scalars().all()
            enabled = [name for name in names if name]
            if enabled:
                await connection.execute(
                    sa.update(users).where(users.c.name.in_(enabled)).values(disabled=False)
                )
            return bool(names)

    async def departures(self, people: Collection[str]) -> tuple[Departure, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(departures)
                .where(_alike(departures, people))
                .order_by(departures.c.person)
            )
            return tuple(Departure(row.person, row.at, row.by, row.why) for row in found)

    async def seen(self, people: Collection[str], subject: str) -> tuple[str, ...]:
        # An issuer may hold a colon, so the key's end is compared.
        ends = arrivals.c.alike.endswith(same_person(f":{subject}"), autoescape=True)
        theirs = grant_people.c.person
        wanted = ends if subject else sa.false()
        local = [key.removeprefix(_LOCAL) for key in people if key.startswith(_LOCAL)]
        async with self._database.read() as connection:
            found: set[str] = set()
            for query in (
                sa.select(arrivals.c.person).where(sa.or_(_alike(arrivals, people), wanted)),
                sa.select(theirs).where(theirs.in_(people)).distinct(),
                sa.select(departures.c.person).where(_alike(departures, people)),
            ):
                found.update((await connection.scalars(query)).all())
            names = await connection.scalars(sa.select(users.c.name).where(users.c.name.in_(local)))
            found.update(_LOCAL + name for name in names.all())
            return tuple(sorted(found))

    async def _bar(
        self,
        connection: AsyncConnection,
        leaver: Leaver,
        keys: list[str],
        disabled: tuple[str, ...],
        at: float,
    ) -> None:
        for key in keys:
            local = key.removeprefix(_LOCAL) if key.startswith(_LOCAL) else ""
            upsert = self._database.insert(departures).values(
                person=key,
                at=at,
                by=plain(leaver.by),
                why=plain(leaver.why),
                disabled_user="",
                alike=same_person(key),
            )
            # Who was offboarded before stays so, by whoever did it first. But what people shut, no
            # directory opens that had shut it before them.
            await connection.execute(
                upsert.on_conflict_do_update(
                    index_elements=[departures.c.person],
                    set_={name: upsert.excluded[name] for name in ("at", "by", "why")},
                    where=sa.and_(departures.c.by == DIRECTORY, upsert.excluded.by != DIRECTORY),
                )
            )
            if local in disabled:
                await connection.execute(
                    sa.update(departures)
                    .where(departures.c.person == key)
                    .values(disabled_user=local)
                )


def _alike(table: sa.Table, people: Collection[str]) -> sa.ColumnElement[bool]:
    """That a row is about one of `people`, in whatever spelling."""
    return table.c.alike.in_(sorted({same_person(key) for key in people}))


async def _disable(connection: AsyncConnection, names: Collection[str]) -> tuple[str, ...]:
    """Those that were not disabled before."""
    if not names:
        return ()
    changed = await connection.scalars(
        sa.update(users)
        .where(users.c.name.in_(names), users.c.disabled.is_(sa.false()))
        .values(disabled=True)
        .returning(users.c.name)
    )
    return tuple(sorted(changed.all()))


def _theirs(keys: list[str]) -> sa.Select[tuple[str]]:
    return sa.select(grant_people.c.grant_id).where(grant_people.c.person.in_(keys))


async def _cancel_asked(
    connection: AsyncConnection, keys: list[str], at: float, why: str
) -> tuple[str, ...]:
    """What they asked and still waits, or was agreed to and has not run."""
    unused = sa.or_(
        approvals.c.state == ApprovalState.WAITING.value,
        sa.and_(approvals.c.state == ApprovalState.APPROVED.value, approvals.c.taken_at.is_(None)),
    )
    closed = await connection.scalars(
        sa.update(approvals)
        .where(approvals.c.grant_id.in_(_theirs(keys)), unused)
        .values(state=ApprovalState.CANCELLED.value, closed_at=at, closed_why=plain(why))
        .returning(approvals.c.id)
    )
    return tuple(sorted(closed.all()))


async def _withdraw(
    connection: AsyncConnection, keys: list[str], at: float, why: str
) -> tuple[str, ...]:
    """Their agreement to what has not run yet. What waits for more people goes on waiting,
    without them; what was approved is so no longer."""
    agreed = sa.select(votes.c.approval_id).where(
        votes.c.person.in_(keys), votes.c.approve.is_(sa.true())
    )
    undone = await connection.scalars(
        sa.update(approvals)
        .where(
            approvals.c.id.in_(agreed),
            approvals.c.state == ApprovalState.APPROVED.value,
            approvals.c.taken_at.is_(None),
        )
        .values(
            state=ApprovalState.CANCELLED.value,
            closed_at=at,
            closed_why=plain(f"an approval was withdrawn: {why}"),
        )
        .returning(approvals.c.id)
    )
    ids = set(undone.all())
    waiting = await connection.scalars(
        sa.select(approvals.c.id).where(
            approvals.c.id.in_(agreed), approvals.c.state == ApprovalState.WAITING.value
        )
    )
    open_ = waiting.all()
    if open_:
        await connection.execute(
            sa.delete(votes).where(votes.c.approval_id.in_(open_), votes.c.person.in_(keys))
        )
    return tuple(sorted(ids | set(open_)))


async def _end_standing(connection: AsyncConnection, keys: list[str], at: float) -> tuple[str, ...]:
    """Agreements in advance that rest on their word, or were given to them."""
    agreed = sa.select(votes.c.approval_id).where(
        votes.c.person.in_(keys), votes.c.approve.is_(sa.true())
    )
    ended = await connection.scalars(
        sa.update(standing_approvals)
        .where(
            sa.or_(
                standing_approvals.c.approval_id.in_(agreed),
                standing_approvals.c.grant_id.in_(_theirs(keys)),
            ),
            standing_approvals.c.uses_left > 0,
            standing_approvals.c.expires_at > at,
        )
        .values(uses_left=0)
        .returning(standing_approvals.c.id)
    )
    return tuple(sorted(ended.all()))


async def _open_sessions(connection: AsyncConnection, keys: list[str]) -> tuple[str, ...]:
    found = await connection.scalars(
        sa.select(sessions.c.id).where(
            sessions.c.grant_id.in_(_theirs(keys)), sessions.c.ended_at.is_(None)
        )
    )
    return tuple(sorted(found.all()))
