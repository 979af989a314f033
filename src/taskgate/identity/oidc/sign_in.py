"""Signing a person in at a provider: authorization code with PKCE, device flow, refresh.

The gateway is the provider's client, the command line only carries: it opens the browser, gets
the code on a loopback address, and hands both back. So a client secret stays with the gateway, and
a code is of no use to anybody who has not the sealed state of the sign-in that asked for it.

Sources: OpenID Connect Core 1.0; RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device
flow), RFC 9207 (iss in the answer), RFC 9700 (security best practices).
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from taskgate.identity.oidc.claims import check_access_hash, check_nonce
from taskgate.identity.oidc.compact import parse_compact, parse_object
from taskgate.identity.oidc.fetching import NoAnswer, ensure_fetchable
from taskgate.identity.oidc.issuer import Metadata
from taskgate.identity.oidc.logout import sealed_leave
from taskgate.identity.oidc.people import identity_of
from taskgate.identity.oidc.provider import Provider, Providers
from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.oidc.settings import ProviderSettings
from taskgate.model import limits
from taskgate.model.authentication import Authentication, SignInDemand
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig
from taskgate.model.identity import Identity

_REDIRECT: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback\Z")
_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_MAX_CODE_CHARS: Final = 4096
_LEAST_INTERVAL_S: Final = 1.0
METHOD: Final = "oidc"


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in to be finished in a browser. `flow` comes back with the code and `state`."""

    url: str
    state: str = field(repr=False)
    flow: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceBegun:
    """A sign-in to be finished on another device: the person types `user_code` at `url`.
    `complete_url` has it filled in, or is empty. Ask every `interval_s`, for `lasts_s`."""

    url: str
    complete_url: str
    user_code: str
    interval_s: float
    lasts_s: float
    flow: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who it is, how long the sign-in is to last, what renews it, and what signs out at the
    provider too (both sealed; empty: nothing)."""

    identity: Identity
    provider: str
    lasts_s: float
    refresh: str = field(repr=False)
    leave: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """The person has not finished yet; ask again in `interval_s`."""

    interval_s: float


class _Flow(msgspec.Struct):
    provider: str
    redirect: str
    state: str
    nonce: str
    verifier: str
    until: float
    page: str = ""


class _DeviceFlow(msgspec.Struct):
    provider: str
    code: str
    interval_s: float
    until: float


class _Refresh(msgspec.Struct):
    provider: str
    token: str
    subject: str
    authenticated_at: float
    until: float
    shown: Authentication = Authentication()


class SignIns:
    """Begins and finishes sign-ins. Nothing is kept between the two but which are spent."""

    def __init__(self, providers: Providers, sealer: Sealer, clock: Clock) -> None:
        self._providers = providers
        self._sealer = sealer
        self._clock = clock
        self._spent: OrderedDict[str, float] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """The providers that people may sign in at."""
        return self._providers.names

    async def begin(
        self,
        name: str,
        redirect: str,
        *,
        fresh: bool = False,
        demand: SignInDemand | None = None,
    ) -> Begun:
        """Where a command's browser must go; `redirect` is the loopback address that it comes back
        to. `fresh` asks the provider to make the person prove themselves anew, `demand` to do it
        as a task wants. Whether it did so, the task's own check tells.

        Raises: NotFound, BadConfig, ProviderUnavailable.
        """
        provider = self._providers.named(name)
        match = _REDIRECT.match(redirect)
        if match is None or int(match.group(2)) > 65535:
            raise BadConfig("the redirect must be http://127.0.0.1:PORT/callback")
        return await self._begin(provider, redirect, _asking(provider.settings, demand, fresh))

    async def begin_page(self, name: str, redirect: str, page: str) -> Begun:
        """The same for the gateway's own pages: `redirect` is one of them, and `page` is where the
        person goes on afterwards. The flow stays with the browser.

        Raises: NotFound, BadConfig, ProviderUnavailable.
        """
        provider = self._providers.named(name)
        return await self._begin(provider, redirect, _asking(provider.settings, None, False), page)

    async def _begin(
        self, provider: Provider, redirect: str, asking: dict[str, str], page: str = ""
    ) -> Begun:
        name = provider.settings.name
        metadata = await provider.issuer.metadata()
        if not metadata.authorization_endpoint or not metadata.token_endpoint:
            raise BadConfig(f"the provider {name} has no sign-in by browser", hint="try --device")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        query = {
            "response_type": "code",
            "client_id": provider.settings.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(provider.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        query |= asking
        endpoint = metadata.authorization_endpoint
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        until = self._clock.now() + limits.SIGN_IN_FLOW_S
        flow = _Flow(name, redirect, state, nonce, verifier, until, page)
        return Begun(url, state, self._sealer.seal("page" if page else "code", flow))

    async def finish(self, flow: str, code: str, state: str, iss: str | None) -> SignedIn:
        """The person behind a code. A flow is good for one try.

        Raises: TokenRefused, ProviderUnavailable, NotFound (the provider was taken away).
        """
        return await self._finish(self._sealer.open("code", flow, _Flow), code, state, iss)

    async def finish_page(
        self, name: str, flow: str, code: str, state: str, iss: str | None
    ) -> tuple[SignedIn, str]:
        """The same for a flow of `begin_page`, back at the address of the provider `name`; and the
        page to go on with."""
        begun = self._sealer.open("page", flow, _Flow)
        if begun.provider != name:
            raise TokenRefused("the answer is another provider's")
        return await self._finish(begun, code, state, iss), begun.page

    async def _finish(self, begun: _Flow, code: str, state: str, iss: str | None) -> SignedIn:
        self._spend(begun.state, begun.until)
        if not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
            raise TokenRefused("the answer belongs to another sign-in")
        if not code or len(code) > _MAX_CODE_CHARS:
            raise TokenRefused("the provider gave no code")
        provider = self._providers.named(begun.provider)
        metadata = await provider.issuer.metadata()
        if (iss is None and metadata.answers_iss) or iss not in (None, provider.settings.issuer):
            raise TokenRefused("the answer is another provider's")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect,
            "code_verifier": begun.verifier,
        }
        answer = await self._ask(provider, metadata, form)
        return await self._signed_in(provider, answer, nonce=begun.nonce)

    async def begin_device(self, name: str, demand: SignInDemand | None = None) -> DeviceBegun:
        """Raises: NotFound, BadConfig where the provider has no device flow,
        ProviderUnavailable, TokenRefused where it will not begin one."""
        provider = self._providers.named(name)
        metadata = await provider.issuer.metadata()
        if not metadata.device_endpoint or not metadata.token_endpoint:
            raise BadConfig(f"the provider {name} has no device flow", hint="use a browser")
        form = {"scope": " ".join(provider.settings.scopes)}
        # RFC 8628 takes what the authorization request does; a provider passes over what it
        # does not know.
        if demand is not None:
            form |= _asking(provider.settings, demand, False)
        found = await self._ask(provider, metadata, form, endpoint=metadata.device_endpoint)
        url, complete = _text(found, "verification_uri"), found.get("verification_uri_complete")
        complete_url = complete if isinstance(complete, str) else ""
        for shown in filter(None, (url, complete_url)):
            try:
                ensure_fetchable(shown, "verification_uri")
            except ValueError:
                raise _nonsense(provider) from None
        user_code = _text(found, "user_code")
        if len(user_code) > 64 or not user_code.isprintable():
            raise _nonsense(provider)
        lasts_s = min(_number(found, "expires_in", 300.0), limits.SIGN_IN_FLOW_S)
        interval_s = max(_LEAST_INTERVAL_S, min(_number(found, "interval", 5.0), 60.0))
        until = self._clock.now() + lasts_s
        flow = _DeviceFlow(name, _text(found, "device_code"), interval_s, until)
        sealed = self._sealer.seal("device", flow)
        return DeviceBegun(url, complete_url, user_code, interval_s, lasts_s, sealed)

    async def poll_device(self, flow: str) -> SignedIn | Pending:
        """Raises: TokenRefused (also where the person said no), ProviderUnavailable."""
        begun = self._sealer.open("device", flow, _DeviceFlow)
        if self._clock.now() >= begun.until:
            raise TokenRefused("the sign-in took too long")
        provider = self._providers.named(begun.provider)
        metadata = await provider.issuer.metadata()
        form = {"grant_type": _DEVICE_GRANT, "device_code": begun.code}
        try:
            answer = await self._ask(provider, metadata, form)
        except _Refusal as refusal:
            # RFC 8628 section 3.5.
            if refusal.error == "authorization_pending":
                return Pending(begun.interval_s)
            if refusal.error == "slow_down":
                return Pending(begun.interval_s + 5.0)
            raise
        return await self._signed_in(provider, answer, nonce=None)

    async def refresh(self, sealed: str) -> SignedIn:
        """The same person again, if the provider still says so. The new sign-in rests on the
        first one's authentication: who was cut off since does not come back in this way.

        Raises: TokenRefused, ProviderUnavailable, NotFound.
        """
        kept = self._sealer.open("refresh", sealed, _Refresh)
        if self._clock.now() >= kept.until:
            raise TokenRefused("the sign-in can be renewed no longer")
        provider = self._providers.named(kept.provider)
        metadata = await provider.issuer.metadata()
        form = {"grant_type": "refresh_token", "refresh_token": kept.token}
        answer = await self._ask(provider, metadata, form)
        return await self._signed_in(provider, answer, nonce=None, before=kept)

    # The provider's answers.

    async def _signed_in(
        self,
        provider: Provider,
        answer: dict[str, Any],
        *,
        nonce: str | None,
        before: _Refresh | None = None,
    ) -> SignedIn:
        settings, now = provider.settings, self._clock.now()
        token = parse_compact(_text(answer, "id_token"))
        claims, spans = await provider.check_id_token(token, now)
        if nonce is not None:
            check_nonce(claims, nonce)
        access = answer.get("access_token")
        check_access_hash(token, access if isinstance(access, str) else None)
        identity = identity_of(settings, claims, spans, METHOD)
        # It was made for this sign-in, so a clock that is ahead gains nothing.
        at, until = min(identity.authenticated_at, now), now + settings.refresh_s
        shown = identity.authentication
        if shown.auth_time is not None:
            shown = replace(shown, auth_time=min(shown.auth_time, now))
        if before is not None:
            # Core 12.2: the same subject, or it is somebody else's sign-in.
            if identity.subject != before.subject:
                raise TokenRefused("the provider renewed another person's sign-in")
            at, until = min(at, before.authenticated_at), before.until
            # Nobody was there to prove more than they had.
            shown = before.shown
        identity = replace(identity, authenticated_at=at, authentication=shown)
        refresh = answer.get("refresh_token") or (before.token if before is not None else None)
        sealed = ""
        if isinstance(refresh, str) and len(refresh) <= _MAX_CODE_CHARS:
            kept = _Refresh(settings.name, refresh, identity.subject, at, until, shown)
            sealed = self._sealer.seal("refresh", kept)
        leave = ""
        if (await provider.issuer.metadata()).end_session_endpoint:
            leave = sealed_leave(self._sealer, provider, _text(answer, "id_token"))
        return SignedIn(identity, settings.name, settings.sign_in_s, sealed, leave)

    async def _ask(
        self, provider: Provider, metadata: Metadata, form: dict[str, str], endpoint: str = ""
    ) -> dict[str, Any]:
        """One call of the token (or another) endpoint, as this client.

        Raises: TokenRefused, ProviderUnavailable.
        """
        settings = provider.settings
        headers: dict[str, str] = {}
        form = dict(form)
        if settings.secret is None:
            form["client_id"] = settings.client_id
        else:
            secret = (await settings.secret()).reveal()
            if metadata.basic:
                # RFC 6749 section 2.3.1: both are form-encoded first.
                pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
                encoded = base64.b64encode(pair.encode()).decode()
                headers["Authorization"] = f"Basic {encoded}"
            else:
                form |= {"client_id": settings.client_id, "client_secret": secret}
        try:
            answer = await provider.fetcher.post(endpoint or metadata.token_endpoint, form, headers)
        except NoAnswer as error:
            raise ProviderUnavailable(settings.issuer, str(error)) from None
        if answer.status >= 500:
            raise ProviderUnavailable(
                settings.issuer, f"it answers with HTTP status {answer.status}"
            )
        try:
            found = parse_object(answer.body)
        except TokenRefused:
            raise _nonsense(provider) from None
        if answer.status != 200:
            raise _Refusal(found.get("error"))
        return found

    def _spend(self, state: str, until: float) -> None:
        now = self._clock.now()
        if now >= until:
            raise TokenRefused("the sign-in took too long")
        while self._spent and next(iter(self._spent.values())) <= now:
            self._spent.popitem(last=False)
        if state in self._spent:
            raise TokenRefused("the sign-in was used before")
        self._spent[state] = until
        # Refusing here would let anybody keep everybody out; the provider, too, takes a code once.
        if len(self._spent) > limits.MAX_USED_SIGN_INS:
            self._spent.popitem(last=False)


class _Refusal(TokenRefused):
    """The provider says no (RFC 6749 section 5.2). `error` is its code."""

    def __init__(self, error: object) -> None:
        plain = isinstance(error, str) and re.fullmatch(r"[a-z_]{1,64}", error)
        self.error = str(error) if plain else "error"
        super().__init__(f"the provider refused: {self.error}")


def _asking(settings: ProviderSettings, demand: SignInDemand | None, fresh: bool) -> dict[str, str]:
    """How the person is to sign in, as the authorization request says it (Core 3.1.2.1)."""
    found: dict[str, str] = {}
    if demand is not None:
        acr = demand.acr or (settings.mfa_acr if demand.mfa else ())
        if demand.within_s is not None:
            found["max_age"] = str(int(demand.within_s))
        if acr:
            found["acr_values"] = " ".join(acr)
        # With nothing to ask for by name, the provider would just repeat the sign-in it has.
        fresh = fresh or (demand.mfa and not acr)
    prompt = " ".join(filter(None, ("login" if fresh else "", settings.prompt)))
    return found | ({"prompt": prompt} if prompt else {})


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"the provider's answer has no {name}")
    return value


def _number(found: dict[str, Any], name: str, default: float) -> float:
    value = found.get(name, default)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 < value <= 86400 else default


def _nonsense(provider: Provider) -> ProviderUnavailable:
    return ProviderUnavailable(provider.settings.issuer, "its answer cannot be read")
