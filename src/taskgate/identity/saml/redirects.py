"""Messages in query strings: the HTTP-Redirect binding (SAML 2.0 bindings, section 3.4). Pure."""

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_plus

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.signatures import check_query, signed_query
from taskgate.model import limits

_KINDS: Final = ("SAMLRequest", "SAMLResponse")
_NAMES: Final = frozenset({*_KINDS, "RelayState", "SigAlg", "Signature", "SAMLEncoding"})
_DEFLATE: Final = "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"
_PLAIN: Final = re.compile(r"[\x21-\x7e]*\Z")


@dataclass(frozen=True, slots=True)
class Redirected:
    """A message that came by a query string, its signature checked."""

    message: bytes = field(repr=False)
    is_request: bool
    relay: str


def redirect_to(
    location: str, message: bytes, relay: str, key: rsa.RSAPrivateKey, *, request: bool
) -> str:
    """Where to send a browser so that it brings `message`, signed, to `location`."""
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    raw = squeezed.compress(message) + squeezed.flush()
    query = f"{_KINDS[not request]}={quote(base64.b64encode(raw).decode(), safe='')}"
    if relay:
        query += f"&RelayState={quote(relay, safe='')}"
    return f"{location}{'&' if '?' in location else '?'}{signed_query(query, key)}"


def parse_redirected(query: str, certificates: Sequence[x509.Certificate]) -> Redirected:
    """A signed message out of a query string as it came (still encoded).

    Raises: TokenRefused, also for one that is not signed.
    """
    if len(query) > 2 * limits.MAX_SAML_BYTES or not _PLAIN.match(query):
        raise TokenRefused("the address is no SAML message")
    raw: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in raw:
            raise TokenRefused(f"{name} is given twice")
        if name not in _NAMES:
            raise TokenRefused("the address holds more than a SAML message")
        raw[name] = value
    kinds = [name for name in _KINDS if name in raw]
    if len(kinds) != 1:
        raise TokenRefused("the address holds no SAML message, or two")
    if "SigAlg" not in raw or "Signature" not in raw:
        raise TokenRefused("the message is not signed")
    if unquote_plus(raw.get("SAMLEncoding", _DEFLATE)) != _DEFLATE:
        raise TokenRefused("the message is encoded in a way that is not taken")
    kind = kinds[0]
    order = (kind, "RelayState", "SigAlg") if "RelayState" in raw else (kind, "SigAlg")
    signed = "&".join(f"{name}={raw[name]}" for name in order)
    check_query(signed, unquote_plus(raw["SigAlg"]), unquote_plus(raw["Signature"]), certificates)
    message = inflated(decoded(unquote_plus(raw[kind])))
    return Redirected(message, kind == "SAMLRequest", unquote_plus(raw.get("RelayState", "")))


def decoded(text: str) -> bytes:
    """Base64, as forms and query strings have it. Raises: TokenRefused."""
    if len(text) > 2 * limits.MAX_SAML_BYTES:
        raise TokenRefused(f"the message is larger than {limits.MAX_SAML_BYTES} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise TokenRefused("the message is no base64") from None


def inflated(data: bytes) -> bytes:
    """Raises: TokenRefused, before more than the cap is unpacked."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = machine.decompress(data, limits.MAX_SAML_BYTES + 1)
    except zlib.error:
        raise TokenRefused("the message is not compressed as it should be") from None
    if len(found) > limits.MAX_SAML_BYTES or not machine.eof or machine.unused_data:
        raise TokenRefused("the message is not compressed as it should be, or too large")
    return found
