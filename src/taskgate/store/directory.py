"""Users and groups that a provider keeps here by SCIM."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model import limits
from taskgate.model.directory import DirectoryGroup, DirectoryUser, Listed
from taskgate.model.errors import Conflict, NotFound, OverLimit
from taskgate.model.identity import same_person
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode_any, encode
from taskgate.store.revoking import cut_off, spellings
from taskgate.store.schema import directory_groups, directory_members, directory_users

_CHUNK = 500


class SqlDirectory:
    """`model.ports.DirectoryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(self, user: DirectoryUser) -> None:
        try:
            async with self._database.write() as connection:
                await _ensure_room(connection, directory_users)
                await connection.execute(
                    sa.insert(directory_users).values(
                        id=user.id, created_at=user.created_at, **_user_columns(user)
                    )
                )
        except Conflict:
            raise Conflict(f"there is a user {user.user_name} already") from None

    async def replace_user(self, user: DirectoryUser) -> None:
        try:
            async with self._database.write() as connection:
                changed = await connection.execute(
                    sa.update(directory_users)
                    .where(
                        directory_users.c.id == user.id,
                        directory_users.c.version == user.version - 1,
                    )
                    .values(**_user_columns(user))
                )
                if changed.rowcount == 1:
                    return
                there = await connection.scalar(
                    sa.select(directory_users.c.id).where(directory_users.c.id == user.id)
                )
        except Conflict:
            raise Conflict(f"there is a user {user.user_name} already") from None
        if there is None:
            raise NotFound(f"there is no user {user.id}")
        raise _changed_meanwhile()

    async def remove_user(self, user_id: str) -> bool:
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(directory_members).where(directory_members.c.user_id == user_id)
            )
            removed = await connection.execute(
                sa.delete(directory_users).where(directory_users.c.id == user_id)
            )
            return removed.rowcount == 1

    async def user(self, user_id: str) -> DirectoryUser | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(directory_users).where(directory_users.c.id == user_id)
            )
            row = found.one_or_none()
            return _user(row) if row is not None else None

    async def users(self) -> tuple[DirectoryUser, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(directory_users).order_by(
                    directory_users.c.created_at, directory_users.c.id
                )
            )
            return tuple(_user(row) for row in found)

    async def add_group(self, group: DirectoryGroup) -> None:
        try:
            async with self._database.write() as connection:
                await _ensure_room(connection, directory_groups)
                await connection.execute(
                    sa.insert(directory_groups).values(
                        id=group.id, created_at=group.created_at, **_group_columns(group)
                    )
                )
                await _add_members(connection, group.id, group.members)
        except Conflict:
            raise Conflict(f"there is a group {group.display_name} already") from None

    async def replace_group(
        self, group: DirectoryGroup, issuers: Collection[str], why: str
    ) -> None:
        try:
            async with self._database.write() as connection:
                await lock_counter(connection, "revocations")
                before = (
                    await connection.execute(
                        sa.select(directory_groups).where(directory_groups.c.id == group.id)
                    )
                ).one_or_none()
                if before is None:
                    raise NotFound(f"there is no group {group.id}")
                if before.version != group.version - 1:
                    raise _changed_meanwhile()
                had = await _members(connection, group.id)
                await connection.execute(
                    sa.update(directory_groups)
                    .where(directory_groups.c.id == group.id)
                    .values(**_group_columns(group))
                )
                gone = had - group.members
                await _remove_members(connection, group.id, gone)
                await _add_members(connection, group.id, group.members - had)
                lost = had if before.display_name != group.display_name else gone
                await self._cut(connection, lost, issuers, group.changed_at, why)
        except Conflict as error:
            if error.message == _changed_meanwhile().message:
                raise
            raise Conflict(f"there is a group {group.display_name} already") from None

    async def remove_group(
        self, group_id: str, issuers: Collection[str], at: float, why: str
    ) -> bool:
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            had = await _members(connection, group_id)
            await connection.execute(
                sa.delete(directory_members).where(directory_members.c.group_id == group_id)
            )
            removed = await connection.execute(
                sa.delete(directory_groups).where(directory_groups.c.id == group_id)
            )
            await self._cut(connection, had, issuers, at, why)
            return removed.rowcount == 1

    async def group(self, group_id: str) -> DirectoryGroup | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(directory_groups).where(directory_groups.c.id == group_id)
            )
            row = found.one_or_none()
            if row is None:
                return None
            return _group(row, await _members(connection, group_id))

    async def groups(self) -> tuple[DirectoryGroup, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(directory_groups).order_by(
                    directory_groups.c.created_at, directory_groups.c.id
                )
            )
            rows = found.all()
            members: defaultdict[str, set[str]] = defaultdict(set)
            for group_id, user_id in await connection.execute(
                sa.select(directory_members.c.group_id, directory_members.c.user_id)
            ):
                members[group_id].add(user_id)
            return tuple(_group(row, members[row.id]) for row in rows)

    async def groups_of(self, user_id: str) -> tuple[DirectoryGroup, ...]:
        mine = sa.select(directory_members.c.group_id).where(directory_members.c.user_id == user_id)
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(directory_groups)
                .where(directory_groups.c.id.in_(mine))
                .order_by(directory_groups.c.created_at, directory_groups.c.id)
            )
            return tuple(_group(row, ()) for row in found)

    async def listed(self, subject: str) -> Listed | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(
                    directory_users.c.id,
                    directory_users.c.subject,
                    directory_users.c.active,
                    directory_groups.c.display_name,
                )
                .outerjoin(directory_members, directory_members.c.user_id == directory_users.c.id)
                .outerjoin(directory_groups, directory_groups.c.id == directory_members.c.group_id)
                .where(directory_users.c.subject_alike == same_person(subject))
            )
            rows = found.all()
            if not rows:
                return None
            own = [row for row in rows if row.subject == subject]
            # Nobody gets the groups of who is spelled otherwise, nor past who was shut out so.
            names = frozenset(row.display_name for row in own if row.display_name is not None)
            return Listed(rows[0].id, all(row.active for row in own or rows), names)

    async def _cut(
        self,
        connection: AsyncConnection,
        user_ids: Iterable[str],
        issuers: Collection[str],
        at: float,
        why: str,
    ) -> None:
        for chunk in _chunks(sorted(user_ids)):
            subjects = await connection.scalars(
                sa.select(directory_users.c.subject).where(directory_users.c.id.in_(chunk))
            )
            keys = [f"{issuer}:{subject}" for subject in subjects.all() for issuer in issuers]
            for key in await spellings(connection, keys):
                await cut_off(self._database, connection, key, at, why)


async def _ensure_room(connection: AsyncConnection, table: sa.Table) -> None:
    held = await connection.scalar(sa.select(sa.func.count()).select_from(table))
    if held is not None and held >= limits.MAX_SCIM_RESOURCES:
        raise OverLimit(f"the directory holds its most of {limits.MAX_SCIM_RESOURCES} already")


async def _members(connection: AsyncConnection, group_id: str) -> set[str]:
    found = await connection.scalars(
        sa.select(directory_members.c.user_id).where(directory_members.c.group_id == group_id)
    )
    return set(found.all())


async def _add_members(
    connection: AsyncConnection, group_id: str, user_ids: Collection[str]
) -> None:
    for chunk in _chunks(sorted(user_ids)):
        there = await connection.scalar(
            sa.select(sa.func.count())
            .select_from(directory_users)
            .where(directory_users.c.id.in_(chunk))
        )
        if there != len(chunk):
            raise NotFound("a member of the group is no user here")
        await connection.execute(
            sa.insert(directory_members),
            [{"group_id": group_id, "user_id": user_id} for user_id in chunk],
        )


async def _remove_members(
    connection: AsyncConnection, group_id: str, user_ids: Collection[str]
) -> None:
    for chunk in _chunks(sorted(user_ids)):
        await connection.execute(
            sa.delete(directory_members).where(
                directory_members.c.group_id == group_id, directory_members.c.user_id.in_(chunk)
            )
        )


def _user_columns(user: DirectoryUser) -> dict[str, Any]:
    return {
        "user_name": user.user_name,
        "user_name_key": user.user_name.casefold(),
        "external_id": user.external_id,
        "subject": user.subject,
        "subject_alike": same_person(user.subject),
        "active": user.active,
        "attributes": encode(user.attributes),
        "changed_at": user.changed_at,
        "version": user.version,
    }


def _group_columns(group: DirectoryGroup) -> dict[str, Any]:
    return {
        "display_name": group.display_name,
        "external_id": group.external_id,
        "changed_at": group.changed_at,
        "version": group.version,
    }


def _user(row: sa.Row[Any]) -> DirectoryUser:
    return DirectoryUser(
        id=row.id,
        user_name=row.user_name,
        external_id=row.external_id,
        subject=row.subject,
        active=row.active,
        attributes=decode_any(row.attributes, dict[str, Any]),
        created_at=row.created_at,
        changed_at=row.changed_at,
        version=row.version,
    )


def _group(row: sa.Row[Any], members: Collection[str]) -> DirectoryGroup:
    return DirectoryGroup(
        id=row.id,
        display_name=row.display_name,
        external_id=row.external_id,
        members=frozenset(members),
        created_at=row.created_at,
        changed_at=row.changed_at,
        version=row.version,
    )


def _changed_meanwhile() -> Conflict:
    return Conflict("it was changed meanwhile", hint="read it again, and send the change anew")


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
