"""A resource's network: a relay that can be cut, and a server that says whatever a test likes."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

OK = b"R" + struct.pack("!ii", 8, 0)
READY = b"Z" + struct.pack("!i", 5) + b"I"
Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """Runs `serve` with each connection that comes in, in a thread of its own; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_served, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        # A blocked accept is not woken by close alone.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _served(serve: Serve, connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        serve(connection)


class Relay:
    """Passes everything on to `port`, until `cut`. `received` counts bytes towards the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[socket.socket] = []

    def __call__(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            self._ends += [client, server]
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()

    def cut(self) -> None:
        """Both ends get a reset, as when a machine is gone."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def greet(connection: socket.socket) -> bytes:
    """Lets the gate sign in without a password; what it said first."""
    (length,) = struct.unpack("!i", exactly(connection, 4))
    said = exactly(connection, length - 4)
    told = b"".join(
        status(name, value)
        for name, value in (
            ("server_version", "15.0"),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
        )
    )
    key = b"K" + struct.pack("!iii", 12, 1, 2)
    connection.sendall(OK + told + key + READY)
    return said


def status(name: str, value: str) -> bytes:
    """A ParameterStatus."""
    body = name.encode() + b"\0" + value.encode() + b"\0"
    return b"S" + struct.pack("!i", len(body) + 4) + body


def exactly(connection: socket.socket, size: int) -> bytes:
    """The next `size` bytes. Raises: OSError at the end."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise OSError("it ended")
        data += piece
    return data
