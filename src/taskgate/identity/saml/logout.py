"""Single logout: this gateway's sign-ins and the provider's session end together.

Messages travel by signed query strings, both ways.

Source: SAML 2.0 profiles section 4.4, core section 3.7.
"""

import secrets
from dataclasses import dataclass

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.saml.assertion import check_issuer, name_id_of
from taskgate.identity.saml.messages import Envelope, logout_request, logout_response
from taskgate.identity.saml.names import (
    ISSUER,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    NAME_ID,
    SAMLP,
)
from taskgate.identity.saml.people import session_of, subject_named
from taskgate.identity.saml.provider import SamlProvider, SamlProviders
from taskgate.identity.saml.redirects import Redirected, parse_redirected, redirect_to
from taskgate.identity.saml.response import check_status
from taskgate.identity.saml.sign_in import LEAVE, Leave, once_name
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
from taskgate.model.clock import Clock
from taskgate.model.identity import session_key
from taskgate.model.ports import OnceStore

_MAX_INDEXES = 100


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider's message says. `keys` are an `Identity.key` or `session_key`s, with the end
    of which ends what rests on them, grants too if `grants`; none for an answer to our own
    request. The browser then goes to `answer`, "" for nowhere."""

    provider: str
    keys: tuple[str, ...]
    grants: bool
    answer: str


class Logouts:
    """Both ways of signing out."""

    def __init__(
        self, providers: SamlProviders, sealer: Sealer, once: OnceStore, clock: Clock
    ) -> None:
        self._providers = providers
        self._sealer = sealer
        self._once = once
        self._clock = clock

    async def leave(self, sealed: str) -> str:
        """Where a browser ends the session at the provider that a sign-in came from; "" where the
        provider has no such place. Raises: TokenRefused, NotFound, ProviderUnavailable."""
        kept = self._sealer.open(LEAVE, sealed, Leave)
        provider = self._providers.named(kept.provider)
        location = (await provider.metadata()).logout_url
        if not location:
            return ""
        message = logout_request(self._envelope(provider, location), kept.name, kept.index)
        return redirect_to(location, message, "", self._providers.key.key, request=True)

    async def told(self, name: str, query: str) -> Told:
        """A provider's message, as a browser brought it in its query string. A request is good
        once. Raises: TokenRefused, NotFound, ProviderUnavailable, StoreUnavailable, OverLimit."""
        provider = self._providers.named(name)
        metadata = await provider.metadata()
        found = parse_redirected(query, metadata.certificates)
        root = parse_message(found.message)
        until = self._check(root, provider, found)
        if not found.is_request:
            check_status(root)
            return Told(name, (), False, "")
        keys = _whom(root, provider)
        used = once_name("logout", name, id_of(root))
        if not await self._once.add(used, b"", until, self._clock.now()):
            raise TokenRefused("the request was used before")
        location, answer = metadata.logout_answer_url, ""
        if location:
            message = logout_response(self._envelope(provider, location), id_of(root))
            key = self._providers.key.key
            answer = redirect_to(location, message, found.relay, key, request=False)
        return Told(name, keys, provider.settings.logout_ends_grants, answer)

    def _check(self, root: Element, provider: SamlProvider, found: Redirected) -> float:
        """When it is over. Raises: TokenRefused."""
        if root.tag != (LOGOUT_REQUEST if found.is_request else LOGOUT_RESPONSE):
            raise TokenRefused("the message is no logout")
        if root.get("Version") != "2.0":
            raise TokenRefused("the message is not of SAML 2.0")
        check_issuer(only_child(root, ISSUER), provider.settings.entity_id)
        if root.get("Destination") != provider.own.logout_url:
            raise TokenRefused("the message is for another destination")
        now, issued_at = self._clock.now(), instant_of(root, "IssueInstant")
        if issued_at is None or issued_at > now + limits.CLOCK_SKEW_S:
            raise TokenRefused("the message is of no time, or of the future")
        told, longest = instant_of(root, "NotOnOrAfter"), issued_at + limits.SIGN_IN_FLOW_S
        until = limits.CLOCK_SKEW_S + (longest if told is None else min(told, longest))
        if now >= until:
            raise TokenRefused("the message has expired")
        return until

    def _envelope(self, provider: SamlProvider, location: str) -> Envelope:
        message_id = f"_{secrets.token_hex(20)}"
        return Envelope(message_id, self._clock.now(), location, provider.own.entity_id)


def _whom(root: Element, provider: SamlProvider) -> tuple[str, ...]:
    """Raises: TokenRefused."""
    settings = provider.settings
    name = name_id_of(only_child(root, NAME_ID))
    indexes = [text_of(one) for one in children_of(root, f"{{{SAMLP}}}SessionIndex")]
    if len(indexes) > _MAX_INDEXES:
        raise TokenRefused(f"the request names more than {_MAX_INDEXES} sessions")
    if indexes:
        sessions = dict.fromkeys(session_of(name, index) for index in indexes)
        return tuple(session_key(settings.name, session) for session in sessions)
    if settings.subject:
        # People are known here by an attribute, which a logout request does not have.
        raise TokenRefused(
            "the request has no SessionIndex, and people are not known by their NameID here"
        )
    return (f"{settings.name}:{subject_named(settings, provider.own.entity_id, name)}",)
