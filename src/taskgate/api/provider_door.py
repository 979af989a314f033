"""What the doors for identity providers of every kind do alike: who may try how often, and what is
written down of those who came in, did not, or were signed out."""

from __future__ import annotations

from typing import ClassVar, Protocol

from fastapi import Request

from taskgate.api.access import me_of
from taskgate.api.caller import client_address
from taskgate.api.problems import TooMany
from taskgate.api.shapes import LoggedIn
from taskgate.gateway.parts import Parts
from taskgate.gateway.rates import Rates, source_of
from taskgate.gateway.signals import Signals
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits
from taskgate.model.errors import NotAuthenticated
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity


class Vouched(Protocol):
    """Somebody for whom a provider vouched. `leave` signs out there too; sealed, empty for
    nothing."""

    @property
    def identity(self) -> Identity: ...

    @property
    def provider(self) -> str: ...

    @property
    def lasts_s(self) -> float: ...

    @property
    def leave(self) -> str: ...


class ProviderDoor:
    """Sign-ins by providers of one `kind`, as records name it."""

    kind: ClassVar[str]

    def __init__(self, parts: Parts, signals: Signals) -> None:
        self._parts = parts
        self._signals = signals
        self._sources = Rates(limits.MAX_LOGINS_PER_SOURCE_PER_MIN)
        self._often = Rates(limits.MAX_EXCHANGES_PER_SOURCE_PER_MIN)

    def knock(self, request: Request, *, often: bool = False) -> str:
        """The source's address, if it may try now. `often` is for what proves nothing and comes
        often: a device that asks whether its person is done, an office that begins together.

        Raises: TooMany.
        """
        source = client_address(request)
        rates = self._often if often else self._sources
        wait_s = rates.wait_s(source_of(source), self._parts.clock.monotonic())
        if wait_s > 0:
            raise TooMany(wait_s)
        return source

    async def refused(
        self, error: NotAuthenticated, source: str, flow: str, provider: str | None = None
    ) -> None:
        """Writes a failed sign-in or logout down. Raises: NotRecorded."""
        self._signals.login_failed(self.kind)
        why = error.why if isinstance(error, TokenRefused) else error.message
        facts = {"door": self.kind, "flow": flow}
        if provider is not None:
            facts["provider"] = provider
        facts |= {"from": source, "reason": why}
        await self._parts.records.log(EventKind.LOGIN_FAILED, None, facts)

    async def _let_in(self, found: Vouched, source: str, flow: str, application: str) -> LoggedIn:
        """An API token for whom a provider vouched. Raises: NotAuthenticated, NotRecorded."""
        parts = self._parts
        facts = {"door": self.kind, "flow": flow, "provider": found.provider, "from": source}
        await parts.records.log(EventKind.LOGIN, found.identity, facts)
        issued = await parts.people.logins.issue(
            found.identity, found.lasts_s, source=source, application=application
        )
        return LoggedIn(
            token=issued.token,
            expires_at=issued.login.expires_at,
            me=me_of(parts.policies.current, found.identity),
            leave=found.leave,
        )

    async def _signed_out(
        self, provider: str, key: str, source: str, flow: str, *, grants: bool
    ) -> None:
        """Ends what rests on `key` (`Identity.rests_on`), which a provider has signed out. Raises:
        NotRecorded, where it could not be written down; it has happened all the same."""
        why = f"{provider} signed them out"
        facts = {
            "door": self.kind, "flow": flow, "provider": provider, "from": source, "object": key,
            "reason": why,
        }  # fmt: skip
        try:
            await self._parts.records.log(EventKind.LOGOUT, None, facts)
        finally:
            # Taking rights away waits for nothing.
            await self._parts.people.grants.cut_off(key, why, grants_too=grants)
