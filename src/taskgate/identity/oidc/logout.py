"""Signing out: here and at the provider (RP-initiated), and because the provider says so
(back-channel).

Sources: OpenID Connect RP-Initiated Logout 1.0; OpenID Connect Back-Channel Logout 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from taskgate.identity.oidc.claims import MAX_SUBJECT_CHARS, session_in, subject_of
from taskgate.identity.oidc.compact import parse_compact
from taskgate.identity.oidc.provider import Provider, Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.tokens import hash_token
from taskgate.model.clock import Clock
from taskgate.model.identity import session_key
from taskgate.model.ports import OnceStore

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_PURPOSE: Final = "leave"
# With more, it would not fit into a cookie; the provider then asks whom it is to sign out.
_MAX_HINT_CHARS: Final = 2_000


class _Leave(msgspec.Struct):
    provider: str
    hint: str


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Whom a provider signed out. `key` is an `Identity.key`, or a `session_key`; with the end of
    either, what rests on it ends. `grants`: their grants as well, not their sign-ins alone."""

    provider: str
    key: str
    grants: bool


class Logouts:
    """Both ways of signing out."""

    def __init__(self, providers: Providers, sealer: Sealer, once: OnceStore, clock: Clock) -> None:
        self._providers = providers
        self._sealer = sealer
        self._once = once
        self._clock = clock

    async def leave(self, sealed: str, redirect: str = "") -> str:
        """Where a browser ends the session at the provider that a sign-in came from; "" where the
        provider has no such place. `redirect` is where it comes back to, if the provider knows it.

        Raises: TokenRefused, NotFound, ProviderUnavailable.
        """
        kept = self._sealer.open(_PURPOSE, sealed, _Leave)
        provider = self._providers.named(kept.provider)
        endpoint = (await provider.issuer.metadata()).end_session_endpoint
        if not endpoint:
            return ""
        query = {"client_id": provider.settings.client_id}
        if kept.hint:
            query["id_token_hint"] = kept.hint
        if redirect and provider.settings.logout_returns:
            query["post_logout_redirect_uri"] = redirect
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def told(self, name: str, text: str) -> LoggedOut:
        """Whom a provider's logout token is about. Good once.

        Raises: TokenRefused, NotFound, ProviderUnavailable, OverLimit, StoreUnavailable.
        """
        provider = self._providers.named(name)
        token = parse_compact(text)
        until = await provider.check_logout_token(token, self._clock.now())
        claims = token.claims
        # Section 2.6, points 5 to 8.
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
            raise TokenRefused("the token tells of no logout")
        if "nonce" in claims:
            raise TokenRefused("a logout token has no nonce")
        used = claims.get("jti")
        if not isinstance(used, str) or not 0 < len(used) <= MAX_SUBJECT_CHARS:
            raise TokenRefused("the logout token has no jti")
        found = LoggedOut(name, _whom(provider, claims), provider.settings.logout_ends_grants)
        once = hash_token("\0".join(("logout", name, used)))
        if not await self._once.add(once, b"", until, self._clock.now()):
            raise TokenRefused("the logout token was used before")
        return found


def sealed_leave(sealer: Sealer, provider: Provider, id_token: str) -> str:
    """What a sign-in's holder keeps to sign out at the provider; see `Logouts.leave`."""
    # The hint travels in an address, and may stay in a browser's history; where ID tokens open the
    # gate by themselves, it would be a key left in the door.
    fits = len(id_token) <= _MAX_HINT_CHARS and not provider.settings.direct.id_tokens
    kept = _Leave(provider.settings.name, id_token if fits else "")
    return sealer.seal(_PURPOSE, kept)


def _whom(provider: Provider, claims: Any) -> str:
    settings = provider.settings
    session = session_in(claims)
    if session:
        if "sub" in claims:
            subject_of(claims)
        return session_key(settings.name, session)
    if settings.subject_claim != "sub":
        # People are known here by another claim, which a logout token does not have.
        raise TokenRefused(
            "the logout token has no sid, and people are not known by their sub here"
        )
    return f"{settings.name}:{subject_of(claims)}"
