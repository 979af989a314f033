"""What a token's claims must say before anyone is believed to be its subject. Pure.

Sources: RFC 7519 section 4.1; OpenID Connect Core 1.0 sections 2, 3.1.3.7 and 3.1.3.8;
RFC 8725 (JWT best practices) sections 3.8 to 3.12; RFC 9068 section 4.
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskgate.identity.oidc.compact import CompactToken
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits
from taskgate.model.authentication import MULTI_FACTOR, Authentication

MAX_SUBJECT_CHARS: Final = 255
_MAX_METHODS: Final = 32
_MAX_WORD_CHARS: Final = 255
_MAX_SECONDS: Final = 2.0**53
# Types that are no ID or access token, although the same keys sign them: logout tokens, security
# events, proofs of possession. What is not listed is refused.
_ID_TYPES: Final = frozenset({"", "jwt"})
LOGOUT_TYPE: Final = "logout+jwt"
ACCESS_TYPE: Final = "at+jwt"
_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Spans:
    """A token's times, in seconds since the epoch. `issued_at` is None where it does not say;
    `until` is when it stops being taken, the allowed skew included."""

    issued_at: float | None
    until: float


def type_of(token: CompactToken) -> str:
    """The header's `typ`, lower case, without `application/`; "" where there is none.

    Raises: TokenRefused.
    """
    kind = _stated_type(token)
    if kind not in _ID_TYPES and kind != ACCESS_TYPE:
        raise TokenRefused("the token is of a type that signs nobody in")
    return kind


def check_logout_type(token: CompactToken) -> None:
    """Raises: TokenRefused for what says that it is no logout token."""
    if _stated_type(token) not in {*_ID_TYPES, LOGOUT_TYPE}:
        raise TokenRefused("the token is of a type that signs nobody out")


def _stated_type(token: CompactToken) -> str:
    stated = token.header.get("typ", "")
    if not isinstance(stated, str):
        raise TokenRefused("the token's typ is no text")
    return stated.lower().removeprefix("application/")


def issuer_of(token: CompactToken) -> str:
    """What the token claims as its issuer. Raises: TokenRefused."""
    issuer = token.claims.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise TokenRefused("the token names no issuer")
    return issuer


def audiences_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Raises: TokenRefused."""
    stated = claims.get("aud")
    listed = [stated] if isinstance(stated, str) else stated
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise TokenRefused("the token names no audience")
    return frozenset(listed)


def check_times(
    claims: Mapping[str, Any], now: float, *, skew_s: float = limits.CLOCK_SKEW_S
) -> Spans:
    """exp must be there and ahead; nbf and iat, where given, behind.

    Raises: TokenRefused.
    """
    expires = _seconds(claims, "exp")
    issued, begins = _seconds(claims, "iat"), _seconds(claims, "nbf")
    if expires is None:
        raise TokenRefused("the token never expires")
    if now >= expires + skew_s:
        raise TokenRefused("the token has expired")
    if issued is not None and issued > now + skew_s:
        raise TokenRefused("the token was issued in the future")
    if begins is not None and begins > now + skew_s:
        raise TokenRefused("the token is not valid yet")
    return Spans(issued if issued is not None else begins, expires + skew_s)


def check_plain(claims: Mapping[str, Any]) -> None:
    """Refuses what only looks like a token to sign in with. Raises: TokenRefused."""
    if "events" in claims:
        # A logout token (OpenID Connect Back-Channel Logout 1.0) has the client as its audience.
        raise TokenRefused("the token tells of events and signs nobody in")
    if "cnf" in claims:
        # RFC 7800: whoever shows it must also prove a key, and there is no place for that here.
        raise TokenRefused("the token is bound to a key that was not shown")


def subject_of(claims: Mapping[str, Any], name: str = "sub") -> str:
    """The subject in claim `name`. Raises: TokenRefused."""
    subject = claims.get(name)
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= MAX_SUBJECT_CHARS
        or not subject.isprintable()
        or subject != subject.strip()
    ):
        raise TokenRefused(f"the token's {name} names no subject")
    if name == "email" and claims.get("email_verified") is not True:
        raise TokenRefused("the provider did not verify the email address")
    return subject


def check_parties(claims: Mapping[str, Any], clients: Collection[str]) -> None:
    """OpenID Connect Core 3.1.3.7, points 3 to 5: an ID token of several audiences names the
    party it was issued to, and that party must be one of ours. Raises: TokenRefused."""
    party = claims.get("azp")
    if party is None:
        if len(audiences_of(claims)) > 1:
            raise TokenRefused("the token has several audiences and no azp")
    elif party not in clients:
        raise TokenRefused("the token was issued to another client")


def check_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """Raises: TokenRefused where the token was not made for this sign-in."""
    stated = claims.get("nonce")
    if not isinstance(stated, str) or not hmac.compare_digest(
        stated.encode("utf-8", "replace"), nonce.encode()
    ):
        raise TokenRefused("the token's nonce is not that of this sign-in")


def check_access_hash(token: CompactToken, access_token: str | None) -> None:
    """`at_hash`, where given: the left half of the access token's hash (Core 3.1.3.6).

    Raises: TokenRefused.
    """
    stated = token.claims.get("at_hash")
    if stated is None or access_token is None:
        return
    algorithm = str(token.header.get("alg"))
    # Core has it by the algorithm's digits; RFC 8037's curve signs with SHA-512.
    made = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()
    wanted = base64.urlsafe_b64encode(made[: len(made) // 2]).rstrip(b"=")
    if not isinstance(stated, str) or not hmac.compare_digest(
        stated.encode("utf-8", "replace"), wanted
    ):
        raise TokenRefused("the token's at_hash is not that of its access token")


def authenticated_at(claims: Mapping[str, Any], spans: Spans, skew_s: float = 0.0) -> float:
    """When the person surely had proved themselves: `auth_time`, else the time of issue; 0 if
    neither is told, so that whoever was ever cut off stays out.

    `skew_s` is taken off for a token that may be older than it says: whose issuer's clock is
    ahead must not outlive a cut-off of the moments after it was issued.
    """
    told = [one for one in (_seconds(claims, "auth_time"), spans.issued_at) if one is not None]
    return max(0.0, min(told) - skew_s) if told else 0.0


def authentication_in(
    claims: Mapping[str, Any], spans: Spans, multi_factor: Collection[str] = ()
) -> Authentication:
    """How and when the person signed in, as far as the token tells (Core section 2; RFC 9068
    section 2.2.1 for access tokens). What is not as it should be was not told: rights come from
    what is understood only. `multi_factor` are the values of `acr` that stand for it.

    Raises: TokenRefused where auth_time is no time.
    """
    told, acr = claims.get("amr"), claims.get("acr")
    listed = told if isinstance(told, list) and len(told) <= _MAX_METHODS else []
    amr = {one for one in listed if isinstance(one, str) and _is_word(one)}
    acr = acr if isinstance(acr, str) and _is_word(acr) else ""
    if acr in multi_factor:
        amr.add(MULTI_FACTOR)
    at = _seconds(claims, "auth_time")
    # Nobody signs in after the token that tells of it; without its time, neither can be placed.
    if at is not None:
        at = None if spans.issued_at is None else min(at, spans.issued_at)
    return Authentication(frozenset(amr), acr, at, session_in(claims))


def session_in(claims: Mapping[str, Any]) -> str:
    """`sid`, the session at the provider (Back-Channel Logout 1.0 section 2.1); "" for none."""
    told = claims.get("sid")
    return told if isinstance(told, str) and _is_word(told) else ""


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _MAX_WORD_CHARS and text.isprintable()


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"the token's {name} is no time")
    if not (0 <= value <= _MAX_SECONDS and math.isfinite(value)):
        raise TokenRefused(f"the token's {name} is no time")
    return float(value)
