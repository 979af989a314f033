"""Waiting on a loopback address for a browser to come back with a code (RFC 8252 section 7.3)."""

from __future__ import annotations

import hmac
import http.server
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from taskgate.cli.exits import Exit, stop

PATH = "/callback"
_MAX_TARGET_CHARS = 16 * 1024
_REQUEST_S = 5.0
_PAGE = (
    "<!doctype html><meta charset=utf-8><title>taskgate</title><p>%s<p>You may close this window."
)


@dataclass(frozen=True, slots=True)
class Returned:
    """What the provider sent back; `iss` where it named itself (RFC 9207)."""

    code: str = field(repr=False)
    iss: str | None


class Landing:
    """Listens on 127.0.0.1 alone. Only an answer with the right state counts: any page that the
    browser shows could call this address, and must not end or hijack the sign-in."""

    def __init__(self, port: int = 0) -> None:
        """Raises: Stop where the port is taken."""
        self._found: Returned | str | None = None
        self._state = ""
        try:
            self._server = http.server.HTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            stop(f"cannot listen on 127.0.0.1 port {port}: {error.strerror}", Exit.FAILED)
        self.redirect = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def wait(self, state: str, timeout_s: float) -> Returned:
        """Raises: Stop where the person or the provider said no, or nobody came."""
        self._state = state
        deadline = time.monotonic() + timeout_s
        try:
            while self._found is None and (left := deadline - time.monotonic()) > 0:
                self._server.timeout = left
                self._server.handle_request()
        finally:
            self._server.server_close()
        if isinstance(self._found, Returned):
            return self._found
        why = self._found or f"nobody signed in within {timeout_s:.0f} s"
        stop(f"the sign-in did not succeed: {why}", Exit.NOT_SIGNED_IN)

    def close(self) -> None:
        self._server.server_close()

    def land(self, target: str) -> tuple[int, str]:
        """One request of a browser: the status and the words it is shown."""
        parts = urlsplit(target)
        if parts.path != PATH or len(target) > _MAX_TARGET_CHARS:
            return 404, "There is nothing here."
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        given = dict(pairs)
        state = given.get("state", "")
        same = hmac.compare_digest(state.encode("utf-8", "replace"), self._state.encode())
        if not self._state or not same or len(given) != len(pairs):
            return 400, "This is not the answer that the sign-in waits for."
        if given.get("code"):
            self._found = Returned(given["code"], given.get("iss"))
            return 200, "Signed in. Go back to the terminal."
        error = "".join(c for c in given.get("error", "no code") if c.isalnum() or c in "_ ")
        self._found = error[:64] or "no code"
        return 200, "The sign-in was refused. Go back to the terminal."

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        landing = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = _REQUEST_S

            def do_GET(self) -> None:
                status, words = landing.land(self.path)
                body = (_PAGE % words).encode()
                self.send_response(status)
                for name, value in (
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    ("Content-Security-Policy", "default-src 'none'"),
                    ("Referrer-Policy", "no-referrer"),
                    ("Connection", "close"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing: the address holds the code."""

        return Handler
