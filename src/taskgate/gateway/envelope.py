"""Envelope encryption of one secret (AES-256-GCM, NIST SP 800-38D). Pure but for randomness.

Each value has a data key of its own, used once; the data key is wrapped under a master key, so
that a new master key means wrapping 32 bytes anew and never touching the values. Both layers are
bound to the secret's name: a row copied under another name does not open.
"""

import secrets
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taskgate.gateway.master_key import KEY_BYTES, MasterKey
from taskgate.model.errors import BadConfig
from taskgate.model.secret import SealedSecret, Secret

_NONCE_BYTES = 12


def seal(name: str, value: Secret, master: MasterKey, at: float, by: str) -> SealedSecret:
    """A value as the store may hold it."""
    data_key = secrets.token_bytes(KEY_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    wrap_nonce, wrapped = _wrap(name, data_key, master)
    return SealedSecret(
        name=name,
        ciphertext=AESGCM(data_key).encrypt(nonce, value.reveal_bytes(), _bound(name)),
        nonce=nonce,
        wrapped_key=wrapped,
        wrap_nonce=wrap_nonce,
        key_id=master.id,
        set_at=at,
        set_by=by,
    )


def unseal(sealed: SealedSecret, masters: tuple[MasterKey, ...]) -> Secret:
    """The value. Raises: BadConfig if no key opens it, or it was changed."""
    data_key = _unwrap(sealed, masters)
    try:
        value = AESGCM(data_key).decrypt(sealed.nonce, sealed.ciphertext, _bound(sealed.name))
    except InvalidTag:
        raise _damaged(sealed) from None
    return Secret(value)


def rewrap(sealed: SealedSecret, masters: tuple[MasterKey, ...], to: MasterKey) -> SealedSecret:
    """The same value under another master key. Raises: BadConfig as `unseal`."""
    wrap_nonce, wrapped = _wrap(sealed.name, _unwrap(sealed, masters), to)
    return replace(sealed, wrapped_key=wrapped, wrap_nonce=wrap_nonce, key_id=to.id)


def _wrap(name: str, data_key: bytes, master: MasterKey) -> tuple[bytes, bytes]:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce, AESGCM(master.key).encrypt(nonce, data_key, _wrap_bound(name, master.id))


def _unwrap(sealed: SealedSecret, masters: tuple[MasterKey, ...]) -> bytes:
    master = next((key for key in masters if key.id == sealed.key_id), None)
    if master is None:
        raise BadConfig(
            f"the secret {sealed.name} is sealed under the master key {sealed.key_id}, which is"
            " not here",
            hint="restore the master key's file, or set the secret again",
        )
    try:
        return AESGCM(master.key).decrypt(
            sealed.wrap_nonce, sealed.wrapped_key, _wrap_bound(sealed.name, master.id)
        )
    except InvalidTag:
        raise _damaged(sealed) from None


def _bound(name: str) -> bytes:
    return b"taskgate secret 1\0value\0" + name.encode()


def _wrap_bound(name: str, key_id: str) -> bytes:
    return b"taskgate secret 1\0key\0" + key_id.encode() + b"\0" + name.encode()


def _damaged(sealed: SealedSecret) -> BadConfig:
    return BadConfig(
        f"the stored secret {sealed.name} was changed, or belongs to another name",
        hint="set it again: taskgate secret set",
    )
