"""One issuer: where it says it is (discovery), and its keys, kept and renewed.

Keys are not fetched once a sign-in. They are kept for `limits.PROVIDER_KEYS_TTL_S`; a token signed
by a key nobody knows sends for them sooner, but only so often, because anybody can invent a `kid`.
All who wait for a fetch wait for the same one, and a failure is remembered: a provider that is
down or slow delays nobody twice. While it is, the old keys count on for
`limits.PROVIDER_KEYS_STALE_S`, then none do.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from taskgate.identity.oidc.compact import CompactToken, parse_object
from taskgate.identity.oidc.fetching import Fetcher, NoAnswer, ensure_fetchable
from taskgate.identity.oidc.keys import BadKeys, KeyRing, is_signed_by, parse_keys
from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.model import limits
from taskgate.model.clock import Clock

_log = structlog.get_logger(__name__)
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What discovery tells (OpenID Connect Discovery 1.0 section 3). Empty where it does not.

    `basic` says that a client's secret goes into the Authorization header; `answers_iss` that the
    answer to a sign-in names its issuer (RFC 9207).
    """

    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_endpoint: str = ""
    end_session_endpoint: str = ""
    basic: bool = True
    answers_iss: bool = False


def discovery_of(issuer: str) -> str:
    """Where an issuer's discovery document is (Discovery section 4)."""
    return issuer.removesuffix("/") + _WELL_KNOWN


class Issuer:
    """`jwks_uri` is given where the issuer has no discovery; else it is found by it."""

    def __init__(self, issuer: str, fetcher: Fetcher, clock: Clock, jwks_uri: str = "") -> None:
        self.issuer = issuer
        self._fetcher = fetcher
        self._clock = clock
        self._fixed = Metadata(jwks_uri) if jwks_uri else None
        self._metadata: Metadata | None = None
        self._ring: KeyRing | None = None
        self._fetched_at = 0.0
        self._failed_at: float | None = None
        self._failure = ""
        self._under_way: asyncio.Task[None] | None = None
        self._hunts = float(limits.PROVIDER_KEY_HUNTS)
        self._hunted_at = 0.0

    async def verify(self, token: CompactToken) -> None:
        """That one of the issuer's keys signed the token.

        Raises: TokenRefused, ProviderUnavailable.
        """
        ring = await self._keys()
        candidates = ring.candidates(token.header)
        if not candidates and self._may_hunt():
            await self._renew()
            ring = self._ring or ring
            candidates = ring.candidates(token.header)
        if not candidates:
            raise TokenRefused("the issuer shows no such key")
        if not any(is_signed_by(token, key) for key in candidates):
            raise TokenRefused("the token's signature is not the issuer's")

    async def metadata(self) -> Metadata:
        """Raises: ProviderUnavailable."""
        await self._keys()
        if self._metadata is None:
            raise ProviderUnavailable(self.issuer, "its discovery document was not read")
        return self._metadata

    def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _keys(self) -> KeyRing:
        age_s = self._clock.monotonic() - self._fetched_at
        if self._ring is None or age_s > limits.PROVIDER_KEYS_TTL_S:
            try:
                await self._renew()
            except ProviderUnavailable:
                if self._ring is None or age_s > limits.PROVIDER_KEYS_STALE_S:
                    raise
        if self._ring is None:
            raise ProviderUnavailable(self.issuer, "it shows no keys")
        return self._ring

    async def _renew(self) -> None:
        """Fetches, or joins a fetch. Raises: ProviderUnavailable."""
        if self._under_way is None:
            now = self._clock.monotonic()
            if self._failed_at is not None and now - self._failed_at < limits.PROVIDER_RETRY_S:
                raise ProviderUnavailable(self.issuer, self._failure)
            self._under_way = asyncio.create_task(self._fetch(), name="fetch an issuer's keys")
        # The fetch outlives whoever asked first: others wait for it too.
        await asyncio.shield(self._under_way)
        if self._failed_at is not None:
            raise ProviderUnavailable(self.issuer, self._failure)

    async def _fetch(self) -> None:
        try:
            metadata = self._fixed or await self._discover()
            answer = await self._fetcher.get(metadata.jwks_uri, limits.MAX_JWKS_BYTES)
            if answer.status != 200:
                raise NoAnswer(f"its keys come with HTTP status {answer.status}")
            # Both change together or not at all.
            ring = parse_keys(answer.body)
            self._metadata, self._ring = metadata, ring
            self._fetched_at, self._failed_at = self._clock.monotonic(), None
        except (NoAnswer, BadKeys) as error:
            self._failed_at, self._failure = self._clock.monotonic(), str(error)
            _log.warning("provider.unavailable", issuer=self.issuer, why=self._failure)
        finally:
            self._under_way = None

    async def _discover(self) -> Metadata:
        answer = await self._fetcher.get(discovery_of(self.issuer))
        if answer.status != 200:
            raise NoAnswer(f"its discovery document comes with HTTP status {answer.status}")
        try:
            found = parse_object(answer.body)
        except TokenRefused:
            raise NoAnswer("its discovery document is no JSON object") from None
        # Section 4.3: otherwise one provider could speak for another.
        if found.get("issuer") != self.issuer:
            raise NoAnswer("its discovery document is another issuer's")
        methods = found.get("token_endpoint_auth_methods_supported")
        return Metadata(
            jwks_uri=self._address(found, "jwks_uri", needed=True),
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            device_endpoint=self._address(found, "device_authorization_endpoint"),
            end_session_endpoint=self._address(found, "end_session_endpoint"),
            basic=not isinstance(methods, list) or "client_secret_basic" in methods,
            answers_iss=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _may_hunt(self) -> bool:
        """Takes one of the few fetches that unknown keys may cause."""
        now = self._clock.monotonic()
        gained = (now - self._hunted_at) / limits.PROVIDER_KEY_HUNT_S
        self._hunts = min(float(limits.PROVIDER_KEY_HUNTS), self._hunts + max(0.0, gained))
        self._hunted_at = now
        if self._hunts < 1.0:
            return False
        self._hunts -= 1.0
        return True

    def _address(self, found: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
        value = found.get(name)
        if value is None and not needed:
            return ""
        try:
            if not isinstance(value, str):
                raise ValueError
            ensure_fetchable(value, name)
            # A provider elsewhere does not send us to this machine's own services.
            if self.issuer.startswith("https:") and not value.startswith("https:"):
                raise ValueError
        except ValueError:
            raise NoAnswer(f"its discovery document has no usable {name}") from None
        return value
