"""What people sign in with by SSH: certificates, each of an API sign-in, and keys of their own."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from taskgate.model.authentication import Authentication
from taskgate.model.errors import Conflict, OverLimit
from taskgate.model.identity import Identity
from taskgate.model.ssh_access import RegisteredKey, UserCertificate
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode, encode, plain
from taskgate.store.revoking import was_cut_off
from taskgate.store.schema import logins, ssh_certificates, ssh_keys

# Bound parameters a statement; both databases take more than 30,000.
_CHUNK = 1_000
T = TypeVar("T", int, str)


class SqlSshAccess:
    """`model.ssh_access.SshAccessStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_certificate(self, certificate: UserCertificate, most: int) -> bool:
        at = certificate.issued_at
        async with self._database.write() as connection:
            # A cut-off that is under way ends the sign-in first.
            await lock_counter(connection, "revocations")
            live = await connection.scalar(
                sa.select(logins.c.token_hash).where(
                    logins.c.token_hash == certificate.login, logins.c.expires_at > at
                )
            )
            if live is None:
                return False
            await connection.execute(
                sa.delete(ssh_certificates).where(ssh_certificates.c.expires_at <= at)
            )
            held = await connection.scalar(
                sa.select(sa.func.count())
                .select_from(ssh_certificates)
                .where(ssh_certificates.c.login == certificate.login)
            )
            if held is not None and held >= most:
                raise OverLimit(
                    f"this sign-in has {held} certificates already, and {most} is the most",
                    hint="use one of them, or sign in again: taskgate login --ssh",
                )
            await connection.execute(
                sa.insert(ssh_certificates).values(
                    serial=certificate.serial,
                    person=certificate.person,
                    login=certificate.login,
                    fingerprint=certificate.fingerprint,
                    issued_at=at,
                    expires_at=certificate.expires_at,
                )
            )
            return True

    async def certificate(self, serial: int, now: float) -> tuple[UserCertificate, Identity] | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(ssh_certificates, logins.c.identity)
                .join(logins, logins.c.token_hash == ssh_certificates.c.login)
                .where(ssh_certificates.c.serial == serial, *_live(now))
            )
            row = found.one_or_none()
            if row is None:
                return None
            certificate = UserCertificate(
                row.serial, row.person, row.login, row.fingerprint, row.issued_at, row.expires_at
            )
            return certificate, decode(row.identity, Identity)

    async def add_key(self, key: RegisteredKey, identity: Identity, most: int) -> bool:
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            if await was_cut_off(connection, identity.rests_on, identity.authenticated_at):
                return False
            held = await connection.scalar(
                sa.select(sa.func.count())
                .select_from(ssh_keys)
                .where(ssh_keys.c.person == key.person)
            )
            if held is not None and held >= most:
                raise OverLimit(
                    f"{key.person} has {held} keys already, and {most} is the most",
                    hint="remove one: taskgate keys remove KEY",
                )
            added = await connection.scalar(
                self._database.insert(ssh_keys)
                .values(
                    id=key.id,
                    person=key.person,
                    fingerprint=key.fingerprint,
                    public_key=key.public_key,
                    label=plain(key.label),
                    shown=encode(key.shown),
                    added_at=key.added_at,
                    last_used_at=None,
                )
                .on_conflict_do_nothing()
                .returning(ssh_keys.c.id)
            )
            if added is None:
                raise Conflict(
                    "this key is registered already",
                    hint="a key stands for one person; make another with ssh-keygen",
                )
            return True

    async def key(self, fingerprint: str) -> RegisteredKey | None:
        return await self._one_key(ssh_keys.c.fingerprint == fingerprint)

    async def key_by_id(self, key_id: str) -> RegisteredKey | None:
        return await self._one_key(ssh_keys.c.id == key_id)

    async def _one_key(self, condition: sa.ColumnElement[bool]) -> RegisteredKey | None:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(ssh_keys).where(condition))
            row = found.one_or_none()
            return _key(row) if row is not None else None

    async def keys(self, person: str | None, limit: int) -> tuple[RegisteredKey, ...]:
        conditions = [] if person is None else [ssh_keys.c.person == person]
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(ssh_keys)
                .where(*conditions)
                .order_by(ssh_keys.c.added_at.desc(), ssh_keys.c.id)
                .limit(limit)
            )
            return tuple(_key(row) for row in found)

    async def used_key(self, key_id: str, at: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(ssh_keys).where(ssh_keys.c.id == key_id).values(last_used_at=at)
            )

    async def remove_key(self, key_id: str) -> bool:
        async with self._database.write() as connection:
            removed = await connection.scalar(
                sa.delete(ssh_keys).where(ssh_keys.c.id == key_id).returning(ssh_keys.c.id)
            )
            return removed is not None

    async def standing(
        self, serials: Collection[int], keys: Collection[str], now: float
    ) -> tuple[frozenset[int], frozenset[str]]:
        certified: set[int] = set()
        registered: set[str] = set()
        async with self._database.read() as connection:
            for chunk in _chunks(sorted(serials)):
                found = await connection.scalars(
                    sa.select(ssh_certificates.c.serial)
                    .join(logins, logins.c.token_hash == ssh_certificates.c.login)
                    .where(ssh_certificates.c.serial.in_(chunk), *_live(now))
                )
                certified.update(found.all())
            for ids in _chunks(sorted(keys)):
                kept = await connection.scalars(
                    sa.select(ssh_keys.c.id).where(ssh_keys.c.id.in_(ids))
                )
                registered.update(kept.all())
        return frozenset(certified), frozenset(registered)


def _live(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        ssh_certificates.c.issued_at <= now,
        ssh_certificates.c.expires_at > now,
        logins.c.expires_at > now,
    )


def _key(row: sa.Row[Any]) -> RegisteredKey:
    return RegisteredKey(
        row.id,
        row.person,
        row.fingerprint,
        row.public_key,
        row.label,
        decode(row.shown, Authentication),
        row.added_at,
        row.last_used_at,
    )


def _chunks(values: Sequence[T]) -> list[Sequence[T]]:
    return [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]
