"""The SAML providers of this gateway, and what is known of each: its metadata, kept current."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from taskgate.identity.oidc.fetching import Fetcher, NoAnswer
from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.identity.saml.metadata import IdpMetadata, own_metadata, parse_metadata
from taskgate.identity.saml.settings import Own, OwnKey, SamlSettings
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig, NotFound

_log = structlog.get_logger(__name__)
_LEAST_KEPT_S: Final = 60.0


class SamlProvider:
    """One provider. Its metadata is read anew each `limits.SAML_METADATA_TTL_S`, or sooner where
    it asks for that; known metadata counts until it says it ends, or for
    `limits.SAML_METADATA_STALE_S` where it does not."""

    def __init__(
        self, settings: SamlSettings, own: Own, fetcher: Fetcher | None, clock: Clock
    ) -> None:
        self.settings = settings
        self.own = own
        self._fetcher = fetcher
        self._clock = clock
        self._signers = _signers(settings)
        self._reading = asyncio.Lock()
        self._known: IdpMetadata | None = None
        self._read_at = 0.0
        self._asked_at: float | None = None
        self._why = ""

    async def metadata(self) -> IdpMetadata:
        """Raises: ProviderUnavailable where there is none that counts now."""
        if self._due():
            async with self._reading:
                if self._due():
                    await self._read()
        known, now = self._known, self._clock.now()
        if known is None:
            raise ProviderUnavailable(self.settings.entity_id, self._why)
        if known.valid_until is not None and now >= known.valid_until:
            why = self._why or "its metadata has expired"
            raise ProviderUnavailable(self.settings.entity_id, why)
        if self._clock.monotonic() - self._read_at > limits.SAML_METADATA_STALE_S:
            raise ProviderUnavailable(self.settings.entity_id, self._why)
        return known

    async def prepare(self) -> None:
        """At the start: a file that cannot be used is told now, an address that does not answer
        is asked again later. Raises: BadConfig."""
        await self._read()
        if self._known is None and isinstance(self.settings.metadata, Path):
            raise BadConfig(
                f"the metadata of the SAML provider {self.settings.name} cannot be used:"
                f" {self._why}",
                hint=f"see {self.settings.metadata}",
            )

    def _due(self) -> bool:
        now = self._clock.monotonic()
        if self._asked_at is not None and now - self._asked_at < limits.PROVIDER_RETRY_S:
            return False
        known = self._known
        if known is None:
            return True
        kept_s = limits.SAML_METADATA_TTL_S
        if known.cache_s is not None:
            kept_s = max(_LEAST_KEPT_S, min(kept_s, known.cache_s))
        over = known.valid_until is not None and self._clock.now() >= known.valid_until
        return over or now - self._read_at >= kept_s

    async def _read(self) -> None:
        self._asked_at = self._clock.monotonic()
        try:
            data = await self._source()
            found = await asyncio.to_thread(
                parse_metadata, data, self.settings.entity_id, self._signers
            )
        except (NoAnswer, OSError) as error:
            self._why = f"its metadata cannot be had: {error}"
        except TokenRefused as error:
            self._why = f"its metadata cannot be used: {error.why}"
        else:
            self._known, self._read_at, self._why = found, self._clock.monotonic(), ""
            return
        _log.warning("saml.metadata_unread", provider=self.settings.name, why=self._why)

    async def _source(self) -> bytes:
        """Raises: NoAnswer, OSError."""
        source = self.settings.metadata
        if isinstance(source, Path) or self._fetcher is None:
            return await asyncio.to_thread(_file, Path(source))
        answer = await self._fetcher.get(source, limits.MAX_SAML_METADATA_BYTES)
        if answer.status != 200:
            raise NoAnswer(f"HTTP status {answer.status}")
        return answer.body


class SamlProviders:
    """All of them, by name, and the one key that this gateway shows to each. `close` when done."""

    def __init__(
        self, settings: Iterable[SamlSettings], key: OwnKey, base_url: str, clock: Clock
    ) -> None:
        """Raises: BadConfig where a file cannot be used."""
        self.key = key
        self._fetchers: dict[Path | None, Fetcher] = {}
        self._by_name: dict[str, SamlProvider] = {}
        for one in settings:
            fetcher = None
            if isinstance(one.metadata, str):
                fetcher = self._fetchers.get(one.ca_file)
                if fetcher is None:
                    fetcher = self._fetchers[one.ca_file] = Fetcher(one.ca_file)
            own = own_of(one, base_url)
            self._by_name[one.name] = SamlProvider(one, own, fetcher, clock)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def named(self, name: str) -> SamlProvider:
        """Raises: NotFound, with the names there are: a sign-in page shows them as well."""
        found = self._by_name.get(name)
        if found is None:
            names = ", ".join(sorted(self._by_name))
            raise NotFound(
                "there is no SAML provider of that name",
                hint=f"there are: {names}" if names else "none is configured; use a local user",
            )
        return found

    def own_metadata(self, name: str) -> bytes:
        """This gateway's metadata for that provider. Raises: NotFound."""
        provider = self.named(name)
        return own_metadata(provider.own, self.key.certificate, provider.settings.name_id_format)

    async def prepare(self) -> None:
        """Raises: BadConfig."""
        for provider in self._by_name.values():
            await provider.prepare()

    async def close(self) -> None:
        for fetcher in self._fetchers.values():
            await fetcher.close()


def own_of(settings: SamlSettings, base_url: str) -> Own:
    """This gateway's name and addresses at one provider."""
    base = f"{base_url}/saml/{settings.name}"
    return Own(settings.own_entity_id or f"{base}/metadata", f"{base}/acs", f"{base}/slo")


def _signers(settings: SamlSettings) -> tuple[x509.Certificate, ...]:
    path = settings.metadata_certificate
    if path is None:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(_file(path)))
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot use the certificate {path}: {error}") from None


def _file(path: Path) -> bytes:
    if path.stat().st_size > limits.MAX_SAML_METADATA_BYTES:
        raise OSError(f"{path} is larger than {limits.MAX_SAML_METADATA_BYTES} bytes")
    return path.read_bytes()
