"""Ending grants inside a transaction: by one selector, or all that one person has."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model.identity import same_person
from taskgate.model.token import GrantSelector, Revocation
from taskgate.store.counters import lock_counter, set_counter
from taskgate.store.database import Database
from taskgate.store.encoding import plain
from taskgate.store.schema import (
    arrivals,
    cut_offs,
    departures,
    grant_people,
    grants,
    login_people,
    logins,
    revocations,
)

# Bound parameters a statement; both databases take more than 30,000.
_CHUNK = 1_000


def selected(selector: GrantSelector) -> list[sa.ColumnElement[bool]]:
    """The selector as conditions on `grants`."""
    conditions: list[sa.ColumnElement[bool]] = []
    if selector.grant_id is not None:
        conditions.append(grants.c.id == selector.grant_id)
    if selector.task is not None:
        conditions.append(grants.c.task == selector.task)
    if selector.person is not None:
        of_person = sa.select(grant_people.c.grant_id).where(
            grant_people.c.person == selector.person
        )
        conditions.append(grants.c.id.in_(of_person))
    return conditions


async def revoke(
    connection: AsyncConnection, selector: GrantSelector, at: float, why: str
) -> tuple[Revocation, ...]:
    """See `GrantStore.revoke`."""
    if not selector:
        raise ValueError("an empty selector would revoke everything")
    sequence = await lock_counter(connection, "revocations")
    unended = (grants.c.revoked_at.is_(None), grants.c.lapsed.is_(sa.false()))
    found = await connection.scalars(
        sa.select(grants.c.id).where(*selected(selector), *unended).order_by(grants.c.not_before)
    )
    ids = list(dict.fromkeys(found.all()))
    fresh: Sequence[str] = ids
    while fresh:
        children: list[str] = []
        for chunk in _chunks(fresh):
            below = await connection.scalars(
                sa.select(grants.c.id).where(grants.c.parent.in_(chunk), *unended)
            )
            children.extend(below.all())
        known = set(ids)
        fresh = [child for child in children if child not in known]
        ids.extend(fresh)
    if not ids:
        return ()
    why = plain(why)
    ended = tuple(
        Revocation(sequence + number, grant_id, at, why)
        for number, grant_id in enumerate(ids, start=1)
    )
    for chunk in _chunks(ids):
        await connection.execute(
            sa.update(grants).where(grants.c.id.in_(chunk)).values(revoked_at=at, revoked_why=why)
        )
    await connection.execute(
        sa.insert(revocations),
        [
            {"sequence": one.sequence, "grant_id": one.grant_id, "at": at, "why": why}
            for one in ended
        ],
    )
    await set_counter(connection, "revocations", sequence + len(ended))
    return ended


async def cut_off(
    database: Database,
    connection: AsyncConnection,
    person: str,
    at: float,
    why: str,
    *,
    grants_too: bool = True,
) -> tuple[Revocation, ...]:
    """See `GrantStore.cut_off`."""
    ended: tuple[Revocation, ...] = ()
    if grants_too:
        ended = await revoke(connection, GrantSelector(person=person), at, why)
    else:
        await lock_counter(connection, "revocations")
    upsert = database.insert(cut_offs).values(person=person, cut_at=at)
    await connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[cut_offs.c.person],
            set_={"cut_at": upsert.excluded.cut_at},
            where=cut_offs.c.cut_at < upsert.excluded.cut_at,
        )
    )
    theirs = sa.select(login_people.c.token_hash).where(login_people.c.person == person)
    hashes = (await connection.scalars(theirs)).all()
    for chunk in _chunks(hashes):
        await connection.execute(
            sa.delete(login_people).where(login_people.c.token_hash.in_(chunk))
        )
        await connection.execute(sa.delete(logins).where(logins.c.token_hash.in_(chunk)))
    return ended


async def was_cut_off(
    connection: AsyncConnection, people: Sequence[str], authenticated_at: float
) -> bool:
    """Whether any of `people` was cut off at or after `authenticated_at`, or has left for good.

    Call it under the lock of the counter `revocations`, which `cut_off` holds to its end.
    """
    found = await connection.scalar(
        sa.select(cut_offs.c.person)
        .where(cut_offs.c.person.in_(people), cut_offs.c.cut_at >= authenticated_at)
        .limit(1)
    )
    if found is not None:
        return True
    # Another spelling of the name lets nobody in.
    alike = {same_person(key) for key in people}
    left = await connection.scalar(
        sa.select(departures.c.person).where(departures.c.alike.in_(alike)).limit(1)
    )
    return left is not None


async def spellings(connection: AsyncConnection, people: Collection[str]) -> list[str]:
    """`people`, and the other spellings of them that have come in."""
    found = set(people)
    for chunk in _chunks(sorted({same_person(key) for key in people})):
        known = await connection.scalars(
            sa.select(arrivals.c.person).where(arrivals.c.alike.in_(chunk))
        )
        found.update(known.all())
    return sorted(found)


async def came_in(
    database: Database, connection: AsyncConnection, people: Sequence[str], at: float
) -> None:
    """Notes that these people, or agents of theirs, came in at `at`."""
    for person in sorted(set(people)):
        upsert = database.insert(arrivals).values(
            person=person, last_at=at, alike=same_person(person)
        )
        await connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[arrivals.c.person],
                set_={"last_at": upsert.excluded.last_at},
                where=arrivals.c.last_at < upsert.excluded.last_at,
            )
        )


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
