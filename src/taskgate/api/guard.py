"""What stands before every route: caps, plain paths, one credential, headers that shut the page.

Plain ASGI, outside the framework, so that nothing is parsed that was not let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskgate.api.problems import Refused, respond
from taskgate.api.shapes import Problem
from taskgate.gateway.signals import Signals
from taskgate.model import limits

_log = structlog.get_logger(__name__)
# More than one of these, and two readers may believe different ones.
_ONCE: Final = frozenset(
    (b"authorization", b"host", b"content-length", b"content-type", b"cookie", b"origin")
)
_PATH: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%:@+,!$&'()*="
)
_HEADERS: Final[Mapping[bytes, bytes]] = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none';"
    b" form-action 'none'",
}


class Guard:
    """Wraps the application. `secure` adds HSTS (RFC 6797)."""

    def __init__(self, app: ASGIApp, signals: Signals, *, secure: bool) -> None:
        self._app = app
        self._signals = signals
        self._fixed = dict(_HEADERS)
        if secure:
            self._fixed[b"strict-transport-security"] = b"max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No WebSocket is spoken here.
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._signals.api_answered(message["status"])
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n, v) for n, v in self._fixed.items() if n not in present),
                ]
            await send(message)

        refusal = _refusal(scope)
        if refusal is not None:
            await respond(refusal)(scope, receive, answer)
            return
        body = _Body(receive)
        try:
            await self._app(scope, body.receive, answer)
        except Refused as refused:
            if not started:
                await respond(refused.problem)(scope, receive, answer)
        except Exception as error:
            # Already answered and counted by the application's own handler, as a rule.
            if not started:
                _log.error("api.fault", exc_info=error)
                self._signals.internal_errors.inc()
                await respond(_problem(500, "the gateway failed"))(scope, receive, answer)


class _Body:
    """The request's body, counted and timed as it comes in."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits for the disconnect, as long as it takes
        try:
            async with asyncio.timeout(limits.API_BODY_TIMEOUT_S):
                message = await self._receive()
        except TimeoutError:
            raise Refused(_problem(408, "the body came too slowly")) from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._bytes > limits.MAX_API_BODY_BYTES:
                raise Refused(_too_large())
        return message


def _refusal(scope: Scope) -> Problem | None:
    """Why the request is not even looked at; None if it is."""
    seen: set[bytes] = set()
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in seen:
                return _problem(400, f"the header {name.decode()} is given twice")
            seen.add(name)
        if name == b"content-length" and (
            not value.isdigit() or int(value) > limits.MAX_API_BODY_BYTES
        ):
            return _too_large()
    if not _plain(scope.get("raw_path") or scope["path"].encode()):
        return _problem(404, "there is nothing at this path")
    return None


def _plain(raw: bytes) -> bool:
    """Whether the path has one reading: no empty, dot or hidden segments."""
    if not raw.startswith(b"/") or not _PATH.issuperset(raw):
        return False
    segments = raw.split(b"/")[1:]
    for index, segment in enumerate(segments):
        if not segment and index != len(segments) - 1:
            return False
        plain = unquote_to_bytes(segment)
        if plain in (b".", b"..") or any(c < 0x20 or c in b"/\\%\x7f" for c in plain):
            return False
    return True


def _problem(status: int, detail: str) -> Problem:
    return Problem(type="about:blank", title=detail, status=status, detail=detail)


def _too_large() -> Problem:
    return Problem(
        type="urn:taskgate:problem:over-limit",
        title="Content Too Large",
        status=413,
        detail=f"the body is larger than {limits.MAX_API_BODY_BYTES} bytes",
    )
