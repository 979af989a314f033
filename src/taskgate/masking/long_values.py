"""Values that go on past the line they begin in, or past what is kept in memory: from their first
mark to their last they are hidden without being kept."""

from dataclasses import dataclass
from typing import Final

import re2

from taskgate.masking.finder import compile_bytes


@dataclass(frozen=True, slots=True)
class Long:
    """A value that is open. It ends behind what `end` matches, or, with `before`, in front of it.
    `may_be_cut`: where people look on, lines that cannot be a part of it end it as well."""

    kind: str
    end: "re2._Regexp"
    before: bool = False
    may_be_cut: bool = False


_PEM_BEGIN = compile_bytes(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = compile_bytes(rb"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_BARE_BEGIN = compile_bytes(rb"b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=\s\\]*\z")
_PUTTY_BEGIN = compile_bytes(rb"PuTTY-User-Key-File-[0-9]")
_PUTTY_END = compile_bytes(rb"Private-(?:MAC|Hash): ?[0-9A-Fa-f]*")

_PEM: Final = Long("private_key", _PEM_END, may_be_cut=True)
_BARE: Final = Long("private_key", compile_bytes(rb"[^A-Za-z0-9+/=\s\\]"), before=True)
_PUTTY: Final = Long("private_key", _PUTTY_END, may_be_cut=True)
# A token that is longer than what is kept of a line.
JWT: Final = Long("jwt", compile_bytes(rb"[^A-Za-z0-9_\-=.]"), before=True)
_JWT_BEGIN = compile_bytes(
    rb"e(?:y[JAIN]|w[0o])[A-Za-z0-9_\-]{6,}=*\.[A-Za-z0-9_\-=]{512}[A-Za-z0-9_\-=.]*\z"
)
# A line of a key, as it is or with something before it (a line's number, `> `): RFC 7468's lines
# have 64 characters, RFC 9580's 76. Headers are RFC 1421's and PuTTY's.
_KEY_LINE = compile_bytes(rb"[A-Za-z0-9+/=]{32}|^[A-Za-z0-9+/=\\]*$|^[A-Za-z0-9\-]{2,40}: .*$")

_KEY_LINE_BEGIN = compile_bytes(rb"^[A-Za-z0-9\- ]*$")


def opened_in(text: bytes) -> Long | None:
    """The private key that begins in `text` and does not end in it."""
    began = list(_PEM_BEGIN.finditer(text))
    if began and _PEM_END.search(text, began[-1].end()) is None:
        return _PEM
    if _BARE_BEGIN.search(text) is not None:
        return _BARE
    putty = _PUTTY_BEGIN.search(text)
    if putty is not None and _PUTTY_END.search(text, putty.end()) is None:
        return _PUTTY
    return None


def endless_jwt(window: bytes) -> int | None:
    """Where a JWT begins that goes on past the end of `window`; None if none does."""
    match = _JWT_BEGIN.search(window)
    return None if match is None else int(match.start())


def may_be_of_a_key(line: bytes, *, whole: bool) -> bool:
    """Whether a line, as it reads, may stand within a private key; the beginning of one, where it
    is not `whole`."""
    text = line.strip()
    if _KEY_LINE.search(text) is not None:
        return True
    return not whole and _KEY_LINE_BEGIN.search(text) is not None
