"""Single logout: this gateway's sign-ins and the provider's session end together.

Messages travel by signed query strings, both ways. A logout ends sign-ins; grants go on until
they end or are revoked, as with `taskgate logout`.

Source: SAML 2.0 profiles section 4.4, core section 3.7.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.assertion import NameId, check_issuer, name_id_of
from taskgate.identity.saml.messages import Envelope, logout_request, logout_response
from taskgate.identity.saml.names import (
    ISSUER,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    NAME_ID,
    SAMLP,
)
from taskgate.identity.saml.provider import SamlProvider, SamlProviders
from taskgate.identity.saml.redirects import Redirected, parse_redirected, redirect_to
from taskgate.identity.saml.response import check_status
from taskgate.identity.saml.sign_in import SignedIn, once_name
from taskgate.identity.saml.xml import (
    Element,
    children_of,
    id_of,
    instant_of,
    only_child,
    parse_message,
    text_of,
)
from taskgate.model import limits
from taskgate.model.account import Login, ProviderSession
from taskgate.model.clock import Clock
from taskgate.model.ports import LoginStore, OnceStore, ProviderSessionStore

Ended = Callable[[Login], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Logouts:
    """`logins` and `sessions` are the store's."""

    providers: SamlProviders
    sessions: ProviderSessionStore
    logins: LoginStore
    once: OnceStore
    clock: Clock

    async def note(self, login: Login, signed_in: SignedIn) -> None:
        """Remembers which session at the provider `login` rests on. Raises: StoreUnavailable."""
        if signed_in.name_id is not None:
            name = _written(signed_in.name_id)
            session = ProviderSession(
                login.token_hash, signed_in.provider, name, signed_in.session_index,
                login.expires_at,
            )  # fmt: skip
            await self.sessions.add(session, self.clock.now())

    async def leave(self, token_hash: str) -> str:
        """Where the browser must go so that the provider's session ends as well, "" where the
        sign-in rests on none, or its provider has no logout. The sign-in itself is the caller's
        to end. Raises: ProviderUnavailable, StoreUnavailable."""
        session = await self.sessions.get(token_hash)
        if session is None or session.provider not in self.providers.names:
            return ""
        provider = self.providers.named(session.provider)
        location = (await provider.metadata()).logout_url
        if not location:
            return ""
        await self.sessions.remove(token_hash)
        name = msgspec.json.decode(session.name.encode(), type=NameId)
        message = logout_request(self._envelope(provider, location), name, session.index)
        return redirect_to(location, message, "", self.providers.key.key, request=True)

    async def arrive(self, name: str, query: str, ended: Ended) -> str:
        """A provider's message by the browser's query string: a request, which ends the person's
        sign-ins, is answered at the address given back; after an answer to ours it is "".

        `ended` is told of each sign-in before it is gone.
        Raises: TokenRefused, NotFound, ProviderUnavailable, StoreUnavailable, OverLimit.
        """
        provider = self.providers.named(name)
        metadata = await provider.metadata()
        found = parse_redirected(query, metadata.certificates)
        root = parse_message(found.message)
        until = self._check(root, provider, found)
        if not found.is_request:
            check_status(root)
            return ""
        used = once_name("logout", name, id_of(root))
        if not await self.once.add(used, b"", until, self.clock.now()):
            raise TokenRefused("the request was used before")
        await self._end(root, provider, ended)
        location = metadata.logout_answer_url
        if not location:
            return ""
        envelope = self._envelope(provider, location)
        answer = logout_response(envelope, id_of(root), done=True)
        key = self.providers.key.key
        return redirect_to(location, answer, found.relay, key, request=False)

    def _check(self, root: Element, provider: SamlProvider, found: Redirected) -> float:
        """When it is over. Raises: TokenRefused."""
        if root.tag != (LOGOUT_REQUEST if found.is_request else LOGOUT_RESPONSE):
            raise TokenRefused("the message is no logout")
        if root.get("Version") != "2.0":
            raise TokenRefused("the message is not of SAML 2.0")
        check_issuer(only_child(root, ISSUER), provider.settings.entity_id)
        if root.get("Destination") != provider.own.logout_url:
            raise TokenRefused("the message is for another destination")
        now, issued_at = self.clock.now(), instant_of(root, "IssueInstant")
        if issued_at is None or issued_at > now + limits.CLOCK_SKEW_S:
            raise TokenRefused("the message is of no time, or of the future")
        told, longest = instant_of(root, "NotOnOrAfter"), issued_at + limits.SIGN_IN_FLOW_S
        until = limits.CLOCK_SKEW_S + (longest if told is None else min(told, longest))
        if now >= until:
            raise TokenRefused("the message has expired")
        return until

    async def _end(self, root: Element, provider: SamlProvider, ended: Ended) -> None:
        name = _written(name_id_of(only_child(root, NAME_ID)))
        indexes = {text_of(one) for one in children_of(root, f"{{{SAMLP}}}SessionIndex")}
        for session in await self.sessions.find(provider.settings.name, name, indexes):
            login = await self.logins.get(session.token_hash)
            if login is not None:
                await ended(login)
                await self.logins.end(session.token_hash)
            await self.sessions.remove(session.token_hash)

    def _envelope(self, provider: SamlProvider, location: str) -> Envelope:
        message_id = f"_{secrets.token_hex(20)}"
        return Envelope(message_id, self.clock.now(), location, provider.own.entity_id)


def _written(name: NameId) -> str:
    return msgspec.json.encode(name).decode()
