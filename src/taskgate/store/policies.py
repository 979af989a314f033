"""Every applied policy version, by content."""

from typing import Any

import sqlalchemy as sa

from taskgate.model.token import PolicyVersion
from taskgate.store.counters import lock_counter, set_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode_any, encode, plain
from taskgate.store.schema import applied_policies, policies


class SqlPolicies:
    """`model.ports.PolicyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, version: PolicyVersion) -> None:
        async with self._database.write() as connection:
            sequence = await lock_counter(connection, "applied_policies") + 1
            await connection.execute(
                self._database.insert(policies)
                .values(version=version.version, files=encode(dict(version.files)))
                .on_conflict_do_nothing()
            )
            await connection.execute(
                sa.insert(applied_policies).values(
                    sequence=sequence,
                    version=version.version,
                    applied_at=version.applied_at,
                    applied_by=plain(version.applied_by),
                    note=plain(version.note),
                )
            )
            await set_counter(connection, "applied_policies", sequence)

    async def current(self) -> PolicyVersion | None:
        return await self._newest()

    async def get(self, version: str) -> PolicyVersion | None:
        return await self._newest(policies.c.version == version)

    async def history(self, limit: int) -> tuple[PolicyVersion, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(applied_policies)
                .order_by(applied_policies.c.sequence.desc())
                .limit(limit)
            )
            return tuple(
                PolicyVersion(row.version, {}, row.applied_at, row.applied_by, row.note)
                for row in found
            )

    async def _newest(self, *conditions: sa.ColumnElement[bool]) -> PolicyVersion | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(applied_policies, policies.c.files)
                .join(policies, policies.c.version == applied_policies.c.version)
                .where(*conditions)
                .order_by(applied_policies.c.sequence.desc())
                .limit(1)
            )
            row: sa.Row[Any] | None = found.one_or_none()
            if row is None:
                return None
            files: dict[str, str] = decode_any(row.files, dict[str, str])
            return PolicyVersion(row.version, files, row.applied_at, row.applied_by, row.note)
