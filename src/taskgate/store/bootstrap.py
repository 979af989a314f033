"""The one-time code of a first run, and who used it."""

import sqlalchemy as sa

from taskgate.model.bootstrap import FirstAdministrator
from taskgate.store.database import Database
from taskgate.store.schema import bootstrap

_ROW = 1


class SqlBootstrap:
    """`model.bootstrap.BootstrapStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def offer(self, code_hash: str, expires_at: float) -> None:
        values = {
            "code_hash": code_hash, "expires_at": expires_at, "used_at": None, "person": "",
            "until": 0.0,
        }  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(
                self._database.insert(bootstrap)
                .values(number=_ROW, **values)
                .on_conflict_do_update(index_elements=[bootstrap.c.number], set_=values)
            )

    async def offered(self, code_hash: str, now: float) -> bool:
        async with self._database.read() as connection:
            found = await connection.scalar(
                sa.select(bootstrap.c.number).where(*_open(code_hash, now))
            )
            return found is not None

    async def use(self, code_hash: str, person: str, now: float, until: float) -> bool:
        async with self._database.write() as connection:
            used = await connection.execute(
                sa.update(bootstrap)
                .where(*_open(code_hash, now))
                .values(code_hash="", used_at=now, person=person, until=until)
            )
            return used.rowcount == 1

    async def first(self) -> FirstAdministrator | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(bootstrap).where(bootstrap.c.used_at.is_not(None))
            )
            row = found.one_or_none()
            return FirstAdministrator(row.person, row.until) if row is not None else None


def _open(code_hash: str, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        bootstrap.c.code_hash == code_hash,
        bootstrap.c.used_at.is_(None),
        bootstrap.c.expires_at > now,
    )
