"""The providers of this gateway, and what their tokens prove."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from taskgate.identity.oidc.claims import (
    ACCESS_TYPE,
    Spans,
    audiences_of,
    check_logout_type,
    check_parties,
    check_plain,
    check_times,
    issuer_of,
    type_of,
)
from taskgate.identity.oidc.compact import CompactToken, parse_compact
from taskgate.identity.oidc.fetching import Fetcher
from taskgate.identity.oidc.issuer import Issuer
from taskgate.identity.oidc.people import identity_of
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.settings import ProviderSettings
from taskgate.identity.proof import Proof
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import NotFound

DIRECT_METHOD = "oidc-token"


class Provider:
    """One provider: its settings, and its issuer with keys."""

    def __init__(self, settings: ProviderSettings, issuer: Issuer, fetcher: Fetcher) -> None:
        self.settings = settings
        self.issuer = issuer
        self.fetcher = fetcher

    async def check_id_token(
        self, token: CompactToken, now: float
    ) -> tuple[Mapping[str, Any], Spans]:
        """The claims of an ID token for this client, and its times; nonce and at_hash are for the
        caller, who knows what they should be. Raises: TokenRefused, ProviderUnavailable."""
        if type_of(token) == ACCESS_TYPE:
            raise TokenRefused("an access token is no ID token")
        if self.settings.client_id not in audiences_of(token.claims):
            raise TokenRefused("the token is for another audience")
        spans = await self._checked(token, now)
        check_parties(token.claims, {self.settings.client_id, *self.settings.parties})
        if spans.issued_at is None:
            raise TokenRefused("the token does not say when it was issued")
        return token.claims, spans

    async def check_direct(self, token: CompactToken, now: float) -> Proof:
        """What a token proves that came straight from the provider.

        Raises: TokenRefused, ProviderUnavailable.
        """
        settings = self.settings
        audiences = audiences_of(token.claims)
        if type_of(token) != ACCESS_TYPE and settings.client_id in audiences:
            if not settings.direct.id_tokens:
                raise TokenRefused("the provider's ID tokens are not taken directly")
            _, spans = await self.check_id_token(token, now)
        else:
            if not audiences & settings.direct.audiences:
                raise TokenRefused("the token is for another audience")
            spans = await self._checked(token, now)
        identity = identity_of(
            settings, token.claims, spans, DIRECT_METHOD, skew_s=limits.CLOCK_SKEW_S
        )
        return Proof(identity, token.digest, spans.until)

    async def check_logout_token(self, token: CompactToken, now: float) -> float:
        """Until when a logout token for this client would be taken; what it tells of is for the
        caller. Raises: TokenRefused, ProviderUnavailable."""
        check_logout_type(token)
        if self.settings.client_id not in audiences_of(token.claims):
            raise TokenRefused("the token is for another audience")
        spans = await self._verified(token, now)
        if spans.issued_at is None or now - spans.issued_at > limits.LOGOUT_TOKEN_S:
            raise TokenRefused("the logout token is old, or does not say when it was issued")
        return min(spans.until, spans.issued_at + limits.LOGOUT_TOKEN_S)

    async def _checked(self, token: CompactToken, now: float) -> Spans:
        check_plain(token.claims)
        return await self._verified(token, now)

    async def _verified(self, token: CompactToken, now: float) -> Spans:
        if issuer_of(token) != self.settings.issuer:
            raise TokenRefused("the token is another issuer's")
        # Cheap checks first: a token that is over sends for no keys.
        spans = check_times(token.claims, now)
        await self.issuer.verify(token)
        return spans


class Providers:
    """All of them, by name and by issuer. `close` when done."""

    def __init__(self, settings: Iterable[ProviderSettings], clock: Clock) -> None:
        """Raises: BadConfig where a CA file cannot be used."""
        self._clock = clock
        self._fetchers: dict[Path | None, Fetcher] = {}
        self._by_name: dict[str, Provider] = {}
        self._by_issuer: dict[str, Provider] = {}
        for one in settings:
            fetcher = self._fetchers.get(one.ca_file)
            if fetcher is None:
                fetcher = self._fetchers[one.ca_file] = Fetcher(one.ca_file)
            provider = Provider(one, Issuer(one.issuer, fetcher, clock), fetcher)
            self._by_name[one.name] = self._by_issuer[one.issuer] = provider

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def named(self, name: str) -> Provider:
        """Raises: NotFound, with the names there are: a sign-in page shows them as well."""
        found = self._by_name.get(name)
        if found is None:
            names = ", ".join(sorted(self._by_name))
            raise NotFound(
                "there is no identity provider of that name",
                hint=f"there are: {names}" if names else "none is configured; use a local user",
            )
        return found

    async def prove(self, text: str) -> Proof:
        """What a provider's own token proves. Raises: TokenRefused, ProviderUnavailable."""
        token = parse_compact(text)
        provider = self._by_issuer.get(issuer_of(token))
        if provider is None:
            raise TokenRefused("the token is of no provider known here")
        return await provider.check_direct(token, self._clock.now())

    async def close(self) -> None:
        for provider in self._by_name.values():
            provider.issuer.close()
        for fetcher in self._fetchers.values():
            await fetcher.close()
