"""Connections to hosts: pinned host keys, the gate's own credential, nothing of this machine's own
SSH configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import asyncssh
from asyncssh.constants import OPEN_RESOURCE_SHORTAGE
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
    HostSide,
)
from taskgate.protocols.ssh.driver.forwards import CHANNEL, HostPort, JoinedLink, Side

KEEPALIVE_S = 15.0


class HostConnection:
    """One connection to a host, for one session of the gate. `host_key` is what it showed, as a
    SHA-256 fingerprint."""

    def __init__(self, connection: asyncssh.SSHClientConnection, where: str) -> None:
        self._connection = connection
        self._where = where
        key = connection.get_server_host_key()
        self.host_key = key.get_fingerprint() if key is not None else ""

    async def start(
        self, channel: ClientChannel, start: Start, stream: Stream | None = None
    ) -> Ended:
        """See `conversation.Host`."""
        client = cast(NearEnd, channel)
        side = HostSide(client, start.max_bytes)
        if stream is not None:
            client.stream = stream
            stream.attach(side)
        try:
            await self._connection.create_session(
                lambda: side, start.command, subsystem=start.subsystem, env=_variables(start),
                send_env=(), encoding=None, window=WINDOW_BYTES, max_pktsize=MAX_PACKET_BYTES,
                x11_forwarding=False, **_terminal(start.terminal),
            )  # fmt: skip
            return await side.ended
        except (asyncssh.Error, OSError) as error:
            raise UpstreamFault(
                f"{self._where} did not start {start.what}: {_said(error)}",
                hint="the host's own log may say why",
            ) from None
        finally:
            side.close()

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
            raise UpstreamFault(f"{self._where} did not connect there: {_said(error)}") from None

    async def listen(
        self, listening: Listening, at: Endpoint, arrived: Callable[[Link, Endpoint], None]
    ) -> None:
        """See `conversation.Host`."""
        port = cast(HostPort, listening)

        def came(orig_host: str, orig_port: int) -> Any:
            link = port.link(orig_host, orig_port)
            if link is None:
                raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels")
            arrived(link, Endpoint(orig_host, orig_port))
            return link.asked()

        try:
            with self._expecting(at, came):
                listener = await self._connection.create_server(
                    came, at.host, at.port, encoding=None, **CHANNEL
                )
        except (asyncssh.Error, OSError) as error:
            raise UpstreamFault(
                f"{self._where} does not listen there: {_said(error)}",
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

    def close(self) -> None:
        self._connection.abort()


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


async def connect(resource: Resource, credential: HostCredential) -> HostConnection:
    """A connection to `resource`, the gate signed in there.

    Raises: UpstreamFault, BadConfig.
    """
    where = f"resource {resource.name} at {resource.host}:{resource.port}"
    options: dict[str, Any] = {}
    if credential.private_key is not None:
        options["client_keys"] = [_key(resource, credential)]
        options["preferred_auth"] = "publickey"
    else:
        options["client_keys"] = None
        options["password"] = credential.password
        options["preferred_auth"] = "password,keyboard-interactive"
    try:
        async with asyncio.timeout(UPSTREAM_CONNECT_TIMEOUT_S):
            connection = await asyncssh.connect(
                resource.host,
                resource.port,
                config=None,
                username=credential.username,
                known_hosts=_known(resource.host_trust, resource),
                agent_path=None,
                gss_host=None,
                x509_trusted_certs=None,
                host_based_auth=False,
                keepalive_interval=KEEPALIVE_S,
                client_version="taskgate",
                **algorithms.OPTIONS,
                **options,
            )
    except asyncssh.HostKeyNotVerifiable:
        raise UpstreamFault(
            f"{where} showed a host key that is not the one in its policy",
            hint="if the host was set up anew, check its key there and put it into host_keys",
        ) from None
    except asyncssh.PermissionDenied:
        raise _not_let_in(where, credential) from None
    except TimeoutError:
        raise UpstreamFault(
            f"{where} did not answer within {UPSTREAM_CONNECT_TIMEOUT_S:g} s",
            hint="check that its address is right and that the gateway may reach it",
        ) from None
    except (asyncssh.Error, OSError) as error:
        raise UpstreamFault(
            f"{where} cannot be reached: {_said(error)}",
            hint="check that the host is running, and its address",
        ) from None
    return HostConnection(connection, where)


def public_keys(lines: tuple[str, ...]) -> list[asyncssh.SSHKey]:
    """Raises: BadConfig for one that is none."""
    try:
        return [asyncssh.import_public_key(line) for line in lines]
    except asyncssh.KeyImportError as error:
        raise BadConfig(f"a host key in the policy cannot be read: {error}") from None


def _known(trust: HostTrust, resource: Resource) -> tuple[list[asyncssh.SSHKey], ...]:
    try:
        return public_keys(trust.keys), public_keys(trust.authorities), []
    except BadConfig as error:
        raise BadConfig(f"resource {resource.name}: {error.message}") from None


def _not_let_in(where: str, credential: HostCredential) -> UpstreamFault:
    if credential.certificate is None:
        return UpstreamFault(
            f"{where} does not let the gate in as {credential.username}",
            hint="check the resource's credential, and the host's own log",
        )
    return UpstreamFault(
        f"{where} does not let the gate in as {credential.username} by a certificate"
        f" {credential.shown}",
        hint="at the host: TrustedUserCAKeys has the line of `taskgate ssh-ca`, the account's"
        " AuthorizedPrincipalsFile one of the principals, and the clock is right; its log says"
        " which of them it is",
    )


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


def _said(error: Exception) -> str:
    if isinstance(error, asyncssh.Error):
        return error.reason
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    return getattr(error, "strerror", None) or type(error).__name__
