"""SASL OAUTHBEARER at the gate: a client of PostgreSQL 18 signs in at its provider by itself.

The server asks for one way of signing in, before it hears which ones a client can; so the client
names its provider in the user name (`task@provider`), and whoever does not is asked for a
password as ever.

Source: RFC 7628; PostgreSQL documentation, "SASL Authentication" (OAUTHBEARER).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskgate.model.errors import NotAuthenticated, ProtocolViolation
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.authentication import encode_authentication_sasl
from taskgate.protocols.postgres.reader import INT32, Reader, frame

MECHANISM: Final = "OAUTHBEARER"
ASK: Final = encode_authentication_sasl([MECHANISM])
# What a client answers to a failure before it goes (RFC 7628 section 3.2.3).
ACKNOWLEDGED: Final = b"\x01"
_GS2: Final = re.compile(rb"[ny],(?P<authzid>[^,]*),\x01")
_PAIR: Final = re.compile(rb"(?P<key>[A-Za-z]+)=(?P<value>[\x09\x0a\x0d\x20-\x7e]*)\x01")
_BEARER: Final = re.compile(rb"bearer +(?P<token>[A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BearerOffer:
    """Where a client finds a provider, and what it asks it for: the discovery document's address,
    and scopes separated by spaces."""

    discovery: str
    scope: str


Offers = Mapping[str, BearerOffer]


def parse_initial(message: bytes) -> bytes | None:
    """The response in a SASLInitialResponse; None where the client sent none.

    Raises: ProtocolViolation, also for another mechanism.
    """
    reader = Reader(message)
    mechanism = reader.text()
    response = reader.sized()
    reader.finish()
    if mechanism != MECHANISM:
        raise ProtocolViolation("the client chose an authentication mechanism nobody offered")
    return response


def parse_response(message: bytes) -> bytes:
    """The data of a SASLResponse."""
    return Reader(message).rest()


def token_in(response: bytes) -> str:
    """The bearer token of a client's response (RFC 7628 section 3.1); "" where it sent none, to
    hear where it can get one.

    Raises: ProtocolViolation for what is no such response; NotAuthenticated for a way of
    authorizing that is not `Bearer`.
    """
    begin = _GS2.match(response)
    if begin is None:
        # Channel binding (`p=`) belongs to mechanisms that have it.
        raise ProtocolViolation("a malformed OAUTHBEARER message: its header is wrong")
    if begin["authzid"]:
        raise ProtocolViolation("the client uses an authorization identity, which is not supported")
    pairs: dict[bytes, bytes] = {}
    at = begin.end()
    while response[at:] != ACKNOWLEDGED:
        pair = _PAIR.match(response, at)
        if pair is None:
            raise ProtocolViolation("a malformed OAUTHBEARER message: it does not end as it should")
        if pair["key"] in pairs:
            raise ProtocolViolation("a malformed OAUTHBEARER message: a key is given twice")
        pairs[pair["key"]] = pair["value"]
        at = pair.end()
    if b"auth" not in pairs:
        raise ProtocolViolation("a malformed OAUTHBEARER message: it has no auth")
    if not pairs[b"auth"]:
        return ""
    given = _BEARER.fullmatch(pairs[b"auth"])
    if given is None:
        raise NotAuthenticated("the client authorizes itself by something else than a bearer token")
    return given["token"].decode("ascii")


def encode_continue(data: bytes) -> bytes:
    """An AuthenticationSASLContinue."""
    return frame(tags.AUTHENTICATION, INT32.pack(11) + data)


def encode_discovery(offer: BearerOffer) -> bytes:
    """The server's answer to a response without a token (RFC 7628 section 3.2.2)."""
    status = {
        "status": "invalid_token",
        "openid-configuration": offer.discovery,
        "scope": offer.scope,
    }
    return encode_continue(json.dumps(status).encode("ascii"))
