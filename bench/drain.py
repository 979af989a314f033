"""A PostgreSQL client that reads an answer as fast as the socket gives it and parses none of it.

    PGPASSWORD=... python -m bench.drain PORT USER DATABASE SQL

Prints `BYTES SECONDS` (from the query's first byte out to ReadyForQuery in). With `-` as SQL it
signs in, prints `ready`, and stays until its standard input ends.
"""

import os
import socket
import struct
import sys
import time

_READY = b"Z\x00\x00\x00\x05"


def _sign_in(port: int, user: str, database: str, password: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pairs = b"\0".join(
        part.encode() for part in ("user", user, "database", database, "application_name", "bench")
    )
    body = struct.pack("!i", 196608) + pairs + b"\0\0"
    connection.sendall(struct.pack("!i", len(body) + 4) + body)
    received = b""
    while received[-6:-1] != _READY:
        more = connection.recv(65536)
        if not more:
            raise SystemExit("the connection ended during sign-in")
        received += more
        if received[:1] == b"E":
            raise SystemExit(received.decode(errors="replace"))
        if received[:9] == b"R\x00\x00\x00\x08\x00\x00\x00\x03":
            secret = password.encode() + b"\0"
            connection.sendall(b"p" + struct.pack("!i", len(secret) + 4) + secret)
            received = received[9:]
    return connection


def _drain(connection: socket.socket, sql: str) -> tuple[int, float]:
    text = sql.encode() + b"\0"
    started = time.monotonic()
    connection.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    total, tail = 0, b""
    while True:
        count = connection.recv_into(view)
        if not count:
            raise SystemExit("the connection ended early")
        if not total and buffer[:1] == b"E":
            raise SystemExit(bytes(view[:count]).decode(errors="replace"))
        total += count
        tail = (tail + bytes(view[max(0, count - 6) : count]))[-6:]
        if tail[:5] == _READY and tail[5:] in (b"I", b"E", b"T"):
            return total, time.monotonic() - started


def main() -> None:
    port, user, database, sql = sys.argv[1:5]
    connection = _sign_in(int(port), user, database, os.environ.get("PGPASSWORD", ""))
    if sql == "-":
        print("ready", flush=True)
        sys.stdin.read()
        return
    total, seconds = _drain(connection, sql)
    print(total, seconds)


if __name__ == "__main__":
    main()
