"""The way from a session to its host: what the gate signs in with, and what is recorded of it.

Where a task forces its commands, each has a certificate and a connection of its own, and the host
itself runs nothing but what was judged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.opening import Admitted, Opening
from taskgate.gateway.ssh_trust import HostKeys
from taskgate.model.errors import Denied, UpstreamFault
from taskgate.model.event import EventKind
from taskgate.model.resource import Resource
from taskgate.policy.rules import Task
from taskgate.protocols.ssh.certificates import CLOCK_SKEW_S, CertificateFields, key_id
from taskgate.protocols.ssh.conversation import (
    ClientChannel,
    Ended,
    Endpoint,
    Host,
    HostCredential,
    HostKeyRefused,
    Link,
    Listening,
    Start,
    Stream,
    Target,
)
from taskgate.protocols.ssh.driver.hosts import HostConnection, connect
from taskgate.protocols.ssh.driver.minting import mint
from taskgate.protocols.ssh.forwards import FORWARD_VERBS
from taskgate.protocols.ssh.requests import SFTP

_SEEN_WITH_A_TERMINAL = ("terminal", "shell")
# What sshd itself serves SFTP by, whatever its Subsystem line says (sshd_config(5)).
_SFTP_SERVER = "internal-sftp"
# What a certificate may run that is for a host on the way or, where commands are forced, for
# connections.
_NOTHING: Final = "exit 126"
_NO_COMMAND: Final = Start(_NOTHING)


@dataclass(frozen=True, slots=True)
class UpstreamKeys:
    """The gate's own: `authority` signs what it signs in with at hosts (a private key in OpenSSH's
    form). `source_addresses` are where hosts see it come from; empty where that is not told.
    `host_keys` are what it takes from them."""

    authority: bytes
    host_keys: HostKeys
    source_addresses: tuple[str, ...] = ()


class SshUpstream:
    """The way of one session."""

    def __init__(
        self, admitted: Admitted, gate: TaskGate, opening: Opening, keys: UpstreamKeys
    ) -> None:
        self.gate = gate
        self._resource = admitted.resource
        self._expires_at = admitted.grant.expires_at
        self._opening = opening
        self._keys = keys

    async def connect(self) -> Host:
        """The host, for all of the session's channels; recorded.

        Raises: UpstreamFault, BadConfig, StoreUnavailable, NotRecorded, Denied.
        """
        if self._resource.credential.minted and self._task().certificate.force_command:
            return _Forced(self)
        return await self.reach(None)

    async def reach(self, start: Start | None) -> HostConnection:
        """A connection; with `start`, one that is good for nothing else. Raises: as `connect`."""
        host: HostConnection | None = None
        steps: list[dict[str, Any]] = []
        try:
            for resource in self._resource.via:
                host, facts = await self._step(resource, None, host)
                steps.append({"resource": resource.name} | facts)
            host, facts = await self._step(self._resource, start, host)
            if steps:
                facts["via"] = steps
            self.gate.note(EventKind.UPSTREAM_REACHED, facts)
            self.gate.recording.flush()
        except BaseException:
            if host is not None:
                host.close()
            raise
        return host

    async def _step(
        self, resource: Resource, start: Start | None, through: HostConnection | None
    ) -> tuple[HostConnection, dict[str, Any]]:
        """One host of the way, and what is recorded of it."""
        host_keys = self._keys.host_keys
        trust = await host_keys.trust(resource, self.gate, through)
        credential, facts = await self._credential(resource, start, through)
        try:
            host = await connect(resource, trust, credential, through)
        except HostKeyRefused as error:
            host_keys.refused(resource, self.gate, error)
            raise
        return host, {"host_key": host.host_key} | facts

    async def _credential(
        self, resource: Resource, start: Start | None, through: HostConnection | None
    ) -> tuple[HostCredential, dict[str, Any]]:
        """What the gate signs in with, and what of it is recorded."""
        credential, reveal = resource.credential, self._opening.reveal
        if credential.minted:
            return self._minted(resource, start, through)
        found = HostCredential(
            credential.username,
            await reveal(credential.password),
            await reveal(credential.private_key),
            await reveal(credential.passphrase),
        )
        return found, {}

    def _lends(self, start: Start | None, verb: str) -> bool:
        """Whether what runs may use the client's agent or display; without `start`, whether any
        command of the task's may."""
        if start is None:
            return self.gate.speaks_of((verb,))
        return start.agent if verb == "agent" else start.x11 is not None

    def _minted(
        self, resource: Resource, start: Start | None, through: HostConnection | None
    ) -> tuple[HostCredential, dict[str, Any]]:
        info, credential = self.gate.info, resource.credential
        terms = self._task().certificate
        on_the_way = resource is not self._resource
        now = self._opening.rights.clock.now()
        pty = start.terminal is not None if start else self.gate.speaks_of(_SEEN_WITH_A_TERMINAL)
        forced = _forced(start) if start else None
        sources = credential.source_addresses
        if not sources and not through:
            sources = self._keys.source_addresses
        fields = CertificateFields(
            # sshd prints it as a number without a sign; some readers of its log know signed ones.
            serial=secrets.randbits(63),
            key_id=key_id(info.identity.key, info.task, info.id),
            # A task's principals are for its own host.
            principals=(not on_the_way and terms.principals) or (credential.username,),
            valid_after=int(now - CLOCK_SKEW_S),
            valid_before=int(min(now + terms.lasts_s, self._expires_at)),
            force_command=_NOTHING if on_the_way else forced,
            source_addresses=sources,
            permit_pty=pty and not on_the_way,
            permit_port_forwarding=on_the_way
            or (start in (None, _NO_COMMAND) and self.gate.speaks_of(FORWARD_VERBS)),
            permit_agent_forwarding=not on_the_way and self._lends(start, "agent"),
            permit_x11_forwarding=not on_the_way and self._lends(start, "x11"),
        )
        made = mint(self._keys.authority, fields)
        principals = list(fields.principals)
        facts = {
            "serial": fields.serial,
            "key": made.fingerprint,
            "principals": principals,
            "valid_before": fields.valid_before,
            "permits": fields.permits,
        }
        if fields.force_command is not None:
            facts["force_command"] = fields.force_command
        shown = f"for {', '.join(principals)}, good from {_at(fields.valid_after)} to" \
            f" {_at(fields.valid_before)}"  # fmt: skip
        found = HostCredential(
            credential.username,
            private_key=made.private_key,
            certificate=made.certificate,
            shown=shown,
        )
        return found, {"certificate": facts}

    def _task(self) -> Task:
        task = self._opening.rights.policies.current.tasks.get(self.gate.info.task)
        if task is None:
            raise Denied(f"there is no task {self.gate.info.task} any more", rule="policy")
        return task


class _Forced:
    """A host that is reached anew for each start, by a certificate good for that alone."""

    def __init__(self, upstream: SshUpstream) -> None:
        self._upstream = upstream
        self._open: set[HostConnection] = set()
        self._carrying: HostConnection | None = None
        self._reaching = asyncio.Lock()
        self.alive = True

    async def start(
        self, channel: ClientChannel, start: Start, stream: Stream | None = None
    ) -> Ended:
        """See `conversation.Host`."""
        host = await self._upstream.reach(start)
        try:
            self._open.add(host)
            if not self.alive:
                raise UpstreamFault("the session has ended")
            await self._upstream.gate.recording.settle()
            return await host.start(channel, start, stream)
        finally:
            self._open.discard(host)
            host.close()

    async def connect(self, link: Link, to: Target, max_bytes: int | None = None) -> None:
        """See `conversation.Host`."""
        await (await self._carrier()).connect(link, to, max_bytes)

    async def listen(
        self, listening: Listening, at: Endpoint, arrived: Callable[[Link, Endpoint], None]
    ) -> None:
        """See `conversation.Host`."""
        await (await self._carrier()).listen(listening, at, arrived)

    async def _carrier(self) -> HostConnection:
        """One connection for all that is carried, good for no command."""
        async with self._reaching:
            if self._carrying is None or not self._carrying.alive:
                host = await self._upstream.reach(_NO_COMMAND)
                self._open.add(host)
                if not self.alive:
                    host.close()
                    raise UpstreamFault("the session has ended")
                if self._carrying is not None:
                    self._open.discard(self._carrying)
                self._carrying = host
            return self._carrying

    def end(self) -> None:
        """See `conversation.Host`."""
        for host in self._open:
            host.end()

    def close(self) -> None:
        self.alive = False
        for host in self._open:
            host.close()


def _forced(start: Start) -> str:
    """Raises: Denied for what has no words to force."""
    if start.command is not None:
        return start.command
    if start.subsystem == SFTP:
        return _SFTP_SERVER
    raise Denied(
        f"the task forces its commands at the host, and {start.what} is none",
        rule="certificate.force_command",
    )


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
