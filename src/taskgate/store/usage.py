"""Where access is in use, told from sessions and sign-ins."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model.identity import SESSION_PREFIX, Identity, same_person
from taskgate.model.usage import DormantGrant, IdlePerson, NewPlace, Place, UseSelector
from taskgate.store.database import Database
from taskgate.store.encoding import decode, decode_any
from taskgate.store.schema import (
    arrivals,
    audit_entries,
    directory_users,
    grant_people,
    grants,
    sessions,
    sign_ins,
    users,
)

_TIMEOUT_S = 30.0
_SIGN_IN = "sign-in"
# Groups of sessions that one map is made from, the newest first.
_MAX_GROUPS = 50_000
_GRANTS_SHOWN = 5
# What makes two uses one line of the map.
_BY = (
    sessions.c.grant_id,
    sessions.c.client_address,
    sessions.c.client_application,
    sessions.c.protocol,
    sessions.c.task,
    sessions.c.resource,
)


class SqlUsage:
    """`model.ports.UsageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def places(self, selector: UseSelector, limit: int) -> tuple[Place, ...]:
        async with self._database.read(_TIMEOUT_S) as connection:
            merged = _Merged()
            wanted = _wanted(selector)
            requests = await _requests(connection, wanted)
            found = await connection.execute(
                sa.select(
                    *_BY,
                    sa.func.max(sessions.c.identity).label("identity"),
                    sa.func.count().label("times"),
                    sa.func.min(sessions.c.started_at).label("first_at"),
                    sa.func.max(sessions.c.started_at).label("last_at"),
                    sa.func.sum(sa.case((sessions.c.ended_at.is_(None), 1), else_=0)).label("live"),
                )
                .where(*wanted)
                .group_by(*_BY)
                .order_by(sa.func.max(sessions.c.started_at).desc())
                .limit(_MAX_GROUPS)
            )
            for row in found:
                merged.add(_place(row, requests.get(tuple(row[: len(_BY)]), 0)))
            if selector.task is None and selector.grant_id is None:
                for place in await _sign_ins(connection, selector.person):
                    merged.add(place)
        return merged.newest(limit)

    async def dormant(self, now: float, idle_s: float, limit: int) -> tuple[DormantGrant, ...]:
        used = (
            sa.select(sa.func.max(sa.func.coalesce(sessions.c.ended_at, now)))
            .where(sessions.c.grant_id == grants.c.id)
            .scalar_subquery()
        )
        async with self._database.read(_TIMEOUT_S) as connection:
            found = await connection.execute(
                sa.select(grants, used.label("used_at"))
                .where(
                    grants.c.revoked_at.is_(None),
                    grants.c.lapsed.is_(sa.false()),
                    grants.c.expires_at > now,
                    grants.c.not_before <= now - idle_s,
                    sa.func.coalesce(used, grants.c.not_before) <= now - idle_s,
                )
                .order_by(grants.c.not_before)
                .limit(limit)
            )
            return tuple(
                DormantGrant(
                    grant_id=row.id,
                    identity=decode(row.identity, Identity).key,
                    task=row.task,
                    reason=row.reason,
                    issued_at=row.not_before,
                    expires_at=row.expires_at,
                    last_used_at=row.used_at,
                )
                for row in found
            )

    async def tasks_used(self) -> Mapping[str, float]:
        async with self._database.read(_TIMEOUT_S) as connection:
            found = await connection.execute(
                sa.select(sessions.c.task, sa.func.max(sessions.c.started_at)).group_by(
                    sessions.c.task
                )
            )
            return {task: at for task, at in found}

    async def new_places(self, since: float, limit: int) -> tuple[NewPlace, ...]:
        person, source = grant_people.c.person, sessions.c.client_address
        async with self._database.read(_TIMEOUT_S) as connection:
            found = await connection.execute(
                sa.select(person, source, sa.func.min(sessions.c.started_at).label("first_at"))
                .join(sessions, sessions.c.grant_id == grant_people.c.grant_id)
                .where(sa.not_(person.startswith(SESSION_PREFIX)))
                .group_by(person, source)
                .order_by(sa.func.min(sessions.c.started_at))
            )
            seen: defaultdict[str, list[str]] = defaultdict(list)
            fresh: list[tuple[str, str, float, tuple[str, ...]]] = []
            for key, address, first_at in found:
                if first_at >= since and seen[key]:
                    fresh.append((key, address, first_at, tuple(seen[key][-_GRANTS_SHOWN:])))
                seen[key].append(address)
            places: dict[tuple[str, str], NewPlace] = {}
            for key, address, first_at, before in reversed(fresh):
                if len(places) >= limit:
                    break
                row = await _first_use(connection, key, address, first_at)
                if row is not None:
                    places.setdefault(
                        (row.grant_id, address),
                        NewPlace(
                            row.grant_id,
                            decode(row.identity, Identity).key,
                            row.task,
                            address,
                            first_at,
                            before,
                        ),
                    )
            return tuple(places.values())

    async def idle_people(
        self, before: float, issuers: Collection[str], limit: int
    ) -> tuple[IdlePerson, ...]:
        async with self._database.read(_TIMEOUT_S) as connection:
            last = {
                person: at
                for person, at in await connection.execute(
                    sa.select(arrivals.c.alike, arrivals.c.last_at).order_by(arrivals.c.last_at)
                )
            }
            local = await connection.execute(
                sa.select(users.c.name, users.c.created_at).where(users.c.disabled.is_(sa.false()))
            )
            known = {f"local:{name}": ("local user", since) for name, since in local}
            listed = await connection.execute(
                sa.select(directory_users.c.subject, directory_users.c.created_at).where(
                    directory_users.c.active.is_(sa.true())
                )
            )
            for subject, since in listed:
                keys = [f"{issuer}:{subject}" for issuer in issuers]
                if keys and not any(key in known for key in keys):
                    latest = max(keys, key=lambda key: last.get(same_person(key), 0.0))
                    known[latest] = ("directory", since)
        idle = [
            IdlePerson(person, origin, since, last.get(same_person(person)))
            for person, (origin, since) in known.items()
            if max(last.get(same_person(person), since), since) < before
        ]
        idle.sort(key=lambda one: (one.last_at or 0.0, one.since, one.person))
        return tuple(idle[:limit])


@dataclass(slots=True)
class _Merged:
    """Lines of the map: the same place under several grants is one."""

    places: dict[tuple[object, ...], Place] = field(default_factory=dict)

    def add(self, place: Place) -> None:
        key = (
            place.identity,
            place.acts_for,
            place.source,
            place.application,
            place.way,
            place.task,
            place.resource,
            tuple(sorted(place.claims.items())),
        )
        known = self.places.get(key)
        if known is None:
            self.places[key] = place
            return
        newer, older = sorted((known, place), key=lambda one: one.last_at, reverse=True)
        self.places[key] = replace(
            newer,
            times=known.times + place.times,
            first_at=min(known.first_at, place.first_at),
            live=known.live + place.live,
            requests=known.requests + place.requests,
            grants=tuple(dict.fromkeys((*newer.grants, *older.grants)))[:_GRANTS_SHOWN],
        )

    def newest(self, limit: int) -> tuple[Place, ...]:
        return tuple(
            sorted(self.places.values(), key=lambda one: (-one.last_at, one.source, one.task))
        )[:limit]


def _wanted(selector: UseSelector) -> list[sa.ColumnElement[bool]]:
    """The selector as conditions on `sessions`."""
    conditions: list[sa.ColumnElement[bool]] = []
    if selector.person is not None:
        theirs = sa.select(grant_people.c.grant_id).where(grant_people.c.person == selector.person)
        conditions.append(sessions.c.grant_id.in_(theirs))
    if selector.task is not None:
        conditions.append(sessions.c.task == selector.task)
    if selector.grant_id is not None:
        # A derived grant's chain names every grant above it. A step may be named like a grant.
        below = grants.c.chain.contains(f'"grant":"{selector.grant_id}"', autoescape=True)
        tree = sa.select(grants.c.id).where(sa.or_(grants.c.id == selector.grant_id, below))
        conditions.append(sessions.c.grant_id.in_(tree))
    return conditions


async def _requests(
    connection: AsyncConnection, wanted: list[sa.ColumnElement[bool]]
) -> dict[tuple[Any, ...], int]:
    """How many requests were made in the sessions meant, by what makes a line."""
    request = audit_entries.c.session + ":" + sa.cast(audit_entries.c.sequence, sa.Text)
    found = await connection.execute(
        sa.select(*_BY, sa.func.count(sa.distinct(request)))
        .join(audit_entries, audit_entries.c.session == sessions.c.id)
        .where(*wanted, audit_entries.c.outcome != "")
        .group_by(*_BY)
    )
    return {tuple(row[: len(_BY)]): row[len(_BY)] for row in found}


def _place(row: sa.Row[Any], requests: int) -> Place:
    identity = decode(row.identity, Identity)
    return Place(
        identity=identity.key,
        acts_for=identity.keys[1:],
        source=row.client_address,
        application=row.client_application,
        way=row.protocol,
        task=row.task,
        resource=row.resource,
        times=row.times,
        first_at=row.first_at,
        last_at=row.last_at,
        live=row.live,
        requests=requests,
        claims=_claims(row.identity),
        grants=(row.grant_id,),
    )


def _claims(identity: str) -> dict[str, str]:
    """What a workload's token said of its run, where the identity carries that."""
    found = decode_any(identity, dict[str, Any]).get("claims")
    pairs = found.items() if isinstance(found, dict) else found or ()
    return {str(name): str(value) for name, value in pairs}


async def _sign_ins(connection: AsyncConnection, person: str | None) -> list[Place]:
    query = sa.select(sign_ins).order_by(sign_ins.c.last_at.desc()).limit(_MAX_GROUPS)
    if person is not None:
        # Those of agents that act for the person too; the key is looked at below.
        query = query.where(
            sa.or_(
                sign_ins.c.person == person,
                sign_ins.c.identity.contains('"acts_for":{', autoescape=True),
            )
        )
    places = []
    for row in await connection.execute(query):
        identity = decode(row.identity, Identity)
        if person is not None and person not in identity.keys:
            continue
        places.append(
            Place(
                identity=identity.key,
                acts_for=identity.keys[1:],
                source=row.source,
                application=row.application,
                way=_SIGN_IN,
                task="",
                resource="",
                times=row.times,
                first_at=row.first_at,
                last_at=row.last_at,
                claims=_claims(row.identity),
            )
        )
    return places


async def _first_use(connection: AsyncConnection, person: str, address: str, at: float) -> Any:
    found = await connection.execute(
        sa.select(sessions.c.grant_id, sessions.c.identity, sessions.c.task)
        .join(grant_people, grant_people.c.grant_id == sessions.c.grant_id)
        .where(
            grant_people.c.person == person,
            sessions.c.client_address == address,
            sessions.c.started_at == at,
        )
        .limit(1)
    )
    return found.one_or_none()
