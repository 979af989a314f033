"""PostgreSQL's protocol by hand, for what no driver would send."""

import socket
import ssl
import struct
from types import TracebackType
from typing import Self

from tests.end_to_end.conftest import Setting
from tests.patience import PATIENCE_S


class Wire:
    """A signed-in session whose messages the test writes itself."""

    def __init__(self, setting: Setting, task: str, token: str = "", minor: int = 0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", setting.gate.port), timeout=PATIENCE_S)
        self._received = b""
        self.errors: list[dict[str, str]] = []
        self.key = b""
        self._sign_in(setting, task, token or setting.gate.grant(task), minor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def query(self, text: str) -> list[str]:
        """A simple query; the types of the messages that answer it."""
        self.send(message("Q", text.encode() + b"\0"))
        return self.until_ready()

    def until_ready(self) -> list[str]:
        """The types of all messages up to ReadyForQuery, or to the end of the connection."""
        kinds: list[str] = []
        while not kinds or kinds[-1] not in ("Z", "eof"):
            kinds.append(self.next()[0])
        return kinds

    def next(self) -> tuple[str, bytes]:
        """The next message: type and body; ("eof", b"") at the end."""
        head = self._exactly(5)
        if head is None:
            return "eof", b""
        kind, length = chr(head[0]), int.from_bytes(head[1:5], "big")
        body = self._exactly(length - 4) or b""
        if kind == "E":
            fields = [f.decode() for f in body.split(b"\0") if f]
            self.errors.append({f[0]: f[1:] for f in fields})
        if kind == "K":
            self.key = body
        return kind, body

    def _exactly(self, size: int) -> bytes | None:
        while len(self._received) < size:
            try:
                more = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                return None
            self._received += more
        piece, self._received = self._received[:size], self._received[size:]
        return piece

    def _sign_in(self, setting: Setting, task: str, token: str, minor: int) -> None:
        self.socket.sendall(struct.pack("!ii", 8, 80877103))
        assert self.socket.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(setting.gate.own.ca_file))
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        named = ("user", task, "database", setting.database)
        body = struct.pack("!i", 196608 + minor)
        body += b"\0".join(part.encode() for part in named) + b"\0\0"
        self.send(struct.pack("!i", len(body) + 4) + body)
        kind, _ = self.next()
        while kind == "v":
            kind, _ = self.next()
        assert kind == "R"
        self.send(message("p", token.encode() + b"\0"))
        kinds = self.until_ready()
        assert kinds[-1] == "Z", self.errors


def message(kind: str, body: bytes = b"") -> bytes:
    """One frontend message."""
    return kind.encode() + struct.pack("!i", len(body) + 4) + body
