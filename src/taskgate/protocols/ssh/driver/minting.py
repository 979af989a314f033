"""Certificates that the gate signs for itself, each for a key of its own that is never written
anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncssh

from taskgate.protocols.ssh.certificates import CertificateFields

_KEY = "ssh-ed25519"


@dataclass(frozen=True, slots=True)
class Minted:
    """`private_key` and `certificate` in OpenSSH's form; `fingerprint` is the key's (SHA-256)."""

    private_key: str = field(repr=False)
    certificate: str
    fingerprint: str


def mint(authority: bytes, fields: CertificateFields) -> Minted:
    """A fresh key, and a user certificate for it by `authority`, a private key."""
    key = asyncssh.generate_private_key(_KEY)
    certificate = asyncssh.import_private_key(authority).generate_user_certificate(
        key,
        fields.key_id,
        serial=fields.serial,
        principals=fields.principals,
        valid_after=fields.valid_after,
        valid_before=fields.valid_before,
        force_command=fields.force_command,
        source_address=fields.source_addresses or None,
        permit_pty=fields.permit_pty,
        permit_port_forwarding=fields.permit_port_forwarding,
        permit_x11_forwarding=fields.permit_x11_forwarding,
        permit_agent_forwarding=fields.permit_agent_forwarding,
        permit_user_rc=False,
    )
    return Minted(
        key.export_private_key("openssh").decode(),
        certificate.export_certificate("openssh").decode(),
        key.get_fingerprint(),
    )
