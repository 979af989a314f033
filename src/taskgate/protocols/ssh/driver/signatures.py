"""Signatures that `ssh-keygen -Y sign` makes. Source: PROTOCOL.sshsig of OpenSSH."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from asyncssh.packet import PacketDecodeError, SSHPacket, String

from taskgate.protocols.ssh.conversation import ShownKey
from taskgate.protocols.ssh.driver.certificates import presented

_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}


def signer(armored: str, namespace: str, message: bytes) -> str | None:
    """The fingerprint of the key that signed `message` for this namespace; None where the text is
    no such signature, where it does not verify, or where the key is none that is taken here."""
    lines = armored.split()
    if lines[:3] != _BEGIN.split() or lines[-3:] != _END.split():
        return None
    try:
        data = base64.b64decode("".join(lines[3:-3]), validate=True)
    except binascii.Error:
        return None
    if not data.startswith(_MAGIC):
        return None
    packet = SSHPacket(data[len(_MAGIC) :])
    try:
        version = packet.get_uint32()
        key, signed_for, reserved = packet.get_string(), packet.get_string(), packet.get_string()
        algorithm, signature = packet.get_string(), packet.get_string()
        packet.check_end()
    except PacketDecodeError:
        return None
    of_key = presented(key)
    hashed = _HASHES.get(algorithm)
    if (
        version != _VERSION
        or signed_for != namespace.encode()
        or hashed is None
        or of_key is None
        or not isinstance(of_key.shown, ShownKey)
    ):
        return None
    data = _MAGIC + b"".join(
        String(part) for part in (signed_for, reserved, algorithm, hashed(message).digest())
    )
    return of_key.shown.fingerprint if of_key.verifies(data, signature) else None
