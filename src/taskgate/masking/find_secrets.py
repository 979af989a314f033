"""Tokens and keys in text: what opens a door by itself."""

import base64
import binascii
import json

from taskgate.masking.finder import Finder, Hits, candidates, compile_bytes

# RFC 7519: base64url header and payload, then a signature that may be empty (RFC 7515), or the
# five parts of an encrypted one (RFC 7516). A header begins with `{"`, `{ ` or `{` and a line end.
_JWT = compile_bytes(rb"e(?:y[JAIN]|w[0o])[A-Za-z0-9_\-]{6,}=*(?:\.[A-Za-z0-9_\-]*=*){2,4}")


def _find_jwts(text: bytes) -> Hits:
    for match in candidates(_JWT, text):
        start, end = match.span()
        header = text[start : text.index(b".", start)].rstrip(b"=")
        try:
            fields = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            continue
        if isinstance(fields, dict) and fields.keys() & {"alg", "typ", "enc", "kid"}:
            yield start, end


_BASE64 = rb"[A-Za-z0-9+/=\s\\]"
# PEM (RFC 7468), OpenPGP (RFC 9580 section 6.2), OpenSSH's key without its armour, PuTTY and age.
# A block whose end is missing runs to the end of the text; one whose start is missing begins where
# the base64 before its end does.
_PRIVATE_KEY = compile_bytes(
    rb"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
    rb"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
    rb"|" + _BASE64 + rb"*-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    rb"|b3BlbnNzaC1rZXktdjE" + _BASE64 + rb"*"
    rb"|PuTTY-User-Key-File-[0-9].*"
    rb"|(?:AGE-SECRET-KEY-1[A-Z0-9]+|age-secret-key-1[a-z0-9]+)"
)


_PRIVATE_KEY_MARKS = (
    b"PRIVATE KEY",
    b"b3BlbnNzaC1rZXktdjE",
    b"PuTTY-User-Key-File-",
    b"AGE-SECRET-KEY-1",
    b"age-secret-key-1",
)


def _may_hold_private_key(text: bytes, digits: int) -> bool:
    pem, openssh, putty, upper_age, lower_age = _PRIVATE_KEY_MARKS
    return pem in text or openssh in text or putty in text or upper_age in text or lower_age in text


def _find_private_keys(text: bytes) -> Hits:
    for match in candidates(_PRIVATE_KEY, text):
        yield match.span()


# As each vendor documents its own token formats.
_TOKENS = (
    rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS access key id
    rb"AIza[0-9A-Za-z_\-]{35}",  # Google API key
    rb"ya29\.[0-9A-Za-z_\-]{20,}",  # Google OAuth access token
    rb"GOCSPX-[0-9A-Za-z_\-]{20,}",  # Google OAuth client secret
    rb"[A-Za-z0-9+/]{86}==",  # Azure storage and Cosmos account key: 64 bytes
    rb"[?&;]sig=[A-Za-z0-9%+/=]{40,}",  # Azure shared access signature
    rb"gh[pousr]_[A-Za-z0-9]{36,}",  # GitHub
    rb"github_pat_[A-Za-z0-9_]{50,}",
    rb"gl(?:pat|rt|dt|ptt|oas|cbt|ft|soat|agent|imt)-[A-Za-z0-9_\-]{20,}",  # GitLab
    rb"xox[abceoprs]-[A-Za-z0-9\-]{10,}",  # Slack
    rb"xapp-[0-9]-[A-Za-z0-9\-]{10,}",
    rb"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_+\-]{20,}",
    rb"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    rb"whsec_[A-Za-z0-9+/=]{20,}",
    rb"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}",  # SendGrid
    rb"npm_[A-Za-z0-9]{36}",
    rb"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
)
_TOKEN = compile_bytes(rb"|".join(_TOKENS))
# The forty characters of an AWS secret key look like any base64: they need their name before them.
AWS_SECRET_NAME = (
    rb"(?i:(?:secret|aws)[_\-. ]{0,3}(?:access|secret)?[_\-. ]{0,3}(?:access)?[_\-. ]{0,3}key)"
    rb"(?:[_\-. ]?(?i:id))?[\"'\\\s]{0,4}(?:=>|[:=,])?[\"'\\\s]{0,4}"
)
_AWS_SECRET_PATTERN = AWS_SECRET_NAME + rb"([A-Za-z0-9/+]{40})"
_AWS_SECRET = compile_bytes(_AWS_SECRET_PATTERN, capture=True)
_CLOUD_KEY_HINT = compile_bytes(rb"|".join((*_TOKENS, _AWS_SECRET_PATTERN)))


def _find_cloud_keys(text: bytes) -> Hits:
    for match in candidates(_TOKEN, text):
        yield match.span()
    for match in candidates(_AWS_SECRET, text):
        yield match.span(1)


JWT = Finder(
    "jwt",
    hint=rb"e(?:y[JAIN]|w[0o])[A-Za-z0-9_\-]{6}",
    worth=lambda text, digits: text.count(b".") >= 2,
    find=_find_jwts,
)
PRIVATE_KEY = Finder(
    "private_key",
    hint=b"|".join(_PRIVATE_KEY_MARKS),
    worth=_may_hold_private_key,
    find=_find_private_keys,
)
CLOUD_KEY = Finder(
    "cloud_key",
    hint=_CLOUD_KEY_HINT.pattern,
    worth=lambda text, digits: len(text) >= 16 and _CLOUD_KEY_HINT.search(text) is not None,
    find=_find_cloud_keys,
)
