"""SSH clients come in here: signed in, matched to a grant, handed to a session.

Nothing is asked of the host before the token is known to be good, and no session begins before its
first event is written.
"""

from typing import Protocol

import structlog

from taskgate.gateway.arrivals import Arrivals, TurnedAway
from taskgate.gateway.config import SshListener as Door
from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.opening import Admitted, Backing, Claim, Opening, Rights
from taskgate.gateway.ssh_session import Around, SshSession
from taskgate.gateway.ssh_upstream import SshUpstream, UpstreamKeys
from taskgate.model.errors import NotAuthenticated, NotRecorded, TaskgateError
from taskgate.model.limits import MAX_CHANNELS, MAX_PASSWORD_BYTES, MAX_SIGN_IN_TRIES
from taskgate.protocols.ssh.conversation import (
    ClientChannel,
    ClientLine,
    Endpoint,
    Link,
    Listening,
    Target,
)
from taskgate.protocols.ssh.driver.listening import listen
from taskgate.protocols.ssh.refusals import refusal

_log = structlog.get_logger(__name__)
_PROTOCOL = "ssh"


class Acceptor(Protocol):
    """A running listener, as the driver gives it."""

    def get_port(self) -> int: ...

    def close(self) -> None: ...


class SshListener:
    """Accepts clients. `host_key` is the gate's own private key, in OpenSSH's form."""

    def __init__(
        self, door: Door, host_key: bytes, keys: UpstreamKeys, rights: Rights, backing: Backing
    ) -> None:
        self._door = door
        self._host_key = host_key
        self.upstream_keys = keys
        self.opening = Opening(_PROTOCOL, "SSH", rights, backing)
        self.arrivals = Arrivals(rights.clock.monotonic)
        self._visits: set[_Visit] = set()
        self._turned_away = TurnedAway(_log, "ssh.too_many")
        self._acceptor: Acceptor | None = None

    async def start(self) -> int:
        """Listens; the port it got (the configuration may say 0). Raises: OSError."""
        door = self._door
        self._acceptor = await listen(door.address, door.port, self._host_key, self._arrived)
        return self._acceptor.get_port()

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


class _Visit:
    """One client, from its first byte; the driver's `Visitor`."""

    def __init__(self, line: ClientLine, listener: SshListener) -> None:
        self.line = line
        self._listener = listener
        self._opening = listener.opening
        self._session: SshSession | None = None
        self._tries = 0
        self._channels = 0
        self._gone = False

    # Signing in.

    async def sign_in(self, user: str, secret: str) -> bool:
        self._tries += 1
        if self._tries > MAX_SIGN_IN_TRIES or self._session is not None:
            self.line.disconnect("too many attempts to sign in")
            return False
        try:
            self._session = await self._open(user, secret)
        except NotAuthenticated:
            # Whoever does not get in learns no more than that.
            return False
        except NotRecorded as error:
            _log.error("session.not_recorded", peer=self.line.peer, why=error.message)
            self.line.tell_before_sign_in(refusal(error))
        except TaskgateError as error:
            self.line.tell_before_sign_in(refusal(error))
        except Exception:
            _log.exception("ssh.sign_in_failed", peer=self.line.peer)
        return self._session is not None

    async def _open(self, user: str, secret: str) -> SshSession:
        opening = self._opening
        task, _, resource = user.partition("+")
        claim = Claim(task, resource, secret, self.line.peer, self.line.version)
        opening.rights.sessions.ensure_open()
        if len(secret.encode()) > MAX_PASSWORD_BYTES:
            late = NotAuthenticated("the password is too long to be a token")
            opening.turned_away(self.line.peer, late, task)
            raise late
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
        self._listener.left(self)
        if self._session is not None:
            self._session.gone()
        elif not self._tries:
            self._opening.turned_away(
                self.line.peer, NotAuthenticated("it left without signing in")
            )
