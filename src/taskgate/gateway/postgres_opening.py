"""From a client's request to a running session: token, grant, resource, connection, recording."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from taskgate.gateway.enforcement import PolicySource, TaskGate
from taskgate.gateway.holding import Holding
from taskgate.gateway.outside import Direct
from taskgate.gateway.postgres_incoming import Incoming
from taskgate.gateway.postgres_session import Around, PostgresSession
from taskgate.gateway.secrets import Secrets
from taskgate.gateway.sessions import Sessions
from taskgate.gateway.signals import Signals
from taskgate.gateway.tls import UpstreamContexts
from taskgate.gateway.upstream import Upstream, UpstreamSecrets, cancel, connect
from taskgate.identity.grants import Grants
from taskgate.identity.oidc.compact import looks_like_jwt
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
from taskgate.policy.bounds import lens_of
from taskgate.policy.rules import Task
from taskgate.protocols.postgres import messages
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_OK,
    BackendKey,
    encode_backend_key,
)
from taskgate.protocols.postgres.conversation import AskHold
from taskgate.protocols.postgres.exchange import Exchange
from taskgate.protocols.postgres.judging import JudgedTexts
from taskgate.protocols.postgres.login import LoginRefused
from taskgate.protocols.postgres.resolution import Catalogs
from taskgate.protocols.postgres.session_settings import judge_settings
from taskgate.protocols.postgres.startup_options import StartupRequest
from taskgate.recording.journal import Journal
from taskgate.recording.recording import Recording

_log = structlog.get_logger(__name__)
_PROTOCOL = "postgres"
# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes.
_MAX_APPLICATION_BYTES = 63
_MAX_SHARED = 1_000
_TELL_AGAIN_S = 5.0

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Rights:
    """What decides over a session."""

    grants: Grants
    policies: PolicySource
    holding: Holding
    sessions: Sessions
    clock: Clock
    direct: Direct


@dataclass(frozen=True, slots=True)
class Backing:
    """What a session is built on. `mask_key` keys the hash transform, for all sessions alike."""

    journal: Journal
    store: SessionStore
    secrets: Secrets
    contexts: UpstreamContexts
    signals: Signals
    mask_key: bytes
    node: str


class Opening:
    """Opens sessions."""

    def __init__(self, rights: Rights, backing: Backing) -> None:
        self._rights = rights
        self._backing = backing
        self._texts: OrderedDict[tuple[str, ...], JudgedTexts] = OrderedDict()
        self._catalogs: OrderedDict[tuple[str, str], Catalogs] = OrderedDict()

    async def open(self, incoming: Incoming, request: StartupRequest) -> PostgresSession:
        """The session, its client told that it may begin. Not started yet.

        Raises:
            TaskgateError: it may not be, or cannot be; nothing is left open.
        """
        try:
            grant, task, resource = await self._authorise(request)
        except (NotAuthenticated, Denied) as error:
            self.turned_away(incoming.peer, error, request.task)
            raise
        database = _database(resource, request)
        rights, backing = self._rights, self._backing
        info = SessionInfo(
            id=new_id("s"),
            grant_id=grant.id,
            identity=grant.identity,
            task=task.name,
            resource=resource.name,
            protocol=_PROTOCOL,
            client_address=incoming.peer,
            client_application=request.application_name,
            started_at=rights.clock.now(),
            step=grant.step,
            chain=grant.chain,
        )
        recording = backing.journal.open(info, reason=grant.reason)
        gate = TaskGate(
            info, grant, rights.policies, recording, rights.clock, backing.signals,
            rights.grants.ensure,
        )  # fmt: skip
        upstream: Upstream | None = None
        try:
            judge_settings(request.settings, gate)
            upstream = await self._connect(resource, database, request, info)
            recording.flush()
            session = self._build(incoming, resource, database, info, gate, upstream)
            await backing.store.add(info, backing.node)
            rights.sessions.add(session)
            self._welcome(incoming, request, upstream, session)
        except BaseException as error:
            if upstream is not None:
                upstream.transport.abort()
            if isinstance(error, UpstreamFault):
                backing.signals.upstream_errors.inc()
            elif isinstance(error, NotRecorded):
                backing.signals.recording_errors.inc()
            why = error.message if isinstance(error, TaskgateError) else "it could not be opened"
            self._put_away(recording, why)
            raise
        backing.signals.session_opened(_PROTOCOL)
        return session

    def turned_away(self, peer: str, error: TaskgateError, task: str = "") -> None:
        """Notes in the gateway's own log that somebody at `peer` did not get in."""
        self._backing.signals.login_failed(_PROTOCOL)
        why = getattr(error, "why", error.message)
        facts = {"door": _PROTOCOL, "address": peer, "task": task[:200], "reason": why}
        try:
            self._backing.journal.gateway_log.append(
                Event(EventKind.LOGIN_FAILED, self._rights.clock.now(), facts)
            )
        except NotRecorded:
            # Nothing happens on account of it, so that nothing happens unrecorded.
            self._backing.signals.recording_errors.inc()

    # Who, and for what.

    async def _authorise(self, request: StartupRequest) -> tuple[Grant, Task, Resource]:
        policy = self._rights.policies.current
        task = policy.tasks.get(request.task)
        name = request.resource
        if not name and task is not None and len(task.resources) == 1:
            name = task.resources[0]
        # An unknown task goes the same way as a wrong token, so that neither can be told apart.
        if looks_like_jwt(request.password):
            grant = await self._rights.direct.grant(
                request.password, request.task, request.application_name
            )
            reaches = task is not None and name in task.resources and name in grant.resources
        else:
            grant = await self._rights.grants.check(request.password, request.task, name or "")
            reaches = True
        if task is None or not reaches or name not in policy.resources:
            raise NotAuthenticated("no grant for this task goes with this token")
        resource = policy.resources[name]
        if resource.protocol != _PROTOCOL:
            raise Denied(
                f"resource {name} is reached by {resource.protocol}, not by PostgreSQL's protocol",
                rule="resource",
                hint=f"taskgate connect {task.name} uses the right client",
            )
        self._rights.grants.ensure(grant)
        return grant, task, resource

    # The resource.

    async def _connect(
        self, resource: Resource, database: str, request: StartupRequest, info: SessionInfo
    ) -> Upstream:
        settings = {name: value for name, value in request.settings}
        settings["application_name"] = tag(info, request.application_name)
        settings.setdefault("client_encoding", "UTF8")
        try:
            upstream = await connect(
                resource,
                await self._secrets_of(resource),
                self._backing.contexts,
                database=database,
                settings=tuple(settings.items()),
            )
        except LoginRefused as error:
            _log.error(
                "resource.refused_sign_in",
                resource=resource.name,
                sqlstate=error.server_sqlstate,
                said=error.server_message,
            )
            raise
        reported = dict(upstream.login.parameters)
        if reported.get("standard_conforming_strings") != "on":
            upstream.transport.abort()
            raise UpstreamFault(
                "the resource runs with standard_conforming_strings off, so strings would not be "
                "read as the gate reads them",
                hint="ALTER ROLE ... SET standard_conforming_strings = on for the gate's role",
            )
        if reported.get("client_encoding") not in ("UTF8", "SQL_ASCII") or reported.get(
            "server_encoding"
        ) not in ("UTF8",):
            upstream.transport.abort()
            raise UpstreamFault(
                f"the database's encoding is {reported.get('server_encoding')}; the gate reads "
                "UTF8 only",
                hint="the gate serves databases with encoding UTF8",
            )
        return upstream

    async def _secrets_of(self, resource: Resource) -> UpstreamSecrets:
        credential = resource.credential

        async def value(ref: SecretRef | None) -> str | None:
            if ref is None:
                return None
            return (await self._backing.secrets.get(ref)).reveal()

        return UpstreamSecrets(
            password=await value(credential.password),
            certificate=await value(credential.certificate),
            private_key=await value(credential.private_key),
        )

    # The session.

    def _build(
        self,
        incoming: Incoming,
        resource: Resource,
        database: str,
        info: SessionInfo,
        gate: TaskGate,
        upstream: Upstream,
    ) -> PostgresSession:
        if incoming.transport is None:
            raise NotAuthenticated("the client went away while it signed in")
        task = self._rights.policies.current.tasks.get(info.task)
        exchange = Exchange(
            gate,
            # A narrowed grant, or an agent's, is judged otherwise than its task alone.
            _shared(
                self._texts,
                (info.task, resource.name, database, lens_of(gate.grant)),
                lambda: JudgedTexts(self._backing.signals.tallies.cache),
            ),
            _shared(self._catalogs, (resource.name, database), Catalogs),
            self._backing.mask_key,
            f"{resource.name}\0{database}",
            lambda application: tag(info, application),
            record_rows=task is not None and task.record_rows,
        )

        async def cancel_upstream() -> None:
            if upstream.login.key is not None:
                await cancel(
                    resource,
                    await self._secrets_of(resource),
                    self._backing.contexts,
                    upstream.login.key,
                    upstream.peer,
                )

        async def hold(session: PostgresSession, ask: AskHold) -> TaskgateError | None:
            return await self._rights.holding.run(
                session, ask.admission.number, ask.request, ask.admission.decision
            )

        return PostgresSession(
            incoming.transport,
            upstream.transport,
            exchange,
            gate,
            self._rights.clock,
            Around(hold, cancel_upstream, self._closed),
        )

    def _welcome(
        self,
        incoming: Incoming,
        request: StartupRequest,
        upstream: Upstream,
        session: PostgresSession,
    ) -> None:
        login = upstream.login
        key = self._key(request.minor, session, login.key)
        session.cancel_key = key
        parts = [AUTHENTICATION_OK]
        # The client is shown the name it gave, not the tag that the resource's log shows.
        shown = dict(login.parameters) | {"application_name": request.application_name}
        parts += [messages.encode_parameter_status(name, value) for name, value in shown.items()]
        parts.append(encode_backend_key(key))
        parts.append(messages.encode_ready_for_query(login.status))
        incoming.send(b"".join(parts))

    def _key(self, minor: int, session: PostgresSession, upstream: BackendKey | None) -> BackendKey:
        """A cancel key of the gate's own: 4 bytes of secret under protocol 3.0, 32 under 3.2. The
        process id is the resource's, since clients compare it with what they hear by
        pg_backend_pid(), pg_stat_activity and notifications."""
        while True:
            process_id = (
                upstream.process_id
                if upstream is not None
                else int.from_bytes(os.urandom(4), "big") & 0x7FFFFFFF
            )
            secret = os.urandom(4 if minor == 0 else 32)
            if self._rights.sessions.add_key(process_id, secret, session.cancel):
                return BackendKey(process_id, secret)

    async def _closed(self, session: PostgresSession, why: str) -> None:
        """A session has ended: its keys, its place in the lists, its recording."""
        rights, backing = self._rights, self._backing
        if session.cancel_key is not None:
            rights.sessions.remove_key(session.cancel_key.process_id, session.cancel_key.secret)
        backing.signals.session_closed(_PROTOCOL)
        now = rights.clock.now()
        try:
            await session.recording.seal_and_settle(now)
        except NotRecorded:
            # What was written stays, and the next start seals it.
            backing.signals.recording_errors.inc()
        id_ = session.gate.info.id
        try:
            ended = await self._told_ended(id_, now, why)
        finally:
            rights.sessions.remove(id_)
        # Else it would be listed as open until the next start.
        while not ended:
            await asyncio.sleep(_TELL_AGAIN_S)
            ended = await self._told_ended(id_, now, why)

    async def _told_ended(self, session_id: str, at: float, why: str) -> bool:
        """Whether the store has taken in that a session has ended."""
        try:
            await self._backing.store.end(session_id, at, why)
        except StoreUnavailable as error:
            _log.warning("session.end_not_stored", session=session_id, why=error.message)
            return False
        return True

    def _put_away(self, recording: Recording, why: str) -> None:
        now = self._rights.clock.now()
        try:
            recording.append(Event(EventKind.SESSION_CLOSED, now, {"reason": why, "requests": 0}))
            recording.seal(now)
        except NotRecorded:
            self._backing.signals.recording_errors.inc()


def tag(info: SessionInfo, application: str) -> str:
    """What the database's own log shows: `taskgate PERSON/TASK APPLICATION`, at most 63 bytes."""
    text = f"taskgate {info.identity.subject}/{info.task} {application}".strip()
    shown = "".join(c if " " <= c <= "~" else "?" for c in text)
    return shown[:_MAX_APPLICATION_BYTES]


def _database(resource: Resource, request: StartupRequest) -> str:
    """Raises: Denied for a database that the resource does not offer."""
    name = request.database or resource.database
    if not name:
        raise Denied(
            f"resource {resource.name} has no default database",
            rule="resource",
            hint="name one: dbname=...",
        )
    offered = resource.databases or ((resource.database,) if resource.database else ())
    if offered and name not in offered:
        raise Denied(
            f'resource {resource.name} offers no database "{name}"',
            rule="resource",
            hint=f"it offers {', '.join(offered)}",
        )
    return name


def _shared(kept: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """What sessions of one kind share; the kind unused longest is forgotten."""
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        if len(kept) > _MAX_SHARED:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return found
