"""A PostgreSQL client before it has a session: start-up, TLS, password, all under one deadline."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from types import MappingProxyType
from typing import cast

from taskgate.gateway.tls import ListenerTls, start_server_tls
from taskgate.model.errors import NotAuthenticated, TaskgateError
from taskgate.protocols.postgres.authentication import CancelRequest
from taskgate.protocols.postgres.errors import Severity, encode_error
from taskgate.protocols.postgres.oauth_bearer import Offers
from taskgate.protocols.postgres.startup import BeginTls, Send, ServerStartup
from taskgate.protocols.postgres.startup_options import StartupRequest

_LEAVE_S = 2.0


class Incoming(asyncio.Protocol):
    """The client's connection until a session takes it over.

    `accepted` is called once, with this object, when the connection is made.
    """

    def __init__(
        self,
        tls: ListenerTls | None,
        plaintext: bool,
        accepted: Callable[["Incoming"], None],
        offers: Offers = MappingProxyType({}),
    ) -> None:
        self._tls = tls
        self._plaintext = plaintext
        self._accepted = accepted
        self._offers = offers
        self._machine: ServerStartup | None = None
        self._arrived = asyncio.Event()
        self._refusal: TaskgateError | None = None
        self._gone = False
        self.transport: asyncio.Transport | None = None
        # The transport under TLS, None without.
        self.below: asyncio.Transport | None = None
        self.peer = ""

    # The protocol's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is not None:
            # Some loops call this again after a TLS upgrade.
            return
        # uvloop's transports do not inherit from asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            # A client that vanished without a word must not keep its session for ever.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        self._machine = ServerStartup(
            offers_tls=self._tls is not None,
            takes_plaintext=self._plaintext and is_loopback(self.peer),
            offers=self._offers,
        )
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._machine is None or self._refusal is not None:
            return
        try:
            self._machine.feed(data)
        except TaskgateError as error:
            self._refusal = error
        self._arrived.set()

    def eof_received(self) -> bool:
        self._gone = True
        self._arrived.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._arrived.set()

    # The start-up.

    @property
    def encrypted(self) -> bool:
        return self._machine is not None and self._machine.tls

    async def request(self) -> StartupRequest | CancelRequest | None:
        """What the client wants; None if it went away without asking for anything.

        Raises:
            TaskgateError: it is refused.
            OSError: the TLS handshake failed.
        """
        machine, transport = self._machine, self.transport
        if machine is None or transport is None:
            return None
        while True:
            if self._refusal is not None:
                raise self._refusal
            step = machine.advance()
            if step is None:
                if self._gone:
                    return None
                self._arrived.clear()
                await self._arrived.wait()
                continue
            match step:
                case Send(data):
                    transport.write(data)
                case BeginTls():
                    transport = await self._encrypt(step, transport)
                    machine.tls_started(_alpn(transport))
                case _:
                    transport.pause_reading()
                    return step

    async def _encrypt(self, step: BeginTls, transport: asyncio.Transport) -> asyncio.Transport:
        if self._tls is None:
            raise NotAuthenticated("this gateway speaks no TLS")
        # The client may answer at once; those bytes are for the handshake, not for this protocol.
        transport.pause_reading()
        if step.reply:
            transport.write(step.reply)
        upgraded = await start_server_tls(
            transport, self, self._tls.context, received=step.received
        )
        self.transport = upgraded
        self.below = transport
        return upgraded

    def early(self) -> bytes:
        """What the client sent behind its password."""
        return self._machine.rest() if self._machine is not None else b""

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self._gone

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def refuse(self, error: TaskgateError) -> None:
        """Says why, in PostgreSQL's form, and closes."""
        self.send(encode_error(error, severity=Severity.FATAL))
        self.close()

    def close(self) -> None:
        """Closes; a client that does not let go is cut after a moment."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            asyncio.get_running_loop().call_later(_LEAVE_S, self.transport.abort)


def _alpn(transport: asyncio.Transport) -> str | None:
    session = transport.get_extra_info("ssl_object")
    return session.selected_alpn_protocol() if session is not None else None


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
