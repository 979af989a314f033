"""Local users, and how often signing in as them has failed."""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from taskgate.model.account import Backoff, User
from taskgate.model.errors import Conflict, NotFound
from taskgate.model.identity import IdentityKind
from taskgate.store.database import Database
from taskgate.store.encoding import decode_any, encode
from taskgate.store.revoking import cut_off
from taskgate.store.schema import attempts, departures, users

_ISSUER = "local"


class SqlUsers:
    """`model.ports.UserStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User) -> None:
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    sa.insert(users).values(
                        name=user.name,
                        password_hash=user.password_hash,
                        groups=encode(user.groups),
                        created_at=user.created_at,
                        disabled=user.disabled,
                        kind=user.kind.value,
                        acts_for=user.acts_for or None,
                    )
                )
        except Conflict:
            raise Conflict(f"there is a user {user.name} already") from None

    async def get(self, name: str) -> User | None:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(users).where(users.c.name == name))
            row = found.one_or_none()
            return _user(row) if row is not None else None

    async def list(self) -> tuple[User, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(users).order_by(users.c.name))
            return tuple(_user(row) for row in found)

    async def set_password(self, name: str, password_hash: str, at: float) -> None:
        await self._change(name, at, "the password was changed", password_hash=password_hash)

    async def rehash(self, name: str, old_hash: str, new_hash: str) -> bool:
        async with self._database.write() as connection:
            changed = await connection.execute(
                sa.update(users)
                .where(users.c.name == name, users.c.password_hash == old_hash)
                .values(password_hash=new_hash)
            )
            return changed.rowcount == 1

    async def set_groups(self, name: str, groups: frozenset[str], at: float) -> None:
        async with self._database.write() as connection:
            before = await connection.scalar(
                sa.select(users.c.groups).where(users.c.name == name).with_for_update()
            )
            if before is None:
                raise _unknown(name)
            await connection.execute(
                sa.update(users).where(users.c.name == name).values(groups=encode(groups))
            )
            if decode_any(before, frozenset[str]) - groups:
                person = f"{_ISSUER}:{name}"
                why = "a group was taken away"
                await cut_off(self._database, connection, person, at, why)

    async def set_disabled(self, name: str, disabled: bool, at: float) -> None:
        why = "the user was disabled" if disabled else ""
        await self._change(name, at, why, disabled=disabled)

    async def _change(self, name: str, at: float, cut_why: str, **values: Any) -> None:
        async with self._database.write() as connection:
            changed = await connection.execute(
                sa.update(users).where(users.c.name == name).values(**values)
            )
            if changed.rowcount != 1:
                raise _unknown(name)
            person = f"{_ISSUER}:{name}"
            if values.get("disabled") is False and await connection.scalar(
                sa.select(departures.c.person).where(departures.c.alike == person)
            ):
                raise Conflict(
                    f"{name} was offboarded", hint=f"taskgate reinstate {name} lets them in again"
                )
            if cut_why:
                await cut_off(self._database, connection, person, at, cut_why)


class SqlAttempts:
    """`model.ports.AttemptStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, limits: Mapping[str, Backoff], now: float) -> float:
        # In one order everywhere, so that two sign-ins cannot wait for each other's rows.
        keys = sorted(limits)
        async with self._database.write() as connection:
            await connection.execute(sa.delete(attempts).where(attempts.c.forget_at <= now))
            for key in keys:
                await connection.execute(
                    self._database.insert(attempts)
                    .values(key=key, failures=0, last_at=now, blocked_until=0.0, forget_at=now)
                    .on_conflict_do_nothing()
                )
            found = await connection.execute(
                sa.select(attempts)
                .where(attempts.c.key.in_(keys))
                .order_by(attempts.c.key)
                .with_for_update()
            )
            rows = {row.key: row for row in found}
            wait_s = max(min(rows[key].blocked_until - now, limits[key].most_s) for key in keys)
            if wait_s > 0:
                return float(wait_s)
            for key in keys:
                failures = rows[key].failures + 1
                pause_s = limits[key].wait_s(failures)
                await connection.execute(
                    sa.update(attempts)
                    .where(attempts.c.key == key)
                    .values(
                        failures=failures,
                        last_at=now,
                        blocked_until=now + pause_s if pause_s else 0.0,
                        forget_at=now + max(pause_s, limits[key].forget_s),
                    )
                )
            return 0.0

    async def succeeded(self, clear: str, forgive: Collection[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(sa.delete(attempts).where(attempts.c.key == clear))
            for key in sorted(forgive):
                await connection.execute(
                    sa.update(attempts)
                    .where(attempts.c.key == key, attempts.c.failures > 0)
                    .values(failures=attempts.c.failures - 1)
                )


def _user(row: sa.Row[Any]) -> User:
    return User(
        name=row.name,
        password_hash=row.password_hash,
        groups=decode_any(row.groups, frozenset[str]),
        created_at=row.created_at,
        disabled=row.disabled,
        kind=IdentityKind(row.kind),
        acts_for=row.acts_for or "",
    )


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no user {name}", hint="taskgate users lists them")
