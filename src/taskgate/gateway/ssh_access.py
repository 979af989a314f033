"""Certificates that the gate signs for people who are signed in, and keys that they register."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from taskgate.gateway.outside import Events
from taskgate.identity.tokens import hash_token
from taskgate.model import limits
from taskgate.model.account import Login
from taskgate.model.clock import Clock
from taskgate.model.endpoints import plain_network
from taskgate.model.errors import BadConfig, NotAuthenticated, NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.model.ssh_access import RegisteredKey, SshAccessStore, UserCertificate
from taskgate.protocols.ssh.driver.certificates import parse_public_key, sign_user
from taskgate.protocols.ssh.driver.signatures import signer

MAX_SOURCES = 20
MAX_LISTED = 10_000
MAX_LABEL_CHARS = 100
# What `ssh-keygen -Y sign` is told that a signature is for: one made for anything else proves
# nothing here, nor does this one elsewhere.
PROOF_NAMESPACE = "taskgate-key"


@dataclass(frozen=True, slots=True)
class Certified:
    """A fresh certificate: the line of a `-cert.pub` file, and what it says."""

    line: str
    serial: int
    expires_at: float


class SshAccess:
    """Issues, registers, removes; each is an event before it counts. `ca` is the private key that
    signs users' certificates, `lasts_s` how long they live at most."""

    def __init__(
        self, store: SshAccessStore, ca: bytes, lasts_s: float, events: Events, clock: Clock
    ) -> None:
        self._store = store
        self._ca = ca
        self._lasts_s = lasts_s
        self._events = events
        self._clock = clock

    async def certify(
        self,
        signed_in: Login,
        public_key: str,
        lasts_s: float | None,
        sources: Sequence[str],
    ) -> Certified:
        """A certificate for a key of somebody who is signed in, and for no longer than that.

        Raises: BadConfig, NotAuthenticated (the sign-in has ended), OverLimit, NotRecorded,
        StoreUnavailable.
        """
        identity, login = signed_in.identity, signed_in.token_hash
        key = parse_public_key(public_key)
        if lasts_s is not None and not (math.isfinite(lasts_s) and lasts_s > 0):
            raise BadConfig("a certificate lasts a while")
        networks = [_network(source) for source in sources[:MAX_SOURCES]]
        now = self._clock.now()
        wanted = self._lasts_s if lasts_s is None else min(lasts_s, self._lasts_s)
        # Whole seconds, as a certificate has them.
        until = float(int(min(now + wanted, signed_in.expires_at)))
        serial = secrets.randbits(63)
        certificate = UserCertificate(serial, identity.key, login, key.fingerprint, now, until)
        line = sign_user(
            self._ca, key.line, key_id=f"{identity.key} sign-in {_login_id(login)}", serial=serial,
            principals=(identity.key,), since=now, until=until, sources=networks,
        )  # fmt: skip
        facts = {
            "serial": str(serial), "key": key.fingerprint, "sign_in": _login_id(login),
            "expires_at": until, "sources": networks,
        }  # fmt: skip
        await self._events.log(EventKind.CERTIFICATE_ISSUED, identity, facts)
        kept = await self._store.add_certificate(certificate, limits.MAX_CERTIFICATES_PER_LOGIN)
        if not kept:
            raise NotAuthenticated("the sign-in has ended", hint="sign in again: taskgate login")
        return Certified(line, serial, until)

    # Keys.

    @staticmethod
    def challenge(signed_in: Login, public_key: str) -> str:
        """What a key's holder signs, to show that they are. It is good for one sign-in alone.

        Raises: BadConfig for a key that is not taken.
        """
        key, sign_in = parse_public_key(public_key), _login_id(signed_in.token_hash)
        who = signed_in.identity.key
        return f"taskgate: register {key.fingerprint} as {who}'s, sign-in {sign_in}"

    async def add_key(
        self, signed_in: Login, public_key: str, proof: str, label: str
    ) -> RegisteredKey:
        """`proof` is the challenge, signed with the key: a key that is somebody else's would keep
        them from registering it, and let them in as the wrong person.

        Raises: BadConfig, Conflict, OverLimit, NotAuthenticated, NotRecorded, StoreUnavailable.
        """
        identity = signed_in.identity
        key = parse_public_key(public_key)
        message = self.challenge(signed_in, public_key).encode()
        if signer(proof, PROOF_NAMESPACE, message) != key.fingerprint:
            raise BadConfig(
                "the proof is no signature of this sign-in's challenge by that key",
                hint="taskgate keys add makes one, where the private key is at hand",
            )
        named = " ".join((label or key.comment).split())[:MAX_LABEL_CHARS]
        if not all(c.isprintable() for c in named):
            raise BadConfig("the label holds control characters")
        made = RegisteredKey(
            new_id("k"), identity.key, key.fingerprint, key.line, named,
            identity.principal.authentication, self._clock.now(),
        )  # fmt: skip
        facts = {"object": made.id, "key": made.fingerprint, "label": made.label}
        await self._events.log(EventKind.KEY_ADDED, identity, facts)
        if not await self._store.add_key(made, identity, limits.MAX_SSH_KEYS_PER_PERSON):
            raise NotAuthenticated("the sign-in has ended", hint="sign in again: taskgate login")
        return made

    async def keys(self, person: str | None) -> tuple[RegisteredKey, ...]:
        """One person's, or everybody's; newest first. Raises: StoreUnavailable."""
        return await self._store.keys(person, MAX_LISTED)

    async def remove_key(self, identity: Identity, key_id: str, *, others: bool) -> None:
        """Takes a key away; with `others`, somebody else's too. Sessions that rest on it end.

        Raises: NotFound, NotRecorded, StoreUnavailable.
        """
        key = await self._store.key_by_id(key_id)
        if key is None or (key.person != identity.key and not others):
            raise NotFound(f"you have no key {key_id}", hint="taskgate keys list shows yours")
        facts = {"object": key.id, "key": key.fingerprint, "holder": key.person}
        try:
            await self._events.log(EventKind.KEY_REMOVED, identity, facts)
        finally:
            # Taking rights away waits for nothing.
            await self._store.remove_key(key.id)


def _login_id(login: str) -> str:
    """A name for a sign-in that opens nothing, and that its hash cannot be told from."""
    return hash_token(f"sign-in\0{login}")[:16]


def _network(source: str) -> str:
    try:
        return plain_network(source.strip())
    except ValueError as error:
        raise BadConfig(str(error)) from None
