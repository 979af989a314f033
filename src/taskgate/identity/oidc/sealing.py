"""What the gateway hands out to get back unread: the state of a sign-in, a refresh token.

AES-256-GCM (NIST SP 800-38D) under a key that all nodes share, bound to its purpose, so that any
node can finish what another began and none keeps anything for callers that nobody knows yet.
"""

import base64
import binascii
import secrets
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taskgate.identity.oidc.refusals import TokenRefused

_NONCE_BYTES: Final = 12
_MAX_CHARS: Final = 32 * 1024
S = TypeVar("S", bound=msgspec.Struct)


class Sealer:
    """`key` is the gateway's; a key of this use alone is derived from it (RFC 5869)."""

    def __init__(self, key: bytes) -> None:
        made = HKDF(hashes.SHA256(), 32, salt=None, info=b"taskgate sign-in state 1").derive(key)
        self._cipher = AESGCM(made)

    def seal(self, purpose: str, value: msgspec.Struct) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.json.encode(value), purpose.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, purpose: str, text: str, kind: type[S]) -> S:
        """Raises: TokenRefused if it is not ours, for this purpose, and unchanged."""
        try:
            if len(text) > _MAX_CHARS:
                raise ValueError
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
            data = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode())
            return msgspec.json.decode(data, type=kind)
        except (ValueError, binascii.Error, InvalidTag, msgspec.MsgspecError):
            raise TokenRefused("the sign-in's state is not one of ours") from None
