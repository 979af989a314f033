"""From a PostgreSQL client's request to a running session: its connection and its exchange."""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import structlog

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.heap import release_read_buffer
from taskgate.gateway.opening import Backing, Claim, Opening, Rights
from taskgate.gateway.postgres_incoming import Incoming
from taskgate.gateway.postgres_session import Around, PostgresSession
from taskgate.gateway.tls import UpstreamContexts
from taskgate.gateway.upstream import Upstream, UpstreamSecrets, cancel, connect
from taskgate.model.errors import (
    Denied,
    NotAuthenticated,
    TaskgateError,
    UpstreamFault,
)
from taskgate.model.grant import SessionInfo
from taskgate.model.resource import Resource
from taskgate.policy.bounds import lens_of
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

_log = structlog.get_logger(__name__)
_PROTOCOL = "postgres"
# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes.
_MAX_APPLICATION_BYTES = 63
_MAX_SHARED = 1_000

K = TypeVar("K")
V = TypeVar("V")


class PostgresOpening:
    """Opens sessions."""

    def __init__(self, rights: Rights, backing: Backing, contexts: UpstreamContexts) -> None:
        self._opening = Opening(_PROTOCOL, "PostgreSQL's protocol", rights, backing)
        self._rights = rights
        self._backing = backing
        self._contexts = contexts
        self._texts: OrderedDict[tuple[str, ...], JudgedTexts] = OrderedDict()
        self._catalogs: OrderedDict[tuple[str, str], Catalogs] = OrderedDict()

    async def open(self, incoming: Incoming, request: StartupRequest) -> PostgresSession:
        """The session, its client told that it may begin. Not started yet.

        Raises:
            TaskgateError: it may not be, or cannot be; nothing is left open.
        """
        claim = Claim(
            request.task,
            request.resource,
            request.password,
            incoming.peer,
            request.application_name,
            request.provider,
        )
        admitted = await self._opening.admit(claim)
        resource = admitted.resource
        database = _database(resource, request)
        gate = self._opening.begin(claim, admitted)
        upstream: Upstream | None = None
        try:
            judge_settings(request.settings, gate)
            upstream = await self._connect(resource, database, request, gate.info)
            gate.recording.flush()
            session = self._build(incoming, resource, database, gate, upstream)
            await self._opening.enlist(session)
            self._welcome(incoming, request, upstream, session)
        except BaseException as error:
            if upstream is not None:
                upstream.transport.abort()
            self._opening.abandon(gate, error)
            raise
        self._opening.began()
        return session

    def turned_away(self, peer: str, error: TaskgateError) -> None:
        """Notes in the gateway's own log that somebody at `peer` did not get in."""
        self._opening.turned_away(peer, error)

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
                self._contexts,
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
        credential, reveal = resource.credential, self._opening.reveal
        return UpstreamSecrets(
            password=await reveal(credential.password),
            certificate=await reveal(credential.certificate),
            private_key=await reveal(credential.private_key),
        )

    # The session.

    def _build(
        self,
        incoming: Incoming,
        resource: Resource,
        database: str,
        gate: TaskGate,
        upstream: Upstream,
    ) -> PostgresSession:
        if incoming.transport is None:
            raise NotAuthenticated("the client went away while it signed in")
        info = gate.info
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
                    self._contexts,
                    upstream.login.key,
                    upstream.peer,
                )

        async def hold(session: PostgresSession, ask: AskHold) -> TaskgateError | None:
            return await self._rights.holding.run(
                session, ask.admission.number, ask.request, ask.admission.decision
            )

        below = [side for side in (incoming.below, upstream.below) if side is not None]

        def rest() -> None:
            for side in below:
                release_read_buffer(side)

        return PostgresSession(
            incoming.transport,
            upstream.transport,
            exchange,
            gate,
            self._rights.clock,
            Around(hold, cancel_upstream, self._closed, rest),
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
        """A session has ended: its keys, and all that every session has."""
        if session.cancel_key is not None:
            key = session.cancel_key
            self._rights.sessions.remove_key(key.process_id, key.secret)
        await self._opening.put_away(session.gate, why)


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
