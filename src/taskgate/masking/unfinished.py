"""Values that may have begun at the end of a text and not ended yet.

What has been seen of them decides how much may be shown before the rest comes: `shown` is the part
that tells little by itself (a card's first six digits, which PCI DSS 3.4.1 lets anybody see; the
name before an `@`; a token's fixed prefix), and all behind it waits.
"""

from dataclasses import dataclass
from typing import Final

import re2

from taskgate.masking.checksums import IBAN_LENGTHS
from taskgate.masking.find_secrets import AWS_SECRET_NAME
from taskgate.masking.finder import compile_bytes
from taskgate.masking.folding import fold

_SEPARATOR = rb"(?:[ \-]{0,2}|\.)"
_GAP = rb"[ ()./\-]{0,3}"
_COUNTRY = b"(?:" + b"|".join(code.encode() for code in sorted(IBAN_LENGTHS)) + b")"
_LOCAL = rb"[A-Za-z0-9\x80-\xff!#$%&'*+/=?^_`{|}~.\-\"]"
_SSN_NAME = rb"(?i:ssn|social.?sec|s\.s\.n)"
_TOKEN_PREFIXES = (
    rb"AKIA|ASIA|ABIA|ACCA|AIza|ya29\.|GOCSPX-|[?&;]sig=|gh[pousr]_|github_pat_"
    rb"|gl(?:pat|rt|dt|ptt|oas|cbt|ft|soat|agent|imt)-|xox[abceoprs]-|xapp-[0-9]-"
    rb"|hooks\.slack\.com/(?:services|workflows)/|[rs]k_(?:live|test)_|whsec_|SG\.|npm_"
    rb"|do[opr]_v1_"
)
# Each ends at the end of the text; its one group is what may be shown.
_PATTERNS: Final[dict[str, tuple[bytes, ...]]] = {
    "credit_card": (
        rb"([0-9](?:" + _SEPARATOR + rb"[0-9]){5})(?:" + _SEPARATOR + rb"[0-9])+[ \-.]{0,2}\z",
    ),
    "iban": (
        rb"(?i)(" + _COUNTRY + rb"[0-9]{2})[ \-]{0,2}(?:[A-Z0-9]{4}[ \-]{0,2}){0,8}"
        rb"[A-Z0-9]{1,4}[ \-]{0,2}\z",
    ),
    "us_ssn": (
        rb"(?:^|[^0-9])([0-9]{3}[ \-.])[0-9]{1,2}(?:[ \-.][0-9]{0,4})?\z",
        rb"^([0-9]{3})[0-9]{1,6}\z",
        _SSN_NAME + rb"[^0-9]{0,40}([0-9]{3})[0-9]{1,6}\z",
    ),
    "email": (rb"(" + _LOCAL + rb"@)[A-Za-z0-9\x80-\xff._\-\[:]+\z",),
    "phone": (
        rb"([+(]?[0-9](?:" + _GAP + rb"[0-9]){4})" + _GAP + rb"[0-9](?:" + _GAP + rb"[0-9])*"
        + _GAP + rb"\z",
    ),
    "ipv4": (rb"([0-9]{1,3}\.[0-9]{1,3}\.)[0-9.]+\z",),
    "ipv6": (
        rb"((?:[0-9A-Fa-f]{1,4}:){2})[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*\z",
        rb"([0-9A-Fa-f]{1,4}:):[0-9A-Fa-f:.]*\z",
    ),
    "jwt": (rb"(e(?:y[JAIN]|w[0o])[A-Za-z0-9_\-]{6})[A-Za-z0-9_\-=.]*\z",),
    "private_key": (rb"((?:AGE-SECRET-KEY-1|age-secret-key-1))[A-Za-z0-9]+\z",),
    "cloud_key": (
        rb"(" + _TOKEN_PREFIXES + rb")[A-Za-z0-9_\-+/=.%]+\z",
        rb"([A-Za-z0-9+/]{32})[A-Za-z0-9+/]+={0,2}\z",
        rb"(" + AWS_SECRET_NAME + rb")[A-Za-z0-9/+]+\z",
    ),
}  # fmt: skip
# A character or an escape of which the end is still to come.
_HALF = compile_bytes(
    rb"(?:[\xc2-\xf4][\x80-\xbf]{0,2}|%[0-9A-Fa-f]?|\\+[uUx]?\{?[0-9A-Fa-f]{0,7}"
    rb"|&(?:amp;)*#?[0-9A-Za-z]{0,8})\z"
)
# A text is looked at from so many bytes before its end.
_MAX_LOOK = 2048


@dataclass(frozen=True, slots=True)
class Begun:
    """A value of `kind` may have begun; from `start` on (in bytes) it is not to be shown."""

    start: int
    kind: str


class Unfinished:
    """Looks for what may have begun, of some kinds."""

    __slots__ = ("_patterns",)

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._patterns: tuple[tuple[str, re2._Regexp], ...] = tuple(
            (kind, compile_bytes(pattern, capture=True))
            for kind in kinds
            for pattern in _PATTERNS[kind]
        )

    def at_end_of(self, text: bytes) -> Begun | None:
        """The one whose hidden part begins first."""
        skipped = max(0, len(text) - _MAX_LOOK)
        tail = text[skipped:]
        half = _HALF.search(tail)
        whole = tail if half is None else tail[: half.start()]
        found = [*self._begun(tail), *(self._begun(whole) if half is not None else ())]
        folded = fold(whole)
        if folded is not None:
            read, offsets = folded
            found += [Begun(offsets[one.start], one.kind) for one in self._begun(read)]
        if not found:
            return None
        first = min(found, key=lambda one: one.start)
        return Begun(first.start + skipped, first.kind)

    def _begun(self, text: bytes) -> list[Begun]:
        return [
            Begun(match.end(1), kind)
            for kind, pattern in self._patterns
            if (match := pattern.search(text)) is not None
        ]
