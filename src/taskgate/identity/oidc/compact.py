"""A JWT's compact form (RFC 7515 section 7.1, RFC 7519), read strictly. Pure.

Two readers of one token must see the same: a key given twice, a number that is none, base64 with
spare bits or anything else a lax reader would let pass is refused before a signature is looked at.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token taken apart; nothing in it is believed yet.

    `signed` is the ASCII that the signature covers. `digest` (SHA-256 of it, hex) names the token:
    a second signature over the same text, which ECDSA allows to be made, is the same token.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.signed).hexdigest()


def looks_like_jwt(text: str) -> bool:
    """Whether `text` has the outer form of a signed JWT; the gate's own tokens never do."""
    return text.startswith("eyJ") and text.count(".") == 2


def parse_compact(text: str) -> CompactToken:
    """Raises: TokenRefused."""
    if len(text) > limits.MAX_JWT_CHARS:
        raise TokenRefused(f"the token is longer than {limits.MAX_JWT_CHARS} characters")
    segments = text.split(".")
    if len(segments) != 3:
        raise TokenRefused("the token is no signed JWT")
    header, claims = (parse_object(_decoded(segment)) for segment in segments[:2])
    signed = f"{segments[0]}.{segments[1]}".encode("ascii")
    return CompactToken(header, claims, signed, _decoded(segments[2]))


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object as RFC 8259 has it, no key twice. Raises: TokenRefused."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise TokenRefused("a part of the token is no plain JSON object") from None
    if not isinstance(value, dict) or _depth(value) > limits.MAX_JWT_DEPTH:
        raise TokenRefused("a part of the token is no plain JSON object")
    return value


def _decoded(segment: str) -> bytes:
    if not _SEGMENT.match(segment):
        raise TokenRefused("the token is no signed JWT")
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (ValueError, binascii.Error):
        raise TokenRefused("the token is no signed JWT") from None
    # Spare bits would let one token be written in several ways.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise TokenRefused("the token is no signed JWT")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _depth(value: object, seen: int = 1) -> int:
    if seen > limits.MAX_JWT_DEPTH or not isinstance(value, dict | list):
        return seen
    inner = value.values() if isinstance(value, dict) else value
    return max((_depth(item, seen + 1) for item in inner), default=seen)
