"""Time-based one-time passwords (RFC 6238) as authenticator apps have them: SHA-1, six digits,
steps of 30 s. Pure.

HMAC-SHA-1 is not weakened by SHA-1's collisions (RFC 6238 appendix B allows others; many apps do
not, and fail silently).
"""

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote, urlencode

DIGITS: Final = 6
SECRET_BYTES: Final = 20
# A code counts one step before and after its own.
DRIFT_STEPS: Final = 1
STEP_S: Final = 30


def step_at(now: float) -> int:
    """The time step of `now` (seconds since the epoch)."""
    return int(now // STEP_S)


def code_of(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226 section 5.3)."""
    digest = hmac.new(secret, step.to_bytes(8), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """The step near `now` whose code this is; None if it is none's. Takes the same time for any
    code."""
    wanted = code.encode("utf-8", "replace")
    found = None
    current = step_at(now)
    for drift in range(-DRIFT_STEPS, DRIFT_STEPS + 1):
        step = current + drift
        if step >= 0 and hmac.compare_digest(code_of(secret, step).encode(), wanted):
            found = step
    return found


def base32(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def enrolment_uri(secret: bytes, user: str, issuer: str) -> str:
    """What a QR code carries: the key URI format that authenticator apps read."""
    # A colon separates the two in the label, so neither may hold one.
    label = f"{quote(issuer.replace(':', ' '), safe='')}:{quote(user, safe='')}"
    parameters = {"secret": base32(secret), "issuer": issuer.replace(":", " ")}
    return f"otpauth://totp/{label}?{urlencode(parameters, quote_via=quote)}"
