"""Host keys that were trusted when they were first seen."""

from typing import Any

import sqlalchemy as sa

from taskgate.model.resource import KnownHost
from taskgate.store.database import Database
from taskgate.store.schema import known_hosts


class SqlKnownHosts:
    """`model.ports.KnownHostStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, found: KnownHost) -> KnownHost:
        async with self._database.write() as connection:
            await connection.execute(
                self._database.insert(known_hosts)
                .values(
                    resource=found.resource,
                    address=found.address,
                    key=found.key,
                    at=found.at,
                    by=found.by,
                )
                .on_conflict_do_nothing()
            )
            rows = await connection.execute(_of(found.resource, found.address))
            return _known(rows.one())

    async def get(self, resource: str, address: str) -> KnownHost | None:
        async with self._database.read() as connection:
            row = (await connection.execute(_of(resource, address))).one_or_none()
            return _known(row) if row is not None else None

    async def list(self) -> tuple[KnownHost, ...]:
        order = (known_hosts.c.resource, known_hosts.c.address)
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(known_hosts).order_by(*order))
            return tuple(_known(row) for row in rows)

    async def forget(self, resource: str) -> int:
        async with self._database.write() as connection:
            done = await connection.execute(
                sa.delete(known_hosts).where(known_hosts.c.resource == resource)
            )
            return done.rowcount


def _of(resource: str, address: str) -> sa.Select[Any]:
    return sa.select(known_hosts).where(
        known_hosts.c.resource == resource, known_hosts.c.address == address
    )


def _known(row: sa.Row[Any]) -> KnownHost:
    return KnownHost(row.resource, row.address, row.key, row.at, row.by)
