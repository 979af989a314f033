"""Connections to hosts: pinned host keys, the gate's own credential, nothing of this machine's own
SSH configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE
from asyncssh.listener import SSHTCPClientListener

from taskgate.model.errors import BadConfig, UpstreamFault
from taskgate.model.limits import UPSTREAM_CONNECT_TIMEOUT_S
from taskgate.model.resource import HostTrust, Resource
from taskgate.protocols.ssh.conversation import (
    ClientChannel,
    Ended,
    Endpoint,
    HostCredential,
    Link,
    Listening,
    NearEnd,
    Start,
    Stream,
    Target,
    Terminal,
)
from taskgate.protocols.ssh.driver import algorithms
from taskgate.protocols.ssh.driver.channels import (
    MAX_PACKET_BYTES,
    WINDOW_BYTES,
    ClientSide,
    HostSide,
)
from taskgate.protocols.ssh.driver.forwards import CHANNEL, HostPort, JoinedLink, Side
from taskgate.protocols.ssh.driver.host_faults import faults, said
from taskgate.protocols.ssh.driver.host_keys import Known, Shown, known
from taskgate.protocols.ssh.driver.sending import send_nothing_ignored

KEEPALIVE_S = 15.0


class HostConnection:
    """One connection to a host, for one session of the gate, with those `through` which it goes:
    they are closed with it. `host_key` is what it showed, as a SHA-256 fingerprint."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        resource: Resource,
        through: HostConnection | None = None,
    ) -> None:
        self.resource = resource.name
        self._connection = connection
        self._through = through
        self._where = _where(resource, through)
        # The channels that lend something to the host while they run.
        self._lenders: dict[ClientSide, Start] = {}
        self._running: set[HostSide] = set()
        # asyncssh would give the host what this machine has.
        vars(connection).update(
            _process_auth_agent_at_openssh_dot_com_open=self._agent_wanted,
            _process_x11_open=self._x11_wanted,
        )
        send_nothing_ignored(connection)
        key = connection.get_server_host_key()
        self.host_key = key.get_fingerprint() if key is not None else ""

    async def start(
        self, channel: ClientChannel, start: Start, stream: Stream | None = None
    ) -> Ended:
        """See `conversation.Host`."""
        # What stands for a client's channel lends nothing.
        client, lender = cast(NearEnd, channel), cast(ClientSide, channel)
        side = HostSide(client, start)
        if stream is not None:
            client.stream = stream
            stream.attach(side)
        self._running.add(side)
        try:
            if start.agent or start.x11 is not None:
                self._lenders[lender] = start
            await self._connection.create_session(
                lambda: side, start.command, subsystem=start.subsystem, env=_variables(start),
                send_env=(), encoding=None, window=WINDOW_BYTES, max_pktsize=MAX_PACKET_BYTES,
                x11_forwarding=False, **_terminal(start.terminal),
            )  # fmt: skip
            return await side.ended
        except (asyncssh.Error, OSError) as error:
            raise UpstreamFault(
                f"{self._where} did not start {start.what}: {said(error)}",
                hint="the host's own log may say why",
            ) from None
        finally:
            self._lenders.pop(lender, None)
            self._running.discard(side)
            side.close()

    def _agent_wanted(self, packet: Any) -> Any:
        packet.check_end()
        lender = next((c for c, start in reversed(self._lenders.items()) if start.agent), None)
        link = _lent(lender, "agent")
        return self._connection.create_agent_channel(**CHANNEL), link

    def _x11_wanted(self, packet: Any) -> Any:
        packet.get_string(), packet.get_uint32()
        packet.check_end()
        lender = next((c for c, start in reversed(self._lenders.items()) if start.x11), None)
        link = _lent(lender, "x11")
        return self._connection.create_x11_channel(**CHANNEL), link

    async def connect(self, link: Link, to: Target, max_bytes: int | None = None) -> None:
        """See `conversation.Host`."""
        joined = cast(JoinedLink, link)
        joined.max_bytes = max_bytes
        connection = self._connection

        async def open_host(side: Callable[[], Side]) -> None:
            if isinstance(to, str):
                await connection.create_unix_connection(side, to, encoding=None, **CHANNEL)
            else:
                # Where the client says that it comes from is hearsay: it is not passed on.
                await connection.create_connection(
                    side, to.host, to.port, "127.0.0.1", 0, encoding=None, **CHANNEL
                )

        try:
            await joined.carry(open_host)
        except (asyncssh.Error, OSError) as error:
            raise UpstreamFault(f"{self._where} did not connect there: {said(error)}") from None

    async def listen(
        self, listening: Listening, at: Endpoint, arrived: Callable[[Link, Endpoint], None]
    ) -> None:
        """See `conversation.Host`."""
        port = cast(HostPort, listening)

        def came(orig_host: str, orig_port: int) -> Any:
            link = port.link(orig_host, orig_port)
            if link is None:
                return _too_many()
            arrived(link, Endpoint(orig_host, orig_port))
            return link.asked()

        try:
            with self._expecting(at, came):
                listener = await self._connection.create_server(
                    came, at.host, at.port, encoding=None, **CHANNEL
                )
        except (asyncssh.Error, OSError) as error:
            raise UpstreamFault(
                f"{self._where} does not listen there: {said(error)}",
                hint="the port may be taken, or the host's own sshd forbids it",
            ) from None
        port.opened(listener.get_port())
        lost = asyncio.ensure_future(self._connection.wait_closed())
        try:
            await asyncio.wait({port.ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            listener.close()
        if not port.ended.done():
            raise UpstreamFault(f"{self._where} closed the connection; it listens no more")

    @contextmanager
    def _expecting(self, at: Endpoint, came: Callable[[str, int], Any]) -> Iterator[None]:
        """asyncssh knows a listener only some turns after the host has said that it listens; by
        then the first connection may have come, and would be turned away."""
        connection = self._connection
        early = SSHTCPClientListener[bytes](
            connection, came, at.host, at.port, None, "strict", WINDOW_BYTES, MAX_PACKET_BYTES
        )
        known: dict[Any, Any] = connection._remote_listeners
        key: Any = (at.host, at.port)
        if not at.port:
            known, key = connection._dynamic_remote_listeners, at.host
        known.setdefault(key, early)
        try:
            yield
        finally:
            if known.get(key) is early:
                del known[key]

    @property
    def alive(self) -> bool:
        return not self._connection.is_closed()

    def end(self) -> None:
        """See `conversation.Host`."""
        for side in self._running:
            side.close()

    def close(self) -> None:
        self._connection.abort()
        if self._through is not None:
            self._through.close()

    @property
    def tunnel(self) -> asyncssh.SSHClientConnection:
        """What another connection goes through."""
        return self._connection


async def _too_many() -> Side:
    # Said here and not at once: asyncssh has made the channel by then, and lets go of it this way.
    raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels are open")


def _lent(lender: ClientSide | None, verb: str) -> Awaitable[Side]:
    link = lender.lend(verb) if lender is not None else None
    if link is None:
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, "nothing is lent")
    return link.asked()


def _variables(start: Start) -> dict[bytes | str, bytes | str]:
    return {name: value for name, value in start.environment.items()}


def _terminal(terminal: Terminal | None) -> dict[str, Any]:
    if terminal is None:
        return {"request_pty": False}
    return {
        "request_pty": "force",
        "term_type": terminal.type,
        "term_size": (terminal.columns, terminal.rows, terminal.width, terminal.height),
        "term_modes": dict(terminal.modes),
    }


async def connect(
    resource: Resource,
    trust: HostTrust,
    credential: HostCredential,
    through: HostConnection | None = None,
) -> HostConnection:
    """A connection to `resource`, the gate signed in there; `through` another host where there is
    one on the way. Of `trust`, keys and authorities count.

    Raises: HostKeyRefused, UpstreamFault, BadConfig.
    """
    options: dict[str, Any] = {}
    if credential.private_key is not None:
        options["client_keys"] = [_key(resource, credential)]
        options["preferred_auth"] = "publickey"
    else:
        options["client_keys"] = None
        options["password"] = credential.password
        options["preferred_auth"] = "password,keyboard-interactive"
    shown, takes = Shown(), _known(trust, resource)
    with faults(_where(resource, through), shown, takes.algorithms, credential):
        async with asyncio.timeout(UPSTREAM_CONNECT_TIMEOUT_S):
            connection = await asyncssh.connect(
                resource.host,
                resource.port,
                username=credential.username,
                client_factory=lambda: shown,
                agent_path=None,
                host_based_auth=False,
                keepalive_interval=KEEPALIVE_S,
                x509_trusted_certs=None,
                gss_host=None,
                **takes.options,
                **_common(through),
                **options,
            )
    return HostConnection(connection, resource, through)


async def shown_key(resource: Resource, through: HostConnection | None = None) -> str:
    """The public key that a host shows, in OpenSSH's form; nobody signs in.

    Raises: UpstreamFault.
    """
    options = _common(through)
    tunnel = options.pop("tunnel", ())
    with faults(_where(resource, through), Shown(), algorithms.SIGNATURES):
        async with asyncio.timeout(UPSTREAM_CONNECT_TIMEOUT_S):
            key = await asyncssh.get_server_host_key(
                resource.host,
                resource.port,
                tunnel=tunnel,
                config=None,
                server_host_key_algs=list(algorithms.SIGNATURES),
                options=asyncssh.SSHClientConnectionOptions(**options),
            )
    if key is None:
        raise UpstreamFault(f"{_where(resource, through)} shows no host key")
    return key.export_public_key("openssh").decode().strip()


def _common(through: HostConnection | None) -> dict[str, Any]:
    tunnel = {"tunnel": through.tunnel} if through is not None else {}
    return {"config": None, "client_version": "taskgate", **algorithms.OPTIONS, **tunnel}


def _where(resource: Resource, through: HostConnection | None) -> str:
    behind = f", through {through.resource}," if through is not None else ""
    return f"resource {resource.name} at {resource.address}{behind}"


def _known(trust: HostTrust, resource: Resource) -> Known:
    try:
        return known(trust)
    except BadConfig as error:
        raise BadConfig(f"resource {resource.name}: {error.message}") from None


def _key(
    resource: Resource, credential: HostCredential
) -> asyncssh.SSHKey | tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
    key = _private_key(resource, credential)
    if credential.certificate is None:
        return key
    return key, asyncssh.import_certificate(credential.certificate)


def _private_key(resource: Resource, credential: HostCredential) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(credential.private_key or "", credential.passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        # Not chained: asyncssh's words may hold a part of the key.
        raise BadConfig(
            f"the private key of resource {resource.name} cannot be read",
            hint="OpenSSH's form or PEM; a passphrase is named by credential.passphrase",
        ) from None
