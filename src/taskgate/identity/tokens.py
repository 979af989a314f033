"""Tokens: 256 random bits that look like what they are.

`tg_` (a grant's) or `tgl_` (an API sign-in's), 43 base-62 digits, and 6 more for a CRC-32 of
all before them. A scanner that finds one in a repository or a log can tell a real one from a
look-alike without asking anybody, and a mistyped one is refused without a look into the store.
The checksum is no secret and guards nothing.
"""

import hashlib
import secrets
import zlib
from enum import Enum
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES: Final = 32
# 62**43 is the first power above 2**256, 62**6 the first above 2**32.
_RANDOM_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6


class TokenKind(Enum):
    """What a token opens; one kind is never taken for the other."""

    GRANT = "tg_"
    LOGIN = "tgl_"


def new_token(kind: TokenKind = TokenKind.GRANT) -> tuple[str, str]:
    """A fresh token and its hash. Only the hash is to be kept."""
    number = int.from_bytes(secrets.token_bytes(_RANDOM_BYTES))
    body = kind.value + _base62(number, _RANDOM_DIGITS)
    token = body + _checksum(body)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """SHA-256, lower-case hex. A token has 256 random bits, so no salt and no slow hash is
    needed: nobody can guess towards it. Text that UTF-8 cannot carry is no token of ours; it gets
    a hash all the same."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def looks_right(token: str, kind: TokenKind = TokenKind.GRANT) -> bool:
    """Whether `token` has the form and checksum of its kind; not whether it opens anything."""
    body, check = token[:-_CHECK_DIGITS], token[-_CHECK_DIGITS:]
    digits = body[len(kind.value) :]
    return (
        body.startswith(kind.value)
        and len(digits) == _RANDOM_DIGITS
        and set(digits) <= set(_DIGITS)
        and secrets.compare_digest(check.encode("utf-8", "replace"), _checksum(body).encode())
    )


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    found = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        found.append(_DIGITS[digit])
    return "".join(reversed(found))
