"""People's keys in the address of a request."""

from __future__ import annotations

import base64
import binascii

from taskgate.model.errors import NotFound

_ENCODED = "~"


def segment_of(key: str) -> str:
    """A person's key as one segment of a path: keys may hold slashes, which no path of this API
    carries within a segment. `~` and base64url (RFC 4648 section 5) without padding."""
    return _ENCODED + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_in(segment: str) -> str:
    """The other way; a key that needs no encoding may stand as it is. Raises: NotFound."""
    if not segment.startswith(_ENCODED):
        return segment
    text = segment.removeprefix(_ENCODED)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise NotFound("that is nobody's key") from None
