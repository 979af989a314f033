"""What every protocol does to open a session and to put it away: token to grant, task and
resource; a recording begun before anything else; a place in the lists; and the end of all these.

Nothing here knows a protocol's bytes. Each has a module of its own beside this one, which connects
to the resource and speaks to the client.
"""

import asyncio
from dataclasses import dataclass

import structlog

from taskgate.gateway.enforcement import PolicySource, TaskGate
from taskgate.gateway.holding import Holding
from taskgate.gateway.outside import Direct, Events
from taskgate.gateway.secrets import Secrets
from taskgate.gateway.sessions import LiveSession, Sessions
from taskgate.gateway.signals import Signals
from taskgate.identity.grants import Grants
from taskgate.identity.oidc.compact import looks_like_jwt
from taskgate.identity.ssh_access import HeldGrants, Proven
from taskgate.model.clock import Clock
from taskgate.model.errors import (
    Denied,
    NotAuthenticated,
    NotRecorded,
    StoreUnavailable,
    TaskgateError,
    UpstreamFault,
)
from taskgate.model.event import Event, EventKind
from taskgate.model.grant import Grant, SessionInfo
from taskgate.model.ids import new_id
from taskgate.model.ports import SessionStore
from taskgate.model.resource import Resource, SecretRef
from taskgate.policy.rules import Task
from taskgate.recording.journal import Journal

_log = structlog.get_logger(__name__)
_TELL_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Rights:
    """What decides over a session."""

    grants: Grants
    policies: PolicySource
    holding: Holding
    sessions: Sessions
    clock: Clock
    direct: Direct
    held: HeldGrants
    events: Events


@dataclass(frozen=True, slots=True)
class Backing:
    """What a session is built on. `mask_key` keys the hash transform, for all sessions alike."""

    journal: Journal
    store: SessionStore
    secrets: Secrets
    signals: Signals
    mask_key: bytes
    node: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a client says when it comes in: the task and, where there are several, the resource,
    out of its user name; its secret, or who it has proven to be by other means; where it is and
    what it calls itself. With a `provider` the secret must be that one's own token."""

    task: str
    resource: str
    proof: str | Proven
    peer: str
    application: str = ""
    provider: str = ""

    def __repr__(self) -> str:
        return f"Claim({self.task!r}, {self.resource!r}, {self.peer!r})"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a claim came to."""

    grant: Grant
    task: Task
    resource: Resource


class Opening:
    """Opens sessions of one protocol. `title` is its name in messages."""

    def __init__(self, protocol: str, title: str, rights: Rights, backing: Backing) -> None:
        self.protocol = protocol
        self.rights = rights
        self.backing = backing
        self._title = title

    # Who, and for what.

    async def admit(self, claim: Claim) -> Admitted:
        """Checks a claim; whoever is not let in is noted.

        Raises: NotAuthenticated, Denied, StoreUnavailable.
        """
        try:
            return await self._authorise(claim)
        except (NotAuthenticated, Denied) as error:
            self.turned_away(claim.peer, error, claim.task)
            raise

    async def _authorise(self, claim: Claim) -> Admitted:
        policy = self.rights.policies.current
        if isinstance(claim.proof, Proven):
            grant, name = await self._held(claim.proof, claim.task, claim.resource)
            task = policy.tasks.get(grant.task)
            reaches = task is not None and name in grant.resources
        else:
            task = policy.tasks.get(claim.task)
            name = claim.resource
            if not name and task is not None and len(task.resources) == 1:
                name = task.resources[0]
            # An unknown task goes the same way as a wrong token, so that neither can be told apart.
            if claim.provider or looks_like_jwt(claim.proof):
                grant = await self.rights.direct.grant(
                    claim.proof, claim.task, claim.application, claim.provider
                )
                reaches = task is not None and name in task.resources and name in grant.resources
            else:
                grant = await self.rights.grants.check(claim.proof, claim.task, name or "")
                reaches = True
        if task is None or not reaches or name not in policy.resources:
            raise NotAuthenticated("no grant for this task goes with this token")
        resource = policy.resources[name]
        if resource.protocol != self.protocol:
            raise Denied(
                f"resource {name} is reached by {resource.protocol}, not by {self._title}",
                rule="resource",
                hint=f"taskgate connect {task.name} uses the right client",
            )
        self.rights.grants.ensure(grant)
        return Admitted(grant, task, resource)

    async def _held(self, who: Proven, task: str, resource: str) -> tuple[Grant, str]:
        who.ensure()
        grant, name, fresh = await self.rights.held.find(who, task, resource)
        if fresh:
            await self.rights.events.granted(grant)
        who.ensure()
        return grant, name

    def turned_away(self, peer: str, error: TaskgateError, task: str = "") -> None:
        """Notes in the gateway's own log that somebody at `peer` did not get in."""
        self.backing.signals.login_failed(self.protocol)
        why = getattr(error, "why", error.message)
        facts = {"door": self.protocol, "address": peer, "task": task[:200], "reason": why}
        try:
            self.backing.journal.gateway_log.append(
                Event(EventKind.LOGIN_FAILED, self.rights.clock.now(), facts)
            )
        except NotRecorded:
            # Nothing happens on account of it, so that nothing happens unrecorded.
            self.backing.signals.recording_errors.inc()

    # The session.

    def begin(self, claim: Claim, admitted: Admitted) -> TaskGate:
        """The session's enforcement point, its recording begun. What goes wrong from here on
        is to be told to `abandon`.

        Raises: NotRecorded.
        """
        rights, grant, proof = self.rights, admitted.grant, claim.proof
        ensure = rights.grants.ensure
        if isinstance(proof, Proven):

            def ensure_both(grant: Grant) -> None:
                rights.grants.ensure(grant)
                proof.ensure()

            ensure = ensure_both
        info = SessionInfo(
            id=new_id("s"),
            grant_id=grant.id,
            identity=grant.identity,
            task=admitted.task.name,
            resource=admitted.resource.name,
            protocol=self.protocol,
            client_address=claim.peer,
            client_application=claim.application,
            started_at=rights.clock.now(),
            step=grant.step,
            chain=grant.chain,
            break_glass=grant.break_glass,
            signed_in_with=proof.facts if isinstance(proof, Proven) else (),
        )
        recording = self.backing.journal.open(info, reason=grant.reason)
        return TaskGate(
            info, grant, rights.policies, recording, rights.clock, self.backing.signals,
            ensure,
        )  # fmt: skip

    async def enlist(self, session: LiveSession) -> None:
        """Puts the session on the lists. Raises: StoreUnavailable, TooMany, NotStarting."""
        await self.backing.store.add(session.gate.info, self.backing.node)
        self.rights.sessions.add(session)

    def began(self) -> None:
        """The client has been told that it may begin."""
        self.backing.signals.session_opened(self.protocol)

    def abandon(self, gate: TaskGate, error: BaseException) -> None:
        """A session that came to nothing."""
        signals, recording = self.backing.signals, gate.recording
        if isinstance(error, UpstreamFault):
            signals.upstream_errors.inc()
        elif isinstance(error, NotRecorded):
            signals.recording_errors.inc()
        why = error.message if isinstance(error, TaskgateError) else "it could not be opened"
        now = self.rights.clock.now()
        try:
            recording.append(Event(EventKind.SESSION_CLOSED, now, {"reason": why, "requests": 0}))
            recording.seal(now)
        except NotRecorded:
            signals.recording_errors.inc()

    async def put_away(self, gate: TaskGate, why: str) -> None:
        """A session that began has ended: its recording, its place in the lists."""
        backing = self.backing
        backing.signals.session_closed(self.protocol)
        now = self.rights.clock.now()
        try:
            await gate.recording.seal_and_settle(now)
        except NotRecorded:
            # What was written stays, and the next start seals it.
            backing.signals.recording_errors.inc()
        try:
            ended = await self._told_ended(gate.info.id, now, why)
        finally:
            self.rights.sessions.remove(gate.info.id)
        # Else it would be listed as open until the next start.
        while not ended:
            await asyncio.sleep(_TELL_AGAIN_S)
            ended = await self._told_ended(gate.info.id, now, why)

    async def _told_ended(self, session_id: str, at: float, why: str) -> bool:
        """Whether the store has taken in that a session has ended."""
        try:
            await self.backing.store.end(session_id, at, why)
        except StoreUnavailable as error:
            _log.warning("session.end_not_stored", session=session_id, why=error.message)
            return False
        return True

    # What the gate signs in with.

    async def reveal(self, ref: SecretRef | None) -> str | None:
        """A secret of a resource's credential, looked up now. Raises: BadConfig."""
        if ref is None:
            return None
        return (await self.backing.secrets.get(ref)).reveal()
