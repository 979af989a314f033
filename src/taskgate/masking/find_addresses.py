"""E-mail and network addresses in text."""

import ipaddress

from taskgate.masking.finder import (
    Finder,
    Hits,
    candidates,
    compile_bytes,
)

# RFC 5321 section 4.1.2: dot-string or quoted local part, domain or address literal. Bytes from
# 0x80 up are letters (RFC 6531; internationalised domains). A domain without a dot is none: `a@b`
# is in every second shell prompt.
_LABEL = rb"[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff_\-]*[A-Za-z0-9\x80-\xff])?"
_EMAIL = compile_bytes(
    rb"(?:[A-Za-z0-9\x80-\xff!#$%&'*+/=?^_`{|}~.\-]+|\"[^\"\r\n]+\")@"
    rb"(?:(?:" + _LABEL + rb"\.)+(?:(?i:xn--)[A-Za-z0-9\-]+|[A-Za-z\x80-\xff]{2,})"
    rb"|\[[0-9A-Fa-f.:IPv]+\])"
)


def _find_emails(text: bytes) -> Hits:
    for match in candidates(_EMAIL, text):
        yield match.span()


# With all digits and dots that go on: `1.2.3.4.5` is a version.
_IPV4 = compile_bytes(rb"[0-9.]*[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[0-9.]*")


def _find_ipv4(text: bytes) -> Hits:
    for match in candidates(_IPV4, text):
        at = match.start()
        # A full stop at either side belongs to a sentence; two of them part a range.
        for piece in match.group().split(b".."):
            number = piece.strip(b".")
            parts = number.split(b".", 4)
            at = text.index(number, at)
            if len(parts) == 4 and all(0 < len(p) <= 3 and int(p) <= 255 for p in parts):
                yield at, at + len(number)
            at += len(number)


_IPV6 = compile_bytes(rb"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_LETTERS = frozenset(b"ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_")
_MAX_IPV6 = 45


def _find_ipv6(text: bytes) -> Hits:
    for match in candidates(_IPV6, text):
        start, end = match.span()
        while end > start and text[end - 1] in b".":
            end -= 1
        if end - start > 1 and text[end - 1] == 0x3A and text[end - 2] != 0x3A:
            end -= 1
        if text[start] == 0x3A and text[start + 1 : start + 2] != b":":
            start += 1
        if not 2 < end - start <= _MAX_IPV6:
            continue
        # `table::type`, `std::x`: a word that goes on is no address.
        if start > 0 and text[start - 1] in _LETTERS:
            continue
        if end < len(text) and text[end] in _LETTERS:
            continue
        candidate = text[start:end].decode()
        if sum(map(len, candidate.replace(".", ":").split(":"))) < 5:
            continue
        try:
            ipaddress.IPv6Address(candidate)
        except ValueError:
            continue
        yield start, end


EMAIL = Finder(
    "email",
    hint=rb"@[A-Za-z0-9\x80-\xff\[]",
    worth=lambda text, digits: b"@" in text,
    find=_find_emails,
)
IPV4 = Finder(
    "ipv4",
    hint=rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    worth=lambda text, digits: digits >= 4 and text.count(b".") >= 3,
    find=_find_ipv4,
)
IPV6 = Finder(
    "ipv6",
    hint=rb":[0-9A-Fa-f]{0,4}:",
    worth=lambda text, digits: text.count(b":") >= 2,
    find=_find_ipv6,
)
