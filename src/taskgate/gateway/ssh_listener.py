"""SSH clients come in here: signed in, matched to a grant, handed to a session.

Nothing is asked of the host before the client is known, and no session begins before its first
event is written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from taskgate.gateway.arrivals import Arrivals, TurnedAway
from taskgate.gateway.config import SshListener as Door
from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.opening import Admitted, Backing, Claim, Opening, Rights
from taskgate.gateway.ssh_asking import Asking, DeviceSignIns
from taskgate.gateway.ssh_proofs import OverCertificate, SshProofs
from taskgate.gateway.ssh_session import Around, SshSession
from taskgate.gateway.ssh_upstream import SshUpstream, UpstreamKeys
from taskgate.identity.ssh_access import Proven
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import NotAuthenticated, NotRecorded, TaskgateError
from taskgate.model.limits import (
    MAX_CHANNELS,
    MAX_KEYS_SHOWN,
    MAX_PASSWORD_BYTES,
    MAX_SIGN_IN_TRIES,
)
from taskgate.protocols.ssh.conversation import (
    ClientChannel,
    ClientLine,
    Endpoint,
    Link,
    Listening,
    Question,
    ShownCertificate,
    ShownKey,
    Target,
)
from taskgate.protocols.ssh.driver.certificates import sign_host
from taskgate.protocols.ssh.driver.listening import Acceptor, listen
from taskgate.protocols.ssh.refusals import refusal

_log = structlog.get_logger(__name__)
_PROTOCOL = "ssh"


# The gate's certificate is renewed long before its end, and at each start.
_CERTIFIED_S = 30 * 86400.0
_RENEW_EVERY_S = 86400.0


@dataclass(frozen=True, slots=True)
class GateKey:
    """The gate's own private key and the one that certifies it, in OpenSSH's form; `names` are
    what clients reach it by."""

    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)
    names: tuple[str, ...]

    def certificate(self, now: float) -> bytes:
        return sign_host(
            self.ca, self.key, key_id=f"taskgate {self.names[0]}", principals=self.names,
            since=now, until=now + _CERTIFIED_S,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SshWays:
    """How the gate shows who it is, and how people do without a token."""

    key: GateKey
    proofs: SshProofs
    device: DeviceSignIns


class SshListener:
    """Accepts clients."""

    def __init__(
        self,
        door: Door,
        ways: SshWays,
        upstream_keys: UpstreamKeys,
        rights: Rights,
        backing: Backing,
    ) -> None:
        self._door = door
        self._key = ways.key
        self._clock = rights.clock
        self.ways = ways
        self.upstream_keys = upstream_keys
        self.opening = Opening(_PROTOCOL, "SSH", rights, backing)
        self.arrivals = Arrivals(rights.clock.monotonic)
        self._visits: set[_Visit] = set()
        self._turned_away = TurnedAway(_log, "ssh.too_many")
        self._acceptor: Acceptor | None = None

    async def start(self) -> int:
        """Listens; the port it got (the configuration may say 0). Raises: OSError."""
        door = self._door
        certificate = self._key.certificate(self._clock.now())
        self._acceptor = await listen(
            door.address, door.port, self._key.key, certificate, self._arrived
        )
        return self._acceptor.get_port()

    async def stay_certified(self) -> None:
        """Renews the gate's certificate, for ever; to be run as a task."""
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            self.certify()

    def certify(self) -> None:
        """Shows a fresh certificate to whoever comes from now on."""
        if self._acceptor is not None:
            certificate = self._key.certificate(self._clock.now())
            self._acceptor.show(self._key.key, certificate)

    async def stop(self) -> None:
        """Takes no more clients, and lets go of those that have no session yet."""
        if self._acceptor is not None:
            self._acceptor.close()
        for visit in list(self._visits):
            visit.line.disconnect("the gateway is being stopped")

    def _arrived(self, line: ClientLine) -> "_Visit | None":
        refusal_ = self.arrivals.enter(line.peer)
        if refusal_:
            self._turned_away.add(refusal_)
            return None
        visit = _Visit(line, self)
        self._visits.add(visit)
        return visit

    def left(self, visit: "_Visit") -> None:
        """It has signed in, or gone."""
        if visit in self._visits:
            self._visits.remove(visit)
            self.arrivals.leave()


# What a client brings; None is somebody who is signing in by a browser.
_Shown = str | ShownKey | ShownCertificate | None


class _Visit:
    """One client, from its first byte; the driver's `Visitor`."""

    def __init__(self, line: ClientLine, listener: SshListener) -> None:
        self.line = line
        self._listener = listener
        self._opening = listener.opening
        self._session: SshSession | None = None
        self._tried = False
        self._answered = False
        self._tries = 0
        self._keys = 0
        self._channels = 0
        self._gone = False
        self._asking = Asking(listener.ways.device, line.peer, line.give_time, self._demand_of)

    # Signing in.

    async def sign_in(self, user: str, secret: str) -> bool:
        if not self._may_try():
            return False
        return await self._let_in(user, secret)

    def may_show_key(self) -> bool:
        self._keys += 1
        if self._keys > MAX_KEYS_SHOWN or self._session is not None:
            self.line.disconnect("too many attempts to sign in")
            return False
        return True

    async def sign_in_by_key(self, user: str, shown: ShownKey | ShownCertificate) -> bool:
        self._tried = True
        return await self._let_in(user, shown)

    def may_be_asked(self) -> bool:
        return not self._answered

    def ask(self, user: str) -> Question:
        return self._asking.first(user)

    async def answer(self, user: str, answers: Sequence[str]) -> Question | bool:
        if self._asking.waits:
            return await self._let_in(user, None)
        if not self._may_try():
            return False
        provider = self._asking.provider_in(answers)
        if not provider:
            return len(answers) == 1 and await self._let_in(user, answers[0])
        try:
            return await self._asking.show_code(provider, user)
        except TaskgateError as error:
            self.line.tell_before_sign_in(refusal(error))
            return False

    def _demand_of(self, task: str) -> SignInDemand | None:
        found = self._opening.rights.policies.current.tasks.get(task)
        return found.sign_in if found is not None else None

    def _may_try(self) -> bool:
        self._tried = True
        self._tries += 1
        if self._tries > MAX_SIGN_IN_TRIES or self._session is not None:
            self.line.disconnect("too many attempts to sign in")
            return False
        return True

    async def _let_in(self, user: str, shown: _Shown) -> bool:
        try:
            self._session = await self._open(user, shown)
        except OverCertificate as error:
            self.line.tell_before_sign_in(refusal(error))
        except NotAuthenticated:
            # Whoever does not get in learns no more than that.
            return False
        except NotRecorded as error:
            _log.error("session.not_recorded", peer=self.line.peer, why=error.message)
            self.line.tell_before_sign_in(refusal(error))
        except TaskgateError as error:
            # They are known, and may not: a question would only hide that.
            self._answered = self._answered or isinstance(shown, ShownKey | ShownCertificate)
            self.line.tell_before_sign_in(refusal(error))
        except Exception:
            _log.exception("ssh.sign_in_failed", peer=self.line.peer)
        return self._session is not None

    async def _open(self, user: str, shown: _Shown) -> SshSession:
        opening = self._opening
        task, _, resource = user.partition("+")
        opening.rights.sessions.ensure_open()
        try:
            proof = await self._proof(shown)
        except NotAuthenticated as error:
            opening.turned_away(self.line.peer, error, task)
            raise
        claim = Claim(task, resource, proof, self.line.peer, self.line.version)
        admitted = await opening.admit(claim)
        gate = opening.begin(claim, admitted)
        try:
            session = SshSession(self.line, gate, self._around(admitted, gate))
            gate.recording.flush()
            await opening.enlist(session)
        except BaseException as error:
            opening.abandon(gate, error)
            raise
        opening.began()
        if self._gone:
            session.gone()
        return session

    async def _proof(self, shown: _Shown) -> str | Proven:
        """Raises: NotAuthenticated, ProviderUnavailable, NotRecorded, StoreUnavailable."""
        if shown is None:
            return await self._asking.signed_in()
        if not isinstance(shown, str):
            return await self._listener.ways.proofs.believe(shown, self.line.peer)
        if len(shown.encode()) > MAX_PASSWORD_BYTES:
            raise NotAuthenticated("the password is too long to be a token")
        return shown

    def _around(self, admitted: Admitted, gate: TaskGate) -> Around:
        opening = self._opening
        upstream = SshUpstream(admitted, gate, opening, self._listener.upstream_keys)

        async def closed(session: SshSession, why: str) -> None:
            await opening.put_away(session.gate, why)

        return Around(
            upstream.connect,
            opening.rights.holding,
            opening.rights.clock,
            closed,
            opening.backing.mask_key,
        )

    def signed_in(self) -> None:
        self._asking.close()
        self._listener.left(self)

    # Afterwards.

    def may_open(self) -> bool:
        if self._session is None or self._channels >= MAX_CHANNELS:
            return False
        self._channels += 1
        return True

    def opened(self, channel: ClientChannel) -> None:
        if self._session is not None:
            self._session.opened(channel)

    def left(self) -> None:
        self._channels -= 1

    def connect(self, link: Link, to: Target) -> None:
        if self._session is not None:
            self._session.forwards.connect(link, to)
        else:
            link.refuse("nobody has signed in")

    def listen(self, listening: Listening, at: Endpoint) -> None:
        if self._session is not None:
            self._session.forwards.listen(listening, at)
        else:
            listening.refuse()

    def closed(self, channel: ClientChannel) -> None:
        if self._session is not None:
            self._session.closed(channel)

    def may_lend(self, verb: str) -> bool:
        return self._session is not None and self._session.may_lend(verb)

    def lent(self, channel: ClientChannel, link: Link, verb: str) -> None:
        if self._session is not None:
            self._session.lent(channel, link, verb)
        else:
            link.refuse("nobody has signed in")

    def refused(self, what: str) -> None:
        if self._session is not None:
            self._session.refused(what)

    def lost(self) -> None:
        self._gone = True
        self._asking.close()
        self._listener.left(self)
        if self._session is not None:
            self._session.gone()
        elif not self._tried:
            self._opening.turned_away(
                self.line.peer, NotAuthenticated("it left without signing in")
            )
