"""What tests of forwarding share: a server on this machine, and OpenSSH's client before it."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from taskgate.demo.cluster import free_port
from tests.patience import eventually
from tests.ssh_setting import SshSetting

Serve = Callable[[socket.socket], None]


@dataclass(slots=True)
class Server:
    """A listening port, and the ports of those that came."""

    port: int
    peers: list[int] = field(default_factory=list)
    # The account that held the other end of each connection, by /proc/net/tcp.
    owners: list[int] = field(default_factory=list)


@contextmanager
def serving(serve: Serve, address: str = "127.0.0.1") -> Iterator[Server]:
    """Runs `serve` for each connection, in a thread of its own."""
    listener = socket.create_server((address, 0))
    listener.settimeout(0.2)
    server, done = Server(listener.getsockname()[1]), threading.Event()
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []

    def one(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            serve(client)

    def accept() -> None:
        while not done.is_set():
            try:
                client, peer = listener.accept()
            except OSError:
                continue
            client.settimeout(60)
            clients.append(client)
            server.owners.append(owner_of(peer[1], server.port))
            server.peers.append(peer[1])
            threads.append(threading.Thread(target=one, args=(client,)))
            threads[-1].start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        thread.join()
        listener.close()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for one_thread in threads:
            one_thread.join()


def echo(client: socket.socket) -> None:
    """Answers what it is sent, to the end of it, and then `.`."""
    while data := client.recv(65536):
        client.sendall(data)
    client.sendall(b".")


def owner_of(local_port: int, remote_port: int) -> int:
    """The user id that holds this machine's end of a connection; -1 where there is none."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{local_port:04X}") and words[2].endswith(f":{remote_port:04X}"):
            return int(words[7])
    return -1


@contextmanager
def tunnel(
    setting: SshSetting, task: str, *options: str, token: str = ""
) -> "Iterator[subprocess.Popen[str]]":
    """`ssh -N` with `options`, until the end of the block."""
    more = ("-N", "-o", "ExitOnForwardFailure=yes", *options)
    process = subprocess.Popen(
        setting.arguments(task, *more), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=setting.environment(token or setting.grant(task)),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def local_forward(
    setting: SshSetting, task: str, to: str, *options: str, token: str = ""
) -> Iterator[int]:
    """`ssh -N -L`: the local port that leads to `to`."""
    port = free_port()
    with tunnel(setting, task, "-L", f"{port}:{to}", *options, token=token):
        eventually(lambda: connects(port))
        yield port


def connects(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something listens there. Looked up, since trying would make a connection."""
    listening = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[1].endswith(listening) and words[3] == "0A":
                return True
    return False


def ask(port: int, data: bytes, timeout: float = 60) -> bytes:
    """Sends `data` and the end of it; everything that is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        sender = threading.Thread(target=_send, args=(client, data))
        sender.start()
        found = bytearray()
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(1 << 20):
                found += piece
        sender.join()
    return bytes(found)


def _send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
