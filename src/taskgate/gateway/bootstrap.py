"""The first administrator: a one-time code on the gateway's own terminal or log.

It is printed at a start that finds no administrator, is good once and for an hour, and gives
whoever uses it the rights to administer and to author, for a day: time enough to write the roles
that last.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from taskgate.gateway.alerts import Alerts
from taskgate.gateway.policies import Policies
from taskgate.gateway.records import Records
from taskgate.identity.local import ISSUER
from taskgate.identity.second_factors import hash_code, new_codes
from taskgate.model.account import User
from taskgate.model.bootstrap import BootstrapStore
from taskgate.model.clock import Clock
from taskgate.model.errors import NotAuthenticated, StoreUnavailable
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.policy.people import why_not_member
from taskgate.policy.rules import Right

FOLLOW_S = 2.0
CODE_S: Final = 3600.0
RIGHTS_S: Final = 86400.0
# Bound into the hash where a user's name stands for recovery codes; no user has it.
_PURPOSE = "first administrator"
_log = structlog.get_logger(__name__)


class Bootstrap:
    """Offers the code, and takes it."""

    def __init__(
        self,
        store: BootstrapStore,
        policies: Policies,
        records: Records,
        alerts: Alerts,
        clock: Clock,
    ) -> None:
        self._store = store
        self._policies = policies
        self._records = records
        self._alerts = alerts
        self._clock = clock

    async def start(self, users: tuple[User, ...], outside: bool) -> str:
        """Prints a fresh code if nobody can administer. `users` are the local users who may sign
        in, `outside` whether people may come in by a provider. The code, empty for none.

        Raises: StoreUnavailable.
        """
        await self._take_over()
        if await self._somebody(users, outside):
            return ""
        code = new_codes()[0]
        expires_at = self._clock.now() + CODE_S
        await self._store.offer(hash_code(_PURPOSE, code), expires_at)
        minutes = CODE_S / 60
        if sys.stderr.isatty():
            sys.stderr.write(
                f"\nNobody can administer this gateway yet. Within {minutes:g} minutes, run\n"
                f"    taskgate bootstrap NAME --server ADDRESS\n"
                f"and give it this code, which is good once:\n\n    {code}\n\n"
            )
        else:
            _log.warning(
                "bootstrap.code", code=code, minutes=minutes, next="taskgate bootstrap NAME"
            )
        return code

    async def ensure_right(self, code: str) -> None:
        """Raises: NotAuthenticated, the same whatever is wrong; StoreUnavailable."""
        if not await self._store.offered(hash_code(_PURPOSE, code), self._clock.now()):
            raise _refused()

    async def use(
        self, code: str, key: str, source: str, make: Callable[[], Awaitable[object]]
    ) -> None:
        """Makes `key` the first administrator. `make` is done in between, once the code is known
        to be right: it adds the person where they are not there yet.

        Raises: NotAuthenticated where the code is wrong, used or over; what `make` raises;
        NotRecorded, StoreUnavailable.
        """
        await self.ensure_right(code)
        await make()
        now = self._clock.now()
        facts = {
            "name": key, "from": source, "reason": "the one-time code was used",
            "rights": ["administer", "author"], "until": now + RIGHTS_S,
        }  # fmt: skip
        await self._records.log(EventKind.ADMINISTRATOR_BOOTSTRAPPED, None, facts)
        until = now + RIGHTS_S
        if not await self._store.use(hash_code(_PURPOSE, code), key, now, until):
            raise _refused()
        self._policies.entrust(key, until)
        await self._alerts.sound(
            "administrator.bootstrapped",
            f"{key} used the one-time code, from {source}, and administers for a day",
            person=key,
            task="",
            subject=key,
        )

    async def follow(self) -> None:
        """Never ends: takes over what another node was told."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                await self._take_over()
            except StoreUnavailable:
                continue

    async def _take_over(self) -> None:
        first = await self._store.first()
        if first is not None:
            self._policies.entrust(first.person, first.until)

    async def _somebody(self, users: tuple[User, ...], outside: bool) -> bool:
        policy = self._policies.current
        roles = [role for role in policy.roles.values() if Right.ADMINISTER in role.rights]
        if any(role.members.subjects and role.source == Policies.ENTRUSTED for role in roles):
            return True
        if outside and roles:
            # Whom a provider would bring cannot be known before they come.
            return True
        return any(
            not user.disabled
            and not why_not_member(
                role.members, Identity(user.name, ISSUER, user.kind, user.groups)
            )
            for user in users
            for role in roles
        )


def _refused() -> NotAuthenticated:
    return NotAuthenticated(
        "that is not the one-time code, or it was used, or its time is over",
        hint="the gateway prints one when it starts and finds no administrator",
    )
