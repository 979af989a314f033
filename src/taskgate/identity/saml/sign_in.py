"""Signing a person in at a SAML provider, for the command line and for the console.

The browser carries everything: a sealed cookie holds what this gateway asked and of whom, so that
an answer counts only in the browser that was sent to get it, on any node. What the browser brings
back becomes a code, good once and for a minute, and only for whoever has the verifier that the
sign-in began with (as with RFC 7636): the command, or the console behind the same cookie.

Sources: SAML 2.0 profiles section 4.1, bindings sections 3.4 and 3.5; RFC 8252; RFC 7636.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import msgspec

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.saml.assertion import Assertion, Expected, NameId
from taskgate.identity.saml.messages import Envelope, authn_request
from taskgate.identity.saml.people import identity_of
from taskgate.identity.saml.provider import SamlProvider, SamlProviders
from taskgate.identity.saml.redirects import decoded, redirect_to
from taskgate.identity.saml.response import read_response
from taskgate.identity.saml.settings import SamlSettings
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig
from taskgate.model.identity import Identity
from taskgate.model.ports import OnceStore

LEAVE: Final = "saml-leave"
LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback\Z")
# The cookie must stay below what browsers keep.
_MAX_NEXT_CHARS: Final = 500
_MAX_LEAVE_CHARS: Final = 1_000
_CONTEXT: Final = re.compile(r"[!-~]{1,255}\Z")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class Begun:
    """A command's sign-in: the browser opens `url`, and comes back with a code and `state`."""

    url: str
    state: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the browser goes now, and the cookie that it keeps meanwhile."""

    url: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who it is, how long the sign-in is to last, the page to go on with, and what signs out at
    the provider too (sealed; empty: nothing)."""

    identity: Identity
    provider: str
    lasts_s: float
    next: str
    leave: str = field(repr=False)


class Leave(msgspec.Struct):
    """What a sign-in's holder keeps to sign out at the provider."""

    provider: str
    name: NameId
    index: str


class _Asked(msgspec.Struct):
    """What a command asked for, in the address that its browser opens."""

    provider: str
    redirect: str
    state: str
    challenge: str
    fresh: bool
    contexts: tuple[str, ...]
    until: float


class _Flow(msgspec.Struct):
    """A browser's cookie. `verifier` is the console's own; a command keeps its."""

    provider: str
    request: str
    relay: str
    redirect: str
    state: str
    challenge: str
    verifier: str
    next: str
    until: float


class _Arrived(msgspec.Struct):
    """What a code stands for."""

    provider: str
    identity: Identity
    lasts_until: float
    challenge: str
    next: str
    leave: str


class SamlSignIns:
    """Begins and finishes sign-ins."""

    def __init__(
        self,
        providers: SamlProviders,
        sealer: Sealer,
        once: OnceStore,
        base_url: str,
        clock: Clock,
        *,
        console: bool,
    ) -> None:
        self._providers = providers
        self._sealer = sealer
        self._once = once
        self._base_url = base_url
        self._clock = clock
        self._console = console

    async def begin(
        self,
        name: str,
        redirect: str,
        challenge: str,
        *,
        fresh: bool = False,
        demand: SignInDemand | None = None,
    ) -> Begun:
        """For a command, which listens at `redirect` and keeps the verifier of `challenge`.
        `fresh` asks the provider to make the person prove themselves anew, `demand` to do it as a
        task wants. Whether it did so, the task's own check tells.

        Raises: NotFound, BadConfig, ProviderUnavailable.
        """
        match = LOOPBACK.match(redirect)
        if match is None or int(match.group(2)) > 65535:
            raise BadConfig("the redirect must be http://127.0.0.1:PORT/callback")
        if not _CHALLENGE.match(challenge):
            raise BadConfig("the challenge must be the S256 of a verifier (RFC 7636)")
        provider = self._providers.named(name)
        await self._location(provider)
        fresh, contexts = _asking(provider.settings, demand, fresh=fresh)
        state, until = secrets.token_urlsafe(32), self._clock.now() + limits.SIGN_IN_FLOW_S
        asked = _Asked(name, redirect, state, challenge, fresh, contexts, until)
        query = urlencode({"flow": self._sealer.seal("saml-asked", asked)})
        return Begun(f"{self._base_url}/saml/start?{query}", state)

    async def start(self, flow: str) -> Sent:
        """The command's browser is here. Raises: TokenRefused, NotFound, ProviderUnavailable."""
        asked = self._sealer.open("saml-asked", flow, _Asked)
        if self._clock.now() >= asked.until:
            raise TokenRefused("the sign-in took too long")
        return await self._send(
            asked.provider,
            asked.redirect,
            asked.state,
            asked.challenge,
            fresh=asked.fresh,
            contexts=asked.contexts,
        )

    async def start_console(self, name: str, next_page: str) -> Sent:
        """Raises: NotFound, BadConfig, ProviderUnavailable."""
        verifier = secrets.token_urlsafe(32)
        return await self._send(
            name,
            _console(name),
            "",
            challenge_of(verifier),
            verifier=verifier,
            next_page=next_page[:_MAX_NEXT_CHARS],
        )

    async def arrive(self, name: str, response: str, relay: str, cookie: str) -> Sent:
        """The provider sent the browser back with `response`. The browser goes on with a code;
        the cookie is a new one for a sign-in that nobody asked for, else the same.

        Raises: TokenRefused, NotFound, ProviderUnavailable, StoreUnavailable, OverLimit.
        """
        provider = self._providers.named(name)
        flow = self._begun(provider, relay, cookie)
        metadata = await provider.metadata()
        now = self._clock.now()
        expected = Expected(
            issuer=provider.settings.entity_id,
            audience=provider.own.entity_id,
            recipient=provider.own.assertion_url,
            in_response_to=flow.request or None,
            now=now,
        )
        keys = (self._providers.key.key,)
        found = await asyncio.to_thread(
            read_response, decoded(response), expected, metadata.certificates, keys
        )
        contexts, stronger = provider.settings.contexts, provider.settings.mfa_contexts
        # Not what a command asked for: anybody may begin one.
        if contexts and found.context not in (*contexts, *stronger):
            raise TokenRefused("the person did not sign in by any of the ways asked for")
        # An answer to this gateway's request cannot be older than the request; one that nobody
        # asked for can, and a provider's clock that is ahead must not outlive a cut-off.
        skew_s = 0.0 if flow.request else limits.CLOCK_SKEW_S
        at = max(0.0, min(found.authenticated_at, now) - skew_s)
        identity = identity_of(provider.settings, provider.own.entity_id, found, at)
        await self._spend(provider, found, flow)
        leave = self._leave(provider, found) if metadata.logout_url else ""
        code = await self._keep(provider, found, identity, flow, leave)
        query = urlencode({"code": code} | ({"state": flow.state} if flow.state else {}))
        cookie = cookie if flow.request else self._sealer.seal("saml-flow", flow)
        return Sent(f"{flow.redirect}?{query}", cookie)

    def gave_up(self, cookie: str) -> str:
        """Where a command's browser goes when its sign-in failed; "" where nobody waits."""
        try:
            flow = self._sealer.open("saml-flow", cookie, _Flow)
        except TokenRefused:
            return ""
        if not LOOPBACK.match(flow.redirect) or self._clock.now() >= flow.until:
            return ""
        query = urlencode({"error": "access_denied", "state": flow.state})
        return f"{flow.redirect}?{query}"

    async def finish(self, code: str, verifier: str) -> SignedIn:
        """The person behind a code. Raises: TokenRefused, StoreUnavailable."""
        kept = await self._once.take(once_name("code", code), self._clock.now())
        if kept is None:
            raise TokenRefused("the code is not known, was used before, or is too old")
        arrived = msgspec.json.decode(kept, type=_Arrived)
        if not hmac.compare_digest(challenge_of(verifier), arrived.challenge):
            raise TokenRefused("the code belongs to another sign-in")
        return SignedIn(
            arrived.identity,
            arrived.provider,
            arrived.lasts_until - self._clock.now(),
            arrived.next,
            arrived.leave,
        )

    async def finish_console(self, code: str, cookie: str) -> SignedIn:
        """The same for the console, whose verifier is in the browser's cookie."""
        return await self.finish(code, self._sealer.open("saml-flow", cookie, _Flow).verifier)

    async def _send(
        self,
        name: str,
        redirect: str,
        state: str,
        challenge: str,
        *,
        fresh: bool = False,
        contexts: tuple[str, ...] = (),
        verifier: str = "",
        next_page: str = "",
    ) -> Sent:
        provider = self._providers.named(name)
        location = await self._location(provider)
        now = self._clock.now()
        # An ID must begin with a letter or "_" (xs:ID), and be unguessable (core 1.3.4).
        request, relay = f"_{secrets.token_hex(20)}", secrets.token_urlsafe(32)
        message = authn_request(
            Envelope(request, now, location, provider.own.entity_id),
            provider.own.assertion_url,
            name_id_format=provider.settings.name_id_format,
            contexts=contexts or provider.settings.contexts,
            fresh=fresh,
        )
        url = redirect_to(location, message, relay, self._providers.key.key, request=True)
        until = now + limits.SIGN_IN_FLOW_S
        flow = _Flow(name, request, relay, redirect, state, challenge, verifier, next_page, until)
        return Sent(url, self._sealer.seal("saml-flow", flow))

    async def _location(self, provider: SamlProvider) -> str:
        metadata = await provider.metadata()
        if not metadata.sign_in_url:
            raise BadConfig(
                f"the provider {provider.settings.name} has no sign-in by HTTP-Redirect",
                hint="its metadata must list a SingleSignOnService with that binding",
            )
        return metadata.sign_in_url

    def _begun(self, provider: SamlProvider, relay: str, cookie: str) -> _Flow:
        """The sign-in that this answer can belong to: the browser's own, or, where that is
        switched on, one that nobody asked for. Raises: TokenRefused."""
        now = self._clock.now()
        try:
            flow = self._sealer.open("saml-flow", cookie, _Flow)
        except TokenRefused:
            flow = None
        if (
            flow is not None
            and flow.request
            and flow.provider == provider.settings.name
            and now < flow.until
            and hmac.compare_digest(flow.relay.encode(), relay.encode("utf-8", "replace"))
        ):
            return flow
        if not provider.settings.unsolicited:
            raise TokenRefused("this browser asked for no such sign-in, or it took too long")
        if not self._console:
            raise TokenRefused("nobody asked for this sign-in, and there is no console to go to")
        verifier = secrets.token_urlsafe(32)
        return _Flow(
            provider=provider.settings.name,
            request="",
            relay="",
            redirect=_console(provider.settings.name),
            state="",
            challenge=challenge_of(verifier),
            verifier=verifier,
            next="",
            until=now + limits.SIGN_IN_FLOW_S,
        )

    async def _spend(self, provider: SamlProvider, found: Assertion, flow: _Flow) -> None:
        """An assertion is good once, and so is a request. Raises: TokenRefused, OverLimit."""
        now, name = self._clock.now(), provider.settings.name
        if not await self._once.add(once_name("assertion", name, found.id), b"", found.until, now):
            raise TokenRefused("the assertion was used before")
        if flow.request and not await self._once.add(
            once_name("request", name, flow.request), b"", flow.until, now
        ):
            raise TokenRefused("the sign-in was used before")

    def _leave(self, provider: SamlProvider, found: Assertion) -> str:
        name = found.name_id
        # With more, it would not fit into a cookie.
        if name is None or len(name.value) + len(found.session_index) > _MAX_LEAVE_CHARS:
            return ""
        kept = Leave(provider.settings.name, name, found.session_index)
        return self._sealer.seal(LEAVE, kept)

    async def _keep(
        self,
        provider: SamlProvider,
        found: Assertion,
        identity: Identity,
        flow: _Flow,
        leave: str,
    ) -> str:
        now = self._clock.now()
        lasts_until = now + provider.settings.sign_in_s
        if found.session_until is not None:
            lasts_until = min(lasts_until, found.session_until)
        code = secrets.token_urlsafe(32)
        arrived = _Arrived(
            provider.settings.name, identity, lasts_until, flow.challenge, flow.next, leave
        )
        kept = msgspec.json.encode(arrived)
        await self._once.add(once_name("code", code), kept, now + limits.SAML_CODE_S, now)
        return code


def _asking(
    settings: SamlSettings, demand: SignInDemand | None, *, fresh: bool
) -> tuple[bool, tuple[str, ...]]:
    """Whether the person is to prove themselves anew, and by which classes. Raises: BadConfig."""
    if demand is None:
        return fresh, ()
    contexts = demand.acr or (settings.mfa_contexts if demand.mfa else ())
    if any(not _CONTEXT.match(one) for one in contexts):
        raise BadConfig("a class of AuthnContext is 1 to 255 characters without spaces")
    # SAML cannot ask for a sign-in of the last so many minutes, only for a new one; and with
    # no class to ask for, the provider would just repeat what it has.
    return fresh or demand.within_s is not None or (demand.mfa and not contexts), contexts


def _console(name: str) -> str:
    """Where the console waits for a browser that comes back."""
    return f"/console/saml/{name}/in"


def challenge_of(verifier: str) -> str:
    """RFC 7636 section 4.2, S256."""
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def once_name(*parts: str) -> str:
    """A name that no other parts give, of one length."""
    return hashlib.sha256("\0".join(("saml", *parts)).encode("utf-8", "replace")).hexdigest()
