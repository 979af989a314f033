"""Serving the API in the gateway's own loop, on its own terms."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from taskgate.gateway.config import ApiListener
from taskgate.gateway.tls import ListenerTls
from taskgate.model import limits
from taskgate.model.errors import BadConfig

_BACKLOG = 512
_STOP_S = 5


class WebServer:
    """Binds at once; `serve` answers until `stop`."""

    def __init__(self, listener: ApiListener, tls: ListenerTls | None) -> None:
        """Raises: BadConfig where the address cannot be had."""
        self._listener = listener
        self._tls = tls
        self._socket = _bound(listener.address, listener.port)
        self.port: int = self._socket.getsockname()[1]
        self._server: _Server | None = None
        self._answering = asyncio.Event()

    async def serve(self, app: ASGIApp) -> None:
        """Answers with `app`; returns after `stop`."""
        config = uvicorn.Config(
            app,
            http=_Impatient,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(self._listener.trusted_proxies),
            forwarded_allow_ips=self._listener.trusted_proxies,
            limit_concurrency=limits.MAX_API_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_STOP_S,
            backlog=_BACKLOG,
        )
        config.load()
        if self._tls is not None:
            config.ssl = _following(self._tls)
        self._server = _Server(config, self._answering)
        await self._server.serve(sockets=[self._socket])

    async def wait_started(self) -> None:
        """Until it answers."""
        await self._answering.wait()

    def stop(self) -> None:
        """Ends `serve` after the answers under way, or five seconds."""
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Gives the address up where `serve` never ran."""
        with contextlib.suppress(OSError):
            self._socket.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, answering: asyncio.Event) -> None:
        super().__init__(config)
        self._answering = answering

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the gateway's, which has sessions to drain first.
        yield


class _Impatient(HttpToolsProtocol):
    """A request's head must be whole in time; otherwise a few slow clients hold every place."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(limits.API_HEAD_TIMEOUT_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _following(tls: ListenerTls) -> ssl.SSLContext:
    """A context whose every handshake uses the newest certificate."""
    context = tls.context

    def newest(connection: Any, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = tls.context

    context.sni_callback = newest
    return context


def _bound(address: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family = found[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            any_address = ipaddress.ip_address(found[0][4][0]).is_unspecified
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not any_address))
        bound.bind(found[0][4])
        bound.setblocking(False)
    except OSError as error:
        raise BadConfig(
            f"the API cannot listen on {address} port {port}: {error.strerror or error}",
            hint="another process may have it; api.address and api.port say where",
        ) from None
    return bound
