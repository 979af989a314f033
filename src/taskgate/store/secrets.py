"""Sealed secrets. What is stored here opens with a master key that never comes here."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from taskgate.model.secret import SealedSecret
from taskgate.store.database import Database
from taskgate.store.schema import secrets


class SqlSecrets:
    """`model.ports.SecretStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, secret: SealedSecret) -> None:
        values = _columns(secret)
        upsert = self._database.insert(secrets).values(**values)
        async with self._database.write() as connection:
            await connection.execute(
                upsert.on_conflict_do_update(
                    index_elements=[secrets.c.name],
                    set_={name: upsert.excluded[name] for name in values if name != "name"},
                )
            )

    async def add(self, secret: SealedSecret) -> bool:
        async with self._database.write() as connection:
            added = await connection.scalar(
                self._database.insert(secrets)
                .values(**_columns(secret))
                .on_conflict_do_nothing()
                .returning(secrets.c.name)
            )
            return added is not None

    async def get(self, name: str) -> SealedSecret | None:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(secrets).where(secrets.c.name == name))
            row = found.one_or_none()
            return _sealed(row) if row is not None else None

    async def list(self) -> tuple[SealedSecret, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(secrets).order_by(secrets.c.name))
            return tuple(_sealed(row) for row in found)

    async def remove(self, name: str) -> bool:
        async with self._database.write() as connection:
            removed = await connection.execute(sa.delete(secrets).where(secrets.c.name == name))
            return removed.rowcount == 1

    async def rewrap(self, changed: Sequence[tuple[SealedSecret, SealedSecret]]) -> bool:
        async with self._database.write() as connection:
            for old, new in changed:
                done = await connection.execute(
                    sa.update(secrets)
                    .where(secrets.c.name == old.name, secrets.c.wrap_nonce == old.wrap_nonce)
                    .values(**_columns(new))
                )
                if done.rowcount != 1:
                    await connection.rollback()
                    return False
            return True


def _columns(secret: SealedSecret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "ciphertext": secret.ciphertext,
        "nonce": secret.nonce,
        "wrapped_key": secret.wrapped_key,
        "wrap_nonce": secret.wrap_nonce,
        "key_id": secret.key_id,
        "set_at": secret.set_at,
        "set_by": secret.set_by,
    }


def _sealed(row: sa.Row[Any]) -> SealedSecret:
    return SealedSecret(
        name=row.name,
        ciphertext=row.ciphertext,
        nonce=row.nonce,
        wrapped_key=row.wrapped_key,
        wrap_nonce=row.wrap_nonce,
        key_id=row.key_id,
        set_at=row.set_at,
        set_by=row.set_by,
    )
