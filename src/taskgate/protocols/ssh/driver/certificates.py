"""Public keys and certificates in OpenSSH's form: read, checked, signed.

Sources: RFC 4253 section 6.6; RFC 8332 (RSA with SHA-2); PROTOCOL.certkeys and PROTOCOL.u2f of
OpenSSH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import asyncssh
from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import (
    CERT_TYPE_USER,
    SSHOpenSSHCertificate,
    decode_ssh_certificate,
    decode_ssh_public_key,
)

from taskgate.model.errors import BadConfig
from taskgate.protocols.ssh.conversation import PublicKey, ShownCertificate, ShownKey
from taskgate.protocols.ssh.driver.algorithms import SIGNATURES

MIN_RSA_BITS: Final = 3072
_RSA: Final = b"ssh-rsa"
# ssh-rsa is a key's name here; signatures by it with SHA-1 are not in SIGNATURES.
_KEYS: Final = frozenset({*(name.encode() for name in SIGNATURES if "rsa" not in name), _RSA})
_SOURCES: Final = "source-address"
_EXTENSIONS: Final = frozenset({
    "permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty",
    "permit-user-rc",
})  # fmt: skip
# For clocks that differ a little.
_EARLY_S: Final = 60


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client says that it has the private key of; not believed before `signed`."""

    shown: ShownKey | ShownCertificate
    _key: asyncssh.SSHKey = field(repr=False)

    def signed(self, session_id: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature over this connection's request is the key's (RFC 4252, section
        7)."""
        return self.verifies(String(session_id) + message, signature)

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's, with no algorithm that is off here."""
        try:
            algorithm = SSHPacket(signature).get_string()
        except PacketDecodeError:
            return False
        if algorithm.decode("ascii", "replace") not in SIGNATURES:
            return False
        return self._key.verify(data, signature)


def presented(data: bytes) -> Presented | None:
    """A public key blob, plain or certified; None where it is none that could open anything: too
    weak, unreadable, a host's certificate, one whose signature or time is wrong."""
    try:
        certificate = decode_ssh_certificate(data)
    except (asyncssh.KeyImportError, ValueError):
        return _plain(data)
    if not isinstance(certificate, SSHOpenSSHCertificate):
        return None
    key = certificate.key
    options = dict(certificate.options)
    sources = tuple(str(network) for network in cast(Sequence[object], options.pop(_SOURCES, ())))
    # What else is critical (force-command) no certificate of the gate's has.
    if _weakness(key) or set(options) - _EXTENSIONS:
        return None
    try:
        certificate.validate(CERT_TYPE_USER, None)
    except ValueError:
        return None
    key.set_touch_required(True)
    shown = ShownCertificate(
        key.get_fingerprint(),
        _line(certificate.signing_key),
        certificate._serial,
        tuple(certificate.principals),
        sources,
    )
    return Presented(shown, key)


def _plain(data: bytes) -> Presented | None:
    try:
        key = decode_ssh_public_key(data)
    except (asyncssh.KeyImportError, ValueError):
        return None
    if _weakness(key):
        return None
    key.set_touch_required(True)
    return Presented(ShownKey(key.get_fingerprint()), key)


def _weakness(key: asyncssh.SSHKey) -> str:
    if key.algorithm not in _KEYS:
        return f"keys of the kind {key.get_algorithm()} are not taken"
    if key.algorithm == _RSA:
        bits: int = getattr(key.pyca_key, "key_size", 0)
        if bits < MIN_RSA_BITS:
            return f"an RSA key of {bits} bits is too short; {MIN_RSA_BITS} is the least"
    return ""


def parse_public_key(text: str) -> PublicKey:
    """One line of a `.pub` file. Raises: BadConfig, also for a key that is too weak."""
    hint = "ssh-keygen -t ed25519 makes a good one; the file that ends in .pub is meant"
    try:
        key = asyncssh.import_public_key(text.strip())
    except (asyncssh.KeyImportError, ValueError):
        raise BadConfig("that is no public key in OpenSSH's form", hint=hint) from None
    weakness = _weakness(key)
    if weakness:
        raise BadConfig(weakness, hint=hint)
    return PublicKey(_line(key), key.get_fingerprint(), key.get_comment(errors="replace") or "")


def sign_user(
    ca: bytes,
    public_key: str,
    *,
    key_id: str,
    serial: int,
    principals: Sequence[str],
    since: float,
    until: float,
    sources: Sequence[str] = (),
) -> str:
    """A user's certificate, the line of a `-cert.pub` file. `ca` is a private key; times are
    seconds since the epoch. It has no extensions: what a session may do, the task says.

    Raises: BadConfig where the key or a source address cannot be read.
    """
    key = asyncssh.import_public_key(parse_public_key(public_key).line)
    try:
        made = asyncssh.import_private_key(ca).generate_user_certificate(
            key, key_id, serial=serial, principals=list(principals),
            valid_after=int(since) - _EARLY_S, valid_before=int(until),
            source_address=list(sources) or None, permit_x11_forwarding=False,
            permit_agent_forwarding=False, permit_port_forwarding=False, permit_pty=False,
            permit_user_rc=False, comment="taskgate",
        )  # fmt: skip
    except ValueError as error:
        raise BadConfig(f"no certificate can be made: {error}") from None
    return made.export_certificate().decode().strip()


def sign_host(
    ca: bytes,
    host_key: bytes,
    *,
    key_id: str,
    principals: Sequence[str],
    since: float,
    until: float,
) -> bytes:
    """A certificate of a host's key, both private keys in OpenSSH's form; `principals` are the
    names that clients reach it by."""
    made = asyncssh.import_private_key(ca).generate_host_certificate(
        asyncssh.import_private_key(host_key), key_id, principals=list(principals),
        valid_after=int(since) - _EARLY_S, valid_before=int(until), comment="taskgate",
    )  # fmt: skip
    return made.export_certificate()


def _line(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])
