"""Connections through the gate: two forwarding channels joined, and ports that hosts listen on.

Nothing here opens a socket: hosts do, at the other end of the gate's own connection to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from taskgate.model.errors import UpstreamFault
from taskgate.protocols.ssh.conversation import Visitor
from taskgate.protocols.ssh.driver.windows import hold_to_window

WINDOW_BYTES = 1024 * 1024
MAX_PACKET_BYTES = 32 * 1024
CHANNEL: dict[str, Any] = {"window": WINDOW_BYTES, "max_pktsize": MAX_PACKET_BYTES}
# Opens a side: given what makes its session.
Opener = Callable[[Callable[[], "Side"]], Awaitable[Any]]


class Side(asyncssh.SSHTCPSession[bytes], asyncssh.SSHUNIXSession[bytes]):
    """One side of a link. Neither is read while the other does not take what it is sent."""

    def __init__(self, link: JoinedLink) -> None:
        self._link = link
        self.channel: Any = None
        self.other: Side = self
        self.gone = False
        self._said_all = False

    def connection_made(self, chan: Any) -> None:
        self.channel = chan
        hold_to_window(chan)
        if self.other.channel is None:
            # Who asked for the link is told only after this.
            chan.pause_reading()
        if self.other.gone:
            chan.close()
        elif self.other.channel is not None:
            self.other.channel.resume_reading()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._link.counts(self, len(data)) and self.other.writable:
            self.other.channel.write(data)

    def eof_received(self) -> bool:
        self._said_all = True
        if self.other.channel is not None:
            self.other.channel.write_eof()
        if self.other._said_all:
            self.close()
            self.other.close()
        return True

    def pause_writing(self) -> None:
        if self.other.channel is not None:
            self.other.channel.pause_reading()

    def resume_writing(self) -> None:
        if self.other.channel is not None:
            self.other.channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.gone:
            return
        self.gone, self.channel = True, None
        self.other.close()
        self._link.check_end()

    @property
    def writable(self) -> bool:
        return self.channel is not None and not self.channel.is_closing()

    def close(self) -> None:
        """Closes it once it has been sent what is still on its way there."""
        if self.channel is not None:
            self.channel.close()


class JoinedLink:
    """The driver's `Link`. The asking side is opened last, so that whoever asked hears whether
    the other was."""

    def __init__(self, visitor: Visitor, to_client: Opener | None = None) -> None:
        """`to_client` opens the client's side; None where the client is who asked."""
        self.client, self.host = Side(self), Side(self)
        self.client.other, self.host.other = self.host, self.client
        self._asking = self.client if to_client is None else self.host
        self._to_client = to_client
        self._visitor = visitor
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._last = self._loop.time()
        self.max_bytes: int | None = None
        self.bytes_to_host = 0
        self.bytes_to_client = 0
        self.over = False

    @property
    def seconds_silent(self) -> float:
        return self._loop.time() - self._last

    async def asked(self) -> Side:
        """What asyncssh waits for before it opens the asking side.

        Raises: ChannelOpenError.
        """
        code, text = await self._answer
        if code:
            raise asyncssh.ChannelOpenError(code, text)
        # asyncssh makes the side in the same turn, if its connection is still there.
        self._loop.call_soon(self._never_opened)
        return self._asking

    def _never_opened(self) -> None:
        if self._asking.channel is None:
            self._asking.connection_lost(None)

    def refuse(self, text: str, code: int = OPEN_ADMINISTRATIVELY_PROHIBITED) -> None:
        if not self._answer.done():
            self._answer.set_result((code, text))
            self._asking.connection_lost(None)
            if self._asking.other.channel is None:
                self._asking.other.connection_lost(None)

    async def reach_client(self, max_bytes: int | None = None) -> None:
        """See `conversation.Link`."""
        self.max_bytes = max_bytes
        if self._to_client is None:
            raise TypeError("the client is who asked")
        try:
            await self.carry(self._to_client)
        except asyncssh.ChannelOpenError as error:
            raise UpstreamFault(f"the client does not take it: {error.reason}") from None

    async def carry(self, other: Opener) -> None:
        """Opens the side that was not who asked, and waits for the end of both.

        Raises: ChannelOpenError, once who asked has been told.
        """
        side = self._asking.other
        try:
            await other(lambda: side)
            if not self._answer.done():
                self._answer.set_result((0, ""))
            await self._ended.wait()
        except asyncssh.ChannelOpenError as error:
            self.refuse(error.reason, OPEN_CONNECT_FAILED)
            side.connection_lost(None)
            raise
        finally:
            self.cut()

    def counts(self, side: Side, count: int) -> bool:
        """Counts what came from `side`; False where it is more than may pass."""
        self._last = self._loop.time()
        if side is self.client:
            self.bytes_to_host += count
            return True
        if self.max_bytes is not None and self.bytes_to_client + count > self.max_bytes:
            self.over = True
            self.cut()
            return False
        self.bytes_to_client += count
        return True

    def cut(self) -> None:
        """Ends both sides, whatever is on its way."""
        self.refuse("it was given up")
        for side in (self.client, self.host):
            if side.channel is not None:
                side.channel.abort()
            else:
                side.connection_lost(None)

    def check_end(self) -> None:
        if self.client.gone and self.host.gone and not self._ended.is_set():
            self._ended.set()
            self._visitor.left()


class HostPort(asyncssh.SSHListener):
    """The driver's `Listening`, and asyncssh's listener for the client's request."""

    def __init__(
        self, connection: asyncssh.SSHServerConnection, visitor: Visitor, host: str, port: int
    ) -> None:
        super().__init__()
        self._connection = connection
        self._visitor = visitor
        self._host = host
        self.port = port
        self._loop = loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._opened: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    # What asyncssh asks.

    async def asked(self) -> HostPort | None:
        if not await self._opened:
            return None
        # asyncssh tells the client in the same turn.
        self._loop.call_soon(self._told.set)
        return self

    def get_port(self) -> int:
        return self.port

    def close(self) -> None:
        """The client wants it no more, or is gone."""
        if not self._opened.done():
            self._opened.set_result(False)
        if not self.ended.done():
            self.ended.set_result(None)
            self._visitor.left()

    # What the host's side says.

    def refuse(self) -> bool:
        if self._opened.done():
            return False
        self.close()
        return True

    def opened(self, port: int) -> None:
        self.port = port
        if not self._opened.done():
            self._opened.set_result(True)

    def link(self, orig_host: str, orig_port: int) -> JoinedLink | None:
        """For a connection that comes in; None where there may be no more."""
        if not self._visitor.may_open():
            return None

        async def to_client(session: Callable[[], Side]) -> None:
            # A client takes no connection for a port that it does not know yet.
            await self._told.wait()
            await self._connection.create_connection(
                session, self._host, self.port, orig_host, orig_port, encoding=None, **CHANNEL
            )

        return JoinedLink(self._visitor, to_client)
