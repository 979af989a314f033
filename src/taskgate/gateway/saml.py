"""SAML sign-ins and logouts, built from the configuration."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from taskgate.gateway.config import Config
from taskgate.gateway.foundation import State
from taskgate.gateway.saml_config import SamlKey
from taskgate.gateway.secrets import Secrets
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.saml.logout import Logouts
from taskgate.identity.saml.provider import SamlProviders
from taskgate.identity.saml.settings import OwnKey
from taskgate.identity.saml.sign_in import SamlSignIns
from taskgate.identity.saml.signatures import MIN_RSA_BITS
from taskgate.model.errors import BadConfig
from taskgate.model.resource import SecretRef
from taskgate.model.secret import Secret

_KEY: Final = "taskgate/saml-key"
_KEY_BITS: Final = 3072
# Providers keep the certificate as it was given to them; it is only ever compared.
_CERTIFICATE_LASTS: Final = datetime.timedelta(days=10 * 365)


@dataclass(frozen=True, slots=True)
class Saml:
    """The providers, and what goes on with them."""

    providers: SamlProviders
    sign_ins: SamlSignIns
    logouts: Logouts


@asynccontextmanager
async def open_saml(
    config: Config, state: State, sealer: Sealer, base_url: str
) -> AsyncIterator[Saml | None]:
    """None where no provider is configured. Raises: BadConfig, StoreUnavailable."""
    if not config.saml:
        yield None
        return
    key = await _own_key(config, state)
    store, clock = state.store, state.clock
    providers = SamlProviders((one.settings() for one in config.saml), key, base_url, clock)
    try:
        await providers.prepare()
        sign_ins = SamlSignIns(
            providers, sealer, store.once, base_url, clock, console=config.api.console
        )
        logouts = Logouts(providers, sealer, store.once, clock)
        yield Saml(providers, sign_ins, logouts)
    finally:
        await providers.close()


async def _own_key(config: Config, state: State) -> OwnKey:
    if config.saml_key is not None:
        return await _configured(config.saml_key, state.secrets)
    if all(one.name != _KEY for one in await state.secrets.list()):
        # One for all nodes, whichever is first.
        made = Secret(await asyncio.to_thread(_made, config.node))
        await state.secrets.set_once(_KEY, made, by="taskgate", now=state.clock.now())
    pem = (await state.secrets.get(SecretRef("store", _KEY))).reveal_bytes()
    return OwnKey(_private(pem), x509.load_pem_x509_certificate(pem[pem.index(_CERTIFICATE) :]))


_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


async def _configured(section: SamlKey, secrets: Secrets) -> OwnKey:
    key = _private((await secrets.get(section.key.ref())).reveal_bytes())
    try:
        pem = await asyncio.to_thread(section.cert.read_bytes)
        certificate = x509.load_pem_x509_certificate(pem)
    except (OSError, ValueError) as error:
        raise BadConfig(f"saml_key: cannot use the certificate {section.cert}: {error}") from None
    if certificate.public_key() != key.public_key():
        raise BadConfig("saml_key: the certificate is not that of the key")
    return OwnKey(key, certificate)


def _private(pem: bytes) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise BadConfig(
            "saml_key: the key cannot be read", hint="PEM, without a password"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
        raise BadConfig(f"saml_key: the key must be RSA, of {MIN_RSA_BITS} bits or more")
    return key


def _made(node: str) -> bytes:
    key = rsa.generate_private_key(65537, _KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"taskgate {node}"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _CERTIFICATE_LASTS)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
