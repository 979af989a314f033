"""What clients of the SSH listener show instead of a token, and how long that counts.

A certificate counts as long as the sign-in that it was asked for with, a registered key until it is
removed. Sessions that rest on them end with them: on this node and on others within a second,
because every node asks the store for what its own sessions rest on, several times a second.
"""

from __future__ import annotations

import asyncio
import ipaddress
import weakref
from dataclasses import dataclass, replace

import structlog

from taskgate.identity.ssh_access import Proven, certificate_proof, over
from taskgate.model.clock import Clock, Deadline
from taskgate.model.errors import Denied, NotAuthenticated, StoreUnavailable
from taskgate.model.identity import Identity
from taskgate.model.limits import REVOCATION_POLL_S
from taskgate.model.ssh_access import SshAccessStore
from taskgate.protocols.ssh.conversation import ShownCertificate, ShownKey

_log = structlog.get_logger(__name__)
_OVER_CERTIFICATE = "the sign-in behind this certificate has ended, or the certificate has expired"
_OVER_KEY = "this key is registered no longer"
_AGAIN = "sign in again: taskgate login --ssh"


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Basis:
    """One certificate or key that somebody came in with. `why` says that it counts no longer."""

    certificate: int | None = None
    key: str | None = None
    until: Deadline | None = None
    why: str = ""

    def ensure(self, clock: Clock) -> None:
        """Raises: Denied."""
        if self.until is not None and self.until.passed(clock):
            self.why = self.why or _OVER_CERTIFICATE
        if self.why:
            raise Denied(self.why, rule="sign-in", hint=_AGAIN)


class OverCertificate(NotAuthenticated):
    """One of the gate's own, whose holder has shown its key: they may hear that it is over."""


class SshProofs:
    """Believes keys and certificates, and follows those that sessions rest on. `client_ca` is the
    line of the public key that signs certificates."""

    def __init__(self, store: SshAccessStore, client_ca: str, clock: Clock) -> None:
        self._store = store
        self._client_ca = client_ca
        self._clock = clock
        self._bases: weakref.WeakSet[_Basis] = weakref.WeakSet()

    async def believe(self, shown: ShownKey | ShownCertificate, peer: str) -> Proven:
        """Whom something that a client has signed with stands for.

        Raises: NotAuthenticated, StoreUnavailable.
        """
        if isinstance(shown, ShownKey):
            return await self._by_key(shown)
        return await self._by_certificate(shown, peer)

    async def _by_certificate(self, shown: ShownCertificate, peer: str) -> Proven:
        if shown.ca != self._client_ca or not _comes_from(peer, shown.sources):
            raise over()
        # Watched before it is looked up: its end cannot slip between the two.
        basis = self._watched(_Basis(certificate=shown.serial))
        found = await self._store.certificate(shown.serial, self._clock.now())
        if found is None:
            raise OverCertificate(_OVER_CERTIFICATE, hint=_AGAIN)
        certificate, identity = found
        if certificate.fingerprint != shown.fingerprint or shown.principals != (identity.key,):
            raise over()
        basis.until = Deadline.at(certificate.expires_at, self._clock)
        return Proven(
            identity,
            proof=certificate_proof(identity, shown.serial, certificate.expires_at),
            ensure=lambda: basis.ensure(self._clock),
            facts=(("certificate", str(shown.serial)), ("key", shown.fingerprint)),
        )

    async def _by_key(self, shown: ShownKey) -> Proven:
        key = await self._store.key(shown.fingerprint)
        if key is None:
            raise over()
        basis = self._watched(_Basis(key=key.id))
        await self._store.used_key(key.id, self._clock.now())
        issuer, _, subject = key.person.rpartition(":")
        who = Identity(subject, issuer, method="ssh-key")
        return Proven(
            replace(who, authentication=key.shown),
            stale=True,
            ensure=lambda: basis.ensure(self._clock),
            facts=(("registered_key", key.id), ("key", shown.fingerprint)),
        )

    def _watched(self, basis: _Basis) -> _Basis:
        self._bases.add(basis)
        return basis

    async def watch(self) -> None:
        """Follows what sessions rest on, for ever; to be run as a task."""
        while True:
            await asyncio.sleep(REVOCATION_POLL_S)
            try:
                await self.look()
            except StoreUnavailable as error:
                # A node that cannot follow its store soon admits nothing at all (`Revocations`).
                _log.warning("ssh.proofs_not_followed", why=error.message)

    async def look(self) -> None:
        """Asks the store once. Raises: StoreUnavailable."""
        bases = [basis for basis in self._bases if not basis.why]
        serials = {basis.certificate for basis in bases if basis.certificate is not None}
        keys = {basis.key for basis in bases if basis.key is not None}
        if not serials and not keys:
            return
        certified, registered = await self._store.standing(serials, keys, self._clock.now())
        for basis in bases:
            if basis.certificate is not None and basis.certificate not in certified:
                basis.why = _OVER_CERTIFICATE
            if basis.key is not None and basis.key not in registered:
                basis.why = _OVER_KEY


def _comes_from(peer: str, sources: tuple[str, ...]) -> bool:
    if not sources:
        return True
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(source) for source in sources)
