"""The server's side: connections come in, are signed in, and open channels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_RESOURCE_SHORTAGE

from taskgate.model.limits import LOGIN_TIMEOUT_S
from taskgate.protocols.ssh.conversation import ClientLine, Endpoint, Question, Target, Visitor
from taskgate.protocols.ssh.driver import algorithms
from taskgate.protocols.ssh.driver.certificates import presented
from taskgate.protocols.ssh.driver.channels import (
    MAX_PACKET_BYTES,
    WINDOW_BYTES,
    ClientSide,
    GateChannel,
)
from taskgate.protocols.ssh.driver.forwards import CHANNEL, HostPort, JoinedLink
from taskgate.protocols.ssh.driver.sending import send_nothing_ignored

KEEPALIVE_S = 30.0
Arrived = Callable[[ClientLine], Visitor | None]


class _Line:
    """A client's connection."""

    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection
        address = connection.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""

    @property
    def version(self) -> str:
        found = self._connection.get_extra_info("client_version") or ""
        return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)

    def tell_before_sign_in(self, text: str) -> None:
        self._connection.send_auth_banner(text)

    def tell(self, text: str) -> None:
        self._connection.send_debug(text, always_display=True)

    def give_time(self, seconds: float) -> None:
        connection = self._connection
        connection._cancel_login_timer()
        connection._login_timer = asyncio.get_running_loop().call_later(
            seconds, connection._login_timer_callback
        )

    def disconnect(self, text: str) -> None:
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, text)


class _Server(asyncssh.SSHServer):
    """One client's connection. `arrived` gives its visitor, or None where it may not come in."""

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._visitor: Visitor | None = None
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        # asyncssh would ask `SSHServer.validate_public_key` before it has checked a signature, and
        # say nothing of it afterwards.
        conn.validate_public_key = self._validate_key  # type: ignore[method-assign]
        send_nothing_ignored(conn)
        self._visitor = self._arrived(_Line(conn))
        if self._visitor is None:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._visitor is not None:
            self._visitor.lost()

    # Who.

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._visitor is not None and self._visitor.may_be_asked()

    async def validate_password(self, username: str, password: str) -> bool:
        return self._visitor is not None and await self._visitor.sign_in(username, password)

    def kbdint_auth_supported(self) -> bool:
        return self._visitor is not None and self._visitor.may_be_asked()

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return _challenge(self._visitor.ask(username)) if self._visitor is not None else False

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> Any:
        if self._visitor is None:
            return False
        found = await self._visitor.answer(username, responses)
        return _challenge(found) if isinstance(found, Question) else found

    def public_key_auth_supported(self) -> bool:
        return True

    async def _validate_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """A client shows a key (RFC 4252, section 7). Without a signature it only asks whether it
        is worth signing with; the answer is the same for every key that is no weak one, so that
        nobody learns whose keys are known here."""
        visitor, connection = self._visitor, self._connection
        if visitor is None or connection is None or not visitor.may_show_key():
            return False
        found = presented(key_data)
        if found is None:
            return False
        if not msg:
            return True
        if not found.signed(connection._session_id, msg, signature):
            return False
        return await visitor.sign_in_by_key(username, found.shown)

    def auth_completed(self) -> None:
        if self._visitor is not None:
            self._visitor.signed_in()

    # What for.

    def session_requested(self) -> Any:
        visitor, connection = self._visitor, self._connection
        if visitor is None or connection is None or not visitor.may_open():
            return False
        channel = GateChannel(
            connection, asyncio.get_running_loop(), True, False, False, 0, 0, None, "strict",
            WINDOW_BYTES, MAX_PACKET_BYTES,
        )  # fmt: skip
        channel.visitor = visitor
        return channel, ClientSide(visitor)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        connection, link = self._link(Endpoint(dest_host, dest_port))
        return connection.create_tcp_channel(None, **CHANNEL), link.asked()

    def unix_connection_requested(self, dest_path: str) -> Any:
        connection, link = self._link(dest_path)
        return connection.create_unix_channel(None, **CHANNEL), link.asked()

    def _link(self, to: Target) -> tuple[asyncssh.SSHServerConnection, JoinedLink]:
        visitor, connection = self._visitor, self._connection
        if visitor is None or connection is None or not visitor.may_open():
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many channels are open")
        link = JoinedLink(visitor)
        visitor.connect(link, to)
        return connection, link

    async def server_requested(self, listen_host: str, listen_port: int) -> Any:
        visitor, connection = self._visitor, self._connection
        if visitor is None or connection is None or not visitor.may_open():
            return False
        port = HostPort(connection, visitor, listen_host, listen_port)
        visitor.listen(port, Endpoint(listen_host, listen_port))
        return await port.asked()

    def unix_server_requested(self, listen_path: str) -> bool:
        return self._no(f"listening on the socket {listen_path} for the client")

    def tun_requested(self, unit: int | None) -> bool:
        return self._no("a tunnel of network packets")

    def tap_requested(self, unit: int | None) -> bool:
        return self._no("a tunnel of network frames")

    def _no(self, what: str) -> bool:
        if self._visitor is not None:
            self._visitor.refused(what)
        return False


class Acceptor:
    """A running listener."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor) -> None:
        self._acceptor = acceptor

    def get_port(self) -> int:
        return self._acceptor.get_port()

    def show(self, host_key: bytes, certificate: bytes) -> None:
        """Shows these to whoever comes from now on."""
        self._acceptor.update(server_host_keys=_host_keys(host_key, certificate))

    def close(self) -> None:
        self._acceptor.close()


def _host_keys(host_key: bytes, certificate: bytes) -> Any:
    return [(asyncssh.import_private_key(host_key), asyncssh.import_certificate(certificate))]


def _challenge(question: Question) -> tuple[str, str, str, tuple[tuple[str, bool], ...]]:
    return question.name, question.instruction, "", question.prompts


async def listen(
    address: str, port: int, host_key: bytes, certificate: bytes, arrived: Arrived
) -> Acceptor:
    """Listens with `host_key` (a private key in OpenSSH's form) and its certificate. Raises:
    OSError."""
    # At its own level it would log every command.
    asyncssh.set_log_level(logging.WARNING)
    acceptor = await asyncssh.create_server(
        lambda: _Server(arrived),
        address,
        port,
        server_host_keys=_host_keys(host_key, certificate),
        server_version="taskgate",
        config=None,
        encoding=None,
        login_timeout=LOGIN_TIMEOUT_S,
        keepalive_interval=KEEPALIVE_S,
        password_auth=True,
        public_key_auth=True,
        kbdint_auth=True,
        host_based_auth=False,
        gss_host=None,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        authorized_client_keys=None,
        backlog=1024,
        **algorithms.OPTIONS,
    )
    return Acceptor(acceptor)


def make_key() -> bytes:
    """A fresh Ed25519 key, in OpenSSH's form."""
    return asyncssh.generate_private_key("ssh-ed25519", comment="taskgate").export_private_key()


def public_key_of(host_key: bytes) -> str:
    """`ssh-ed25519 AAAA...` of a private key."""
    key = asyncssh.import_private_key(host_key)
    return " ".join(key.export_public_key().decode().split()[:2])
