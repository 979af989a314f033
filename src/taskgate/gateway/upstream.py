"""Connecting to a resource and signing in with the gate's own credential; and cancelling there.

Source: PostgreSQL documentation, "Start-up", "SSL Session Encryption", "Cancelling Requests in
Progress".
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

from taskgate.gateway.tls import ClientCertificate, UpstreamContexts
from taskgate.model import limits
from taskgate.model.errors import BadConfig, TaskgateError, UpstreamFault
from taskgate.model.resource import Resource, TlsMode
from taskgate.protocols.postgres.authentication import SSL_REQUEST, BackendKey, encode_cancel
from taskgate.protocols.postgres.login import Channel, LoggedIn, Login, LoginRefused, LoginRequest

_NONCE_BYTES = 18
_VERIFYING = frozenset({TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL})


@dataclass(frozen=True, slots=True)
class UpstreamSecrets:
    """The credential's secrets, looked up. The certificate and its key are PEM text."""

    password: str | None = field(default=None, repr=False)
    certificate: str | None = None
    private_key: str | None = field(default=None, repr=False)

    def client_certificate(self) -> ClientCertificate | None:
        """Raises: BadConfig where one half is missing."""
        if self.certificate is None and self.private_key is None:
            return None
        if self.certificate is None or self.private_key is None:
            raise BadConfig("a client certificate needs both `certificate` and `private_key`")
        return ClientCertificate(self.certificate, self.private_key)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A session of the resource, signed in.

    `transport` is paused and its protocol does nothing: call `set_protocol`, give the protocol
    `login.leftover` if it is not empty, then `resume_reading`. `peer` is where it went, for
    `cancel`. `below` is the transport under its TLS, None without.
    """

    transport: asyncio.Transport
    login: LoggedIn
    channel: Channel
    peer: tuple[str, int]
    below: asyncio.Transport | None = None


async def connect(
    resource: Resource,
    credential: UpstreamSecrets,
    contexts: UpstreamContexts,
    *,
    database: str,
    settings: tuple[tuple[str, str], ...] = (),
    timeout_s: float = limits.UPSTREAM_CONNECT_TIMEOUT_S,
) -> Upstream:
    """Connects, encrypts as the resource's `tls` says, and signs in.

    `settings` go with the start-up, `application_name` among them.

    Raises:
        UpstreamFault: unreachable, not who it should be, or it refuses (LoginRefused); the message
            names the resource and its address and never the credential.
        BadConfig: the resource's certificates cannot be used.
    """
    request = LoginRequest(resource.credential.username, database, credential.password, settings)
    async with _opened(resource, credential, contexts, None, timeout_s) as line:
        channel = line.channel
        login = Login(request, channel, secrets.token_urlsafe(_NONCE_BYTES))
        line.write(login.start())
        while login.result is None:
            answer = login.feed(await line.read())
            if answer:
                line.write(answer)
        transport = line.detach()
        return Upstream(transport, login.result, channel, line.peer, line.below)


async def cancel(
    resource: Resource,
    credential: UpstreamSecrets,
    contexts: UpstreamContexts,
    key: BackendKey,
    peer: tuple[str, int],
    *,
    timeout_s: float = limits.UPSTREAM_CONNECT_TIMEOUT_S,
) -> None:
    """Asks the resource at `peer` to cancel what the session of `key` is doing. Returns when the
    resource has taken the request, which need not mean that it found something to cancel.

    Raises:
        UpstreamFault: it could not be asked.
        BadConfig: the resource's certificates cannot be used.
    """
    async with _opened(resource, credential, contexts, peer, timeout_s) as line:
        line.write(encode_cancel(key.process_id, key.secret))
        with contextlib.suppress(ConnectionError):
            # It answers by closing; nothing it says counts.
            while True:
                await line.read()


class _Line(asyncio.Protocol):
    """The connection while it is being made: reads on demand, and remembers how it ended."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.below: asyncio.Transport | None = None
        self.channel = Channel()
        self.peer: tuple[str, int] = ("", 0)
        self._chunks: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Exception | None = None
        self._detached = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self.transport = self.transport or cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._wake()

    def eof_received(self) -> bool:
        self._ended = self._ended or ConnectionResetError("it closed the connection")
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self._ended or exc or ConnectionResetError("it closed the connection")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """What has come, waiting for the first of it.

        Raises:
            ConnectionError: the connection is at its end.
        """
        while not self._chunks:
            if self._ended is not None:
                raise self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    def write(self, data: bytes) -> None:
        if self.transport is None:
            raise ConnectionResetError("it closed the connection")
        self.transport.write(data)

    def abort(self) -> None:
        if self.transport is not None and not self._detached:
            self.transport.abort()

    def detach(self) -> asyncio.Transport:
        """Gives the paused transport away.

        Raises:
            ConnectionError: the connection ended meanwhile.
        """
        if self._ended is not None:
            raise self._ended
        if self.transport is None:
            raise ConnectionResetError("it closed the connection")
        self.transport.pause_reading()
        self._detached = True
        return self.transport


@contextlib.asynccontextmanager
async def _opened(
    resource: Resource,
    credential: UpstreamSecrets,
    contexts: UpstreamContexts,
    peer: tuple[str, int] | None,
    timeout_s: float,
) -> AsyncIterator[_Line]:
    """A connection, encrypted as configured; closed at the end unless it was detached. Whatever
    goes wrong comes out as a TaskgateError that names the resource."""
    where = f"resource {resource.name} at {resource.host}:{resource.port}"
    line = _Line()
    try:
        context = contexts.get(resource.tls, resource.ca_file, credential.client_certificate())
        async with asyncio.timeout(timeout_s):
            await _reach(line, peer or (resource.host, resource.port))
            if context is not None:
                await _encrypt(line, context, resource)
            yield line
    except LoginRefused as error:
        error.args = (f"{where}: {error.message}",)
        error.message = f"{where}: {error.message}"
        raise
    except UpstreamFault as error:
        raise UpstreamFault(f"{where}: {error.message}", hint=error.hint) from None
    except TaskgateError:
        raise
    except TimeoutError:
        raise UpstreamFault(
            f"{where} did not answer within {timeout_s:g} s",
            hint="Check that its address is right and that the gateway may reach it.",
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise UpstreamFault(f"{where} {_told(error)}", hint=_advice(error, resource)) from None
    except UnicodeError:
        # A name that no resolver takes (a label too long, an empty one).
        raise UpstreamFault(f"{where} has a name that cannot be found") from None
    finally:
        line.abort()


async def _reach(line: _Line, address: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: line, *address)
    line.transport = transport
    line.peer = tuple(transport.get_extra_info("peername")[:2])
    connected: socket.socket = transport.get_extra_info("socket")
    # A resource that vanished without a word is noticed even while nothing is asked of it.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _encrypt(line: _Line, context: ssl.SSLContext, resource: Resource) -> None:
    line.write(SSL_REQUEST)
    answer = await line.read()
    if answer[:1] == b"N":
        raise UpstreamFault(
            "it does not speak TLS",
            hint="Switch TLS on there, or set `tls: disable` for this resource.",
        )
    if answer != b"S":
        # Bytes behind the S came in clear and could be another's (CVE-2021-23222); an error
        # message here is not to be believed either (CVE-2024-10977).
        raise UpstreamFault("its answer to a TLS request is none")
    transport = line.transport
    if transport is None:
        raise ConnectionResetError("it closed the connection")
    upgraded = await asyncio.get_running_loop().start_tls(
        transport, line, context, server_hostname=resource.host
    )
    if upgraded is None:
        raise ConnectionResetError("it closed the connection")
    line.below = transport
    line.transport = upgraded
    session: ssl.SSLObject = upgraded.get_extra_info("ssl_object")
    line.channel = Channel(
        tls=True,
        verified=resource.tls in _VERIFYING,
        certificate=session.getpeercert(binary_form=True) or b"",
    )


def _told(error: OSError | ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"could not be verified: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"and the gateway found no common TLS: {error.reason or 'handshake failed'}"
    if isinstance(error, socket.gaierror):
        return "has a name that cannot be found"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    if isinstance(error, ConnectionError):
        return "closed the connection"
    return f"cannot be reached: {error.strerror or 'unknown network error'}"


def _advice(error: OSError | ssl.SSLError, resource: Resource) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if resource.ca_file:
            return f"Check its certificate, its name there, and the issuer in {resource.ca_file}."
        return "Check its certificate and its name there, or name its issuer in ca_file."
    if isinstance(error, ssl.SSLError):
        return "Check the resource's TLS settings and, if it asks for one, the client certificate."
    return "Check that the resource is running, and its address."
