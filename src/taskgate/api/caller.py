"""Who is calling the API: a bearer token in the Authorization header, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from taskgate.api.problems import TooMany
from taskgate.gateway.parts import Parts
from taskgate.gateway.rates import Rates, source_of
from taskgate.gateway.signals import Signals
from taskgate.identity.oidc.compact import looks_like_jwt
from taskgate.model import limits
from taskgate.model.errors import Denied, NotAuthenticated
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.policy.roles import Scope, holds, scope_of
from taskgate.policy.rules import Policy, Right

_REFUSED = "not signed in, or the sign-in has ended"
_HINT = "sign in with taskgate login, and send its token as Authorization: Bearer ..."
MAX_TOKEN_CHARS = limits.MAX_JWT_CHARS


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody signed in. `token` is what they signed in with."""

    identity: Identity
    token: str = field(repr=False)

    @property
    def key(self) -> str:
        return self.identity.key


def parts_of(request: Request) -> Parts:
    """The gateway behind this application."""
    parts: Parts = request.app.state.parts
    return parts


PartsHere = Annotated[Parts, Depends(parts_of)]


async def caller_of(request: Request, parts: PartsHere) -> Caller:
    """A sign-in of the gateway's own, or a token straight from an identity provider.

    Raises: NotAuthenticated, the same whatever was wrong; StoreUnavailable;
    ProviderUnavailable.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_CHARS:
        raise NotAuthenticated(_REFUSED, hint=_HINT)
    source = client_address(request)
    try:
        if looks_like_jwt(token):
            return Caller(await parts.outside.direct.identify(token, source), token)
        return Caller(await parts.people.logins.check(token), token)
    except NotAuthenticated:
        tries: BearerTries = request.app.state.bearer_tries
        await tries.failed(parts, source)
        raise


class BearerTries:
    """Tokens that were refused: counted by source, and recorded while there are not too many.

    Whoever has a good one is never kept waiting by others at the same address.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._sources = Rates(limits.MAX_BAD_TOKENS_PER_SOURCE_PER_MIN)

    async def failed(self, parts: Parts, source: str) -> None:
        """Raises: TooMany, NotRecorded."""
        self._signals.login_failed("bearer")
        wait_s = self._sources.wait_s(source_of(source), parts.clock.monotonic())
        if wait_s > 0:
            raise TooMany(wait_s)
        facts = {"door": "bearer", "from": source}
        await parts.records.log(EventKind.LOGIN_FAILED, None, facts)


CallerHere = Annotated[Caller, Depends(caller_of)]


def may(policy: Policy, identity: Identity, *rights: Right, task: str | None = None) -> bool:
    """Whether the policy gives this person any of `rights`: over `task`, or over everything."""
    return any(holds(policy, identity, right, task) for right in rights)


def need(policy: Policy, identity: Identity, *rights: Right) -> None:
    """Raises: Denied where the policy gives this person none of `rights` over everything."""
    if not may(policy, identity, *rights):
        raise _missing(rights, " over all tasks" if scope_of(policy, identity, *rights) else "")


def need_scope(policy: Policy, identity: Identity, *rights: Right) -> Scope:
    """What any of `rights` reaches for this person. Raises: Denied where that is nothing."""
    scope = scope_of(policy, identity, *rights)
    if not scope:
        raise _missing(rights)
    return scope


def _missing(rights: tuple[Right, ...], where: str = "") -> Denied:
    names = " or ".join(right.value for right in rights)
    return Denied(
        f"this needs the right to {names}{where}",
        rule="roles",
        hint=f"a Role in the policy with may: [{rights[0].value}] gives it",
    )


def client_address(request: Request) -> str:
    """Where the connection comes from; empty where it cannot be told."""
    return request.client.host if request.client is not None else ""
