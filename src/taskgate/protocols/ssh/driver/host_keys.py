"""How the gate knows a host: the keys it takes, those that it was shown, files of known hosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from taskgate.model.errors import BadConfig
from taskgate.model.resource import HostTrust
from taskgate.protocols.ssh.driver import algorithms

SSH_PORT: Final = 22
_CERTIFIED: Final = "-cert-v01@openssh.com"


class Shown(asyncssh.SSHClient):
    """Notes what a host shows that nothing trusts."""

    def __init__(self) -> None:
        self.key = ""

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self.key = key.get_fingerprint()
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.key = f"a certificate of {key.get_fingerprint()}"
        return False


@dataclass(frozen=True, slots=True)
class Known:
    """What is taken from one host."""

    keys: tuple[asyncssh.SSHKey, ...]
    authorities: tuple[asyncssh.SSHKey, ...]
    revoked: tuple[asyncssh.SSHKey, ...]

    @property
    def options(self) -> dict[str, Any]:
        """What asyncssh is given. The algorithms are named, because it would otherwise take every
        one that a trusted key has, SHA-1 for RSA too."""
        return {
            "known_hosts": (list(self.keys), list(self.authorities), list(self.revoked)),
            "server_host_key_algs": self.algorithms,
        }

    @property
    def algorithms(self) -> list[str]:
        """The kinds of host key that count here."""
        found = []
        if self.authorities:
            found = [_certified(name) for name in algorithms.SIGNATURES]
        for name in algorithms.SIGNATURES:
            if any(name.encode() in key.sig_algorithms for key in self.keys):
                found.append(name)
        return found


def known(trust: HostTrust) -> Known:
    """Raises: BadConfig for a key that is none."""
    return Known(
        public_keys(trust.keys), public_keys(trust.authorities), public_keys(trust.revoked)
    )


def public_keys(lines: Iterable[str]) -> tuple[asyncssh.SSHKey, ...]:
    """Raises: BadConfig for one that is none."""
    try:
        return tuple(asyncssh.import_public_key(line) for line in lines)
    except asyncssh.KeyImportError as error:
        raise BadConfig(f"a host key in the policy cannot be read: {error}") from None


def fingerprint(line: str) -> str:
    """A public key's SHA-256 fingerprint. Raises: BadConfig."""
    return public_keys((line,))[0].get_fingerprint()


def known_hosts(text: str, host: str, port: int) -> HostTrust:
    """What a file of known hosts says of one host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): hashed
    names, patterns, `@cert-authority` and `@revoked`.

    A host at another port than 22 is `[host]:port` there; without such a line, those of the bare
    name count, as OpenSSH has it. What is revoked for either counts. Raises: ValueError.
    """
    names = asyncssh.import_known_hosts(text)
    bare = names.match(host, "", None)
    told = names.match(host, "", port) if port != SSH_PORT else bare
    return HostTrust(
        keys=_lines(told[0]), authorities=_lines(told[1]), revoked=_lines((*told[2], *bare[2]))
    )


def _lines(keys: Iterable[asyncssh.SSHKey]) -> tuple[str, ...]:
    return tuple(key.export_public_key("openssh").decode().strip() for key in keys)


def _certified(algorithm: str) -> str:
    # sk-ssh-ed25519@openssh.com is certified as sk-ssh-ed25519-cert-v01@openssh.com.
    return algorithm.removesuffix("@openssh.com") + _CERTIFIED
