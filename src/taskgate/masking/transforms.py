"""How a value is replaced. Text in, text out; what each type makes of it is its protocol's."""

import hmac
from dataclasses import dataclass

from taskgate.masking.detectors import Detectors
from taskgate.model.errors import BadConfig
from taskgate.model.masks import Transform, TransformKind

REDACTED = "[masked]"
# 128 bits: enough that two values never meet, short enough to read.
HASH_CHARACTERS = 32
MIN_HASH_KEY_BYTES = 16
# What a partly shown value keeps must be less than half of it.
_MIN_HIDDEN = 3
_GUESSED = Detectors(("credit_card", "iban", "us_ssn", "email", "phone", "ipv4", "ipv6"))


def hash_digest(canonical: bytes, key: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) of a value's canonical text, 32 bytes.

    The same value gives the same digest in every column and format, so that joins still work.
    Without the key nobody can try values out.
    """
    return hmac.digest(key, canonical, "sha256")


def hashed(text: str, key: bytes) -> str:
    """`text` as HASH_CHARACTERS lower-case hex digits."""
    return hash_digest(text.encode("utf-8", "surrogatepass"), key).hex()[:HASH_CHARACTERS]


def partial(text: str, kind: str = "") -> str:
    """`text` with most of it hidden, as is usual for its `kind`; the length is hidden too.

    Without a kind, one is guessed if the whole text is a value of it.
    """
    kind = kind or _guess(text)
    if kind == "email":
        return _partial_email(text)
    if kind in ("private_key", "jwt", "cloud_key"):
        return REDACTED
    if kind == "ipv4":
        first = text.split(".", 1)[0]
        return f"{first}.*.*.*" if first.isdigit() else REDACTED
    if kind == "ipv6":
        first = text.split(":", 1)[0]
        return f"{first}:***" if first else REDACTED
    shown = {"credit_card": 4, "iban": 4, "us_ssn": 4, "phone": 2}.get(kind)
    if shown is not None:
        tail = "".join(c for c in text if c.isalnum())
        if len(tail) < shown + _MIN_HIDDEN:
            return REDACTED
        return "****" + tail[-shown:]
    stripped = text.strip()
    if len(stripped) < 2 + _MIN_HIDDEN:
        return "***"
    return f"{stripped[0]}***{stripped[-1]}"


def _guess(text: str) -> str:
    """The kind that the whole of `text` is a value of, empty for none."""
    if "@" in text and text.isascii() and text.count("@") == 1 and " " not in text:
        return "email"
    spans = _GUESSED.find(text)
    if len(spans) == 1 and spans[0].end - spans[0].start == len(text.strip()):
        return spans[0].kind
    return ""


def _partial_email(text: str) -> str:
    local, at, domain = text.rpartition("@")
    name, dot, top = domain.rpartition(".")
    if not (at and dot) or not top.isalnum():
        return REDACTED
    # A single letter is the whole of it.
    first = local[0] if len(local) > 1 and local[0].isalnum() else ""
    host = name[0] if len(name) > 1 and name[0].isalnum() else ""
    return f"{first}***@{host}***.{top}"


@dataclass(frozen=True, slots=True)
class Hider:
    """Applies transforms to text. `key` is the hash key, in bytes; empty if nothing hashes."""

    key: bytes = b""

    def check(self, transforms: tuple[Transform, ...]) -> None:
        """Raises: BadConfig if one of `transforms` hashes and the key is missing or short."""
        hashes = any(t.kind is TransformKind.HASH for t in transforms)
        if hashes and len(self.key) < MIN_HASH_KEY_BYTES:
            raise BadConfig(
                f"a mask hashes, and its key has fewer than {MIN_HASH_KEY_BYTES} bytes",
                hint="Set the gateway's mask key.",
            )

    def hide(self, transform: Transform, text: str, kind: str = "") -> str | None:
        """What `text` is replaced by; None for NULL."""
        match transform.kind:
            case TransformKind.REDACT:
                return f"[masked:{kind}]" if kind else REDACTED
            case TransformKind.PARTIAL:
                return partial(text, kind)
            case TransformKind.HASH:
                return hashed(text, self.key)
            case TransformKind.CONSTANT:
                return transform.constant
            case TransformKind.NULL:
                return None
