"""A provider's published keys (RFC 7517), and what a signature must be under one of them. Pure.

A key is found by the token's `kid` among the keys of its own issuer, and nowhere else: `jku`,
`x5u`, `jwk` and `x5c` in a token's header are never looked at. Only asymmetric algorithms exist
here, so a public key cannot be taken for a shared secret.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from taskgate.identity.oidc.compact import CompactToken, parse_object
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits

# alg -> (kty, crv); RFC 7518 section 3.1, RFC 8037, RFC 9864.
ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = {
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_PUBLIC_PARTS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
# RSA moduli of 2048 to 8192 bits: below is weak, above lets a key's owner burn our time.
_MODULUS_BYTES: Final = (256, 1024)
_MAX_EXPONENT_BYTES: Final = 4
# Keys tried for a token that names none, or a name that several keys share.
_MOST_TRIED: Final = 4
_MAX_KID_CHARS: Final = 512


class BadKeys(ValueError):
    """What a provider shows as its keys cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one issuer that may sign. Made whole, replaced whole."""

    keys: tuple[Mapping[str, Any], ...]
    by_kid: Mapping[str, tuple[Mapping[str, Any], ...]]

    def candidates(self, header: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """The keys that may have signed a token with this header; none where its `kid` is not
        known. Raises: TokenRefused where the header itself cannot be taken."""
        algorithm = algorithm_of(header)
        kid = header.get("kid")
        if kid is None:
            named: Sequence[Mapping[str, Any]] = self.keys
        elif isinstance(kid, str) and len(kid) <= _MAX_KID_CHARS:
            named = self.by_kid.get(kid, ())
        else:
            raise TokenRefused("the token's kid is no short text")
        fitting = tuple(key for key in named if _fits(key, algorithm))
        if len(fitting) > _MOST_TRIED:
            raise TokenRefused("the token does not say which of many keys signed it")
        return fitting


def algorithm_of(header: Mapping[str, Any]) -> str:
    """Raises: TokenRefused for an algorithm that is not allowed, or a header that asks for what
    is not understood (`crit`, RFC 7515 section 4.1.11; `b64`, RFC 7797)."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused("the token's algorithm is not one of those allowed")
    if "crit" in header or "b64" in header or "zip" in header:
        raise TokenRefused("the token's header asks for an extension")
    return algorithm


def parse_keys(data: bytes) -> KeyRing:
    """A JWK Set. Keys of other kinds are passed over, as RFC 7517 section 5 asks.

    Raises: BadKeys.
    """
    if len(data) > limits.MAX_JWKS_BYTES:
        raise BadKeys(f"its key set is larger than {limits.MAX_JWKS_BYTES} bytes")
    try:
        listed = parse_object(data).get("keys")
    except TokenRefused:
        raise BadKeys("its key set is no JSON object") from None
    if not isinstance(listed, list):
        raise BadKeys("its key set has no list of keys")
    if len(listed) > limits.MAX_JWKS_KEYS:
        raise BadKeys(f"its key set has more than {limits.MAX_JWKS_KEYS} keys")
    usable = tuple(key for key in listed if isinstance(key, dict) and _is_usable(key))
    if not usable:
        raise BadKeys("its key set has no key that could verify a signature")
    by_kid: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for key in usable:
        if isinstance(kid := key.get("kid"), str):
            by_kid[kid] = (*by_kid.get(kid, ()), key)
    return KeyRing(usable, by_kid)


def is_signed_by(token: CompactToken, key: Mapping[str, Any]) -> bool:
    """Whether this key, of `KeyRing.candidates`, made the token's signature."""
    algorithm = algorithm_of(token.header)
    # RFC 9864 gave EdDSA with Ed25519 the name it should have had.
    model = JWSRegistry.algorithms["Ed25519" if algorithm == "EdDSA" else algorithm]
    parts = {"kty": key["kty"], **{part: key[part] for part in _PUBLIC_PARTS[key["kty"]]}}
    try:
        imported = jwk.import_key(parts)
        model.check_key(imported)
        return bool(model.verify(token.signed, token.signature, imported))
    except (JoseError, ValueError, TypeError):
        return False


def _is_usable(key: Mapping[str, Any]) -> bool:
    kty = key.get("kty")
    parts = _PUBLIC_PARTS.get(kty) if isinstance(kty, str) else None
    if parts is None or not all(isinstance(key.get(part), str) for part in parts):
        return False
    operations = key.get("key_ops")
    if key.get("use", "sig") != "sig":
        return False
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return False
    if kty == "RSA":
        modulus, exponent = _length(key["n"]), _length(key["e"])
        least, most = _MODULUS_BYTES
        return least <= modulus <= most and 0 < exponent <= _MAX_EXPONENT_BYTES
    return any(kty == wanted and key["crv"] == crv for wanted, crv in ALGORITHMS.values())


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kty, crv = ALGORITHMS[algorithm]
    stated = key.get("alg")
    same = {"EdDSA", "Ed25519"}
    return (
        key["kty"] == kty
        and (not crv or key["crv"] == crv)
        and (stated is None or stated == algorithm or {stated, algorithm} <= same)
    )


def _length(text: str) -> int:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return 0
    return len(data.lstrip(b"\0"))
