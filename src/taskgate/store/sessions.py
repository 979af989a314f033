"""Client connections, live and past."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity
from taskgate.store.database import Database
from taskgate.store.encoding import decode, encode, plain
from taskgate.store.schema import grant_people, sessions
from taskgate.store.scoping import of_tasks


class SqlSessions:
    """`model.ports.SessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: SessionInfo, node: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.insert(sessions).values(
                    id=session.id,
                    grant_id=session.grant_id,
                    node=node,
                    identity=encode(session.identity),
                    task=session.task,
                    resource=session.resource,
                    protocol=session.protocol,
                    client_address=plain(session.client_address),
                    client_application=plain(session.client_application),
                    started_at=session.started_at,
                    ended_at=session.ended_at,
                    ended_why=plain(session.ended_why),
                )
            )

    async def end(self, session_id: str, at: float, why: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(sessions)
                .where(sessions.c.id == session_id, sessions.c.ended_at.is_(None))
                .values(ended_at=at, ended_why=plain(why))
            )

    async def end_node(self, node: str, at: float, why: str) -> tuple[str, ...]:
        async with self._database.write() as connection:
            ended = await connection.scalars(
                sa.update(sessions)
                .where(sessions.c.node == node, sessions.c.ended_at.is_(None))
                .values(ended_at=at, ended_why=plain(why))
                .returning(sessions.c.id)
            )
            return tuple(ended.all())

    async def get(self, session_id: str) -> SessionInfo | None:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(sessions).where(sessions.c.id == session_id))
            row = found.one_or_none()
            return _session(row) if row is not None else None

    async def find(
        self,
        *,
        person: str | None = None,
        task: str | None = None,
        live: bool | None = None,
        limit: int = 100,
        tasks: Collection[str] | None = None,
    ) -> tuple[SessionInfo, ...]:
        conditions = of_tasks(sessions.c.task, tasks)
        if person is not None:
            of_person = sa.select(grant_people.c.grant_id).where(grant_people.c.person == person)
            conditions.append(sessions.c.grant_id.in_(of_person))
        if task is not None:
            conditions.append(sessions.c.task == task)
        if live is not None:
            over = sessions.c.ended_at.is_not(None)
            conditions.append(sa.not_(over) if live else over)
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(sessions)
                .where(*conditions)
                .order_by(sessions.c.started_at.desc(), sessions.c.id)
                .limit(limit)
            )
            return tuple(_session(row) for row in found)


def _session(row: sa.Row[Any]) -> SessionInfo:
    return SessionInfo(
        id=row.id,
        grant_id=row.grant_id,
        identity=decode(row.identity, Identity),
        task=row.task,
        resource=row.resource,
        protocol=row.protocol,
        client_address=row.client_address,
        client_application=row.client_application,
        started_at=row.started_at,
        ended_at=row.ended_at,
        ended_why=row.ended_why,
    )
