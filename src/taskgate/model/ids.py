"""Names for grants, sessions and approvals: short enough to type, too many to collide."""

import secrets
from typing import Final

# Crockford's base 32: no letter that looks like a digit.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 13


def new_id(prefix: str) -> str:
    """`prefix`, a hyphen and 65 random bits. An id is no secret, and opens nothing."""
    return f"{prefix}-{''.join(secrets.choice(_DIGITS) for _ in range(_LENGTH))}"
