"""Callers whom somebody outside vouches for: people by OpenID providers, jobs by their platforms.

Whoever comes with a token straight from there is let in by this; each new grant and each first
use of a token is an event, written before anything rests on it.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from taskgate.gateway.config import Config
from taskgate.gateway.foundation import Foundation
from taskgate.gateway.saml import Saml, open_saml
from taskgate.identity.grants import Grants, Issued, PolicySource, task_open_to
from taskgate.identity.oidc.issuer import discovery_of
from taskgate.identity.oidc.logout import Logouts
from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.oidc.sign_in import SignIns
from taskgate.identity.proof import ProvenGrants
from taskgate.identity.proven_logins import ProvenLogins
from taskgate.identity.workloads import Workloads
from taskgate.model.clock import Clock
from taskgate.model.errors import Denied, NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.secret import Secret
from taskgate.model.token import GrantSelector
from taskgate.protocols.postgres.oauth_bearer import BearerOffer, Offers
from taskgate.recording.journal import Journal
from taskgate.recording.opening import identity_facts

_SEALING_KEY: Final = "taskgate/sign-in-key"
_DIRECT: Final = "direct"
_UNNAMED: Final = "signed in directly"
_MAX_NAMED_CHARS: Final = 200


class Direct:
    """Tokens straight from a provider, where a grant's or a sign-in's would stand."""

    def __init__(
        self,
        providers: Providers,
        proven: ProvenGrants,
        logins: ProvenLogins,
        grants: Grants,
        policy: PolicySource,
        events: Events,
    ) -> None:
        self._providers = providers
        self._proven = proven
        self._logins = logins
        self._grants = grants
        self._policy = policy
        self._events = events

    async def grant(
        self, token: str, task_name: str, application: str, provider: str = ""
    ) -> Grant:
        """The grant of a task that a provider's token takes up by itself; with `provider`, only
        one of that provider's.

        Raises: TokenRefused, Denied (who, hours, or the task wants a stated reason),
        ProviderUnavailable, NotAuthenticated, OverLimit, NotRecorded, StoreUnavailable.
        """
        proof = await self._providers.prove(token)
        if provider and proof.identity.issuer != provider:
            raise TokenRefused("the token is another provider's than the user name says")
        identity = await self._grants.as_listed(proof.identity)
        # First, so that a task that is not theirs is refused like one that is not there.
        task = task_open_to(
            self._policy.current, identity, task_name, None, self._events.clock.now()
        )
        if not task.direct:
            raise Denied(
                f"task {task_name} is not taken up by a provider's token alone",
                rule=f"{task_name}/direct",
                hint=f'taskgate request {task_name} --reason "..." gives a token to use instead',
            )
        grant, fresh = await self._proven.take_up(
            proof, task_name, _reason(application), use=_DIRECT
        )
        if fresh:
            await self._events.granted(grant)
        return grant

    async def identify(self, token: str, source: str) -> Identity:
        """Who a provider's token speaks of, for the API.

        Raises: TokenRefused, ProviderUnavailable, NotAuthenticated, NotRecorded,
        StoreUnavailable.
        """
        proof = await self._providers.prove(token)
        known = await self._logins.known(proof)
        if known is not None:
            return known
        await self._events.log(
            EventKind.LOGIN, proof.identity, {"door": "api", "from": source, "method": "direct"}
        )
        return await self._logins.admit(proof, source)


class Exchange:
    """Workloads' tokens for grants."""

    def __init__(self, workloads: Workloads, events: Events) -> None:
        self._workloads = workloads
        self._events = events

    async def exchange(self, token: str, task_name: str, resource: str | None) -> Issued:
        """See `Workloads.exchange`. Raises also: NotRecorded."""
        issued, fresh = await self._workloads.exchange(token, task_name, resource)
        if fresh:
            await self._events.granted(issued.grant)
        else:
            await self._events.log(
                EventKind.TOKEN_ISSUED, issued.grant.identity, {"grant": issued.grant.id}
            )
        return issued


@dataclass(frozen=True, slots=True)
class Outside:
    """All of it. `offers` are the providers whose access tokens PostgreSQL clients may get by
    themselves."""

    sign_ins: SignIns
    logouts: Logouts
    direct: Direct
    exchange: Exchange
    saml: Saml | None
    offers: Offers


@asynccontextmanager
async def open_outside(
    config: Config, foundation: Foundation, grants: Grants, logins: ProvenLogins, base_url: str
) -> AsyncIterator[Outside]:
    """`base_url` is where browsers reach the API. Raises: BadConfig, StoreUnavailable."""
    state, policies = foundation.state, foundation.policies
    clock = state.clock
    sealer = Sealer(await _sealing_key(foundation))
    events = Events(foundation.journal, grants, clock)
    proven = ProvenGrants(grants, state.store.grants, policies, clock)
    providers = Providers((one.settings(state.secrets.get) for one in config.oidc), clock)
    workloads = Workloads(proven, grants, policies, clock)
    try:
        async with open_saml(config, state, sealer, base_url) as saml:
            yield Outside(
                SignIns(providers, sealer, clock),
                Logouts(providers, sealer, state.store.once, clock),
                Direct(providers, proven, logins, grants, policies, events),
                Exchange(workloads, events),
                saml,
                _offers(config),
            )
    finally:
        await providers.close()
        await workloads.close()


def _offers(config: Config) -> Offers:
    """The providers that PostgreSQL clients may get an access token from by themselves."""
    return {
        one.name: BearerOffer(discovery_of(one.issuer), " ".join(one.direct.scopes))
        for one in config.oidc
        if one.direct is not None and one.direct.audiences
    }


class Events:
    """What is written into the gateway's own log of callers from outside."""

    def __init__(self, journal: Journal, grants: Grants, clock: Clock) -> None:
        self._journal = journal
        self._grants = grants
        self.clock = clock

    async def log(self, kind: EventKind, who: Identity, facts: dict[str, Any]) -> None:
        """Durably. Raises: NotRecorded."""
        log = self._journal.gateway_log
        log.append(Event(kind, self.clock.now(), identity_facts(who) | facts))
        await log.settle()

    async def granted(self, grant: Grant) -> None:
        """Raises: NotRecorded; then the grant has ended."""
        facts = {
            "grant": grant.id,
            "task": grant.task,
            "resources": list(grant.resources),
            "reason": grant.reason,
            "expires_at": grant.expires_at,
        }
        try:
            await self.log(EventKind.GRANT_ISSUED, grant.identity, facts)
        except NotRecorded:
            await self._grants.revoke(GrantSelector(grant_id=grant.id), "it was not recorded")
            raise


def _reason(application: str) -> str:
    """A client names itself as it likes, so the name stands behind what is surely true."""
    named = " ".join("".join(c if c.isprintable() else " " for c in application).split())
    return f"{_UNNAMED}: {named[:_MAX_NAMED_CHARS]}" if named else _UNNAMED


async def _sealing_key(foundation: Foundation) -> bytes:
    """One key for all nodes: a sign-in may begin at one and end at another."""
    state = foundation.state
    made = Secret(randomness.token_hex(32))
    now = state.clock.now()
    return (await state.secrets.set_once(_SEALING_KEY, made, by="taskgate", now=now)).reveal_bytes()
