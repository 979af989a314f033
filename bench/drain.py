"""A client that reads an answer as fast as the socket gives it, and parses none of it.

    PGPASSWORD=... python -m bench.drain PORT USER DATABASE SQL

Prints `BYTES SECONDS`: from the query going out to ReadyForQuery coming in.
"""

import os
import socket
import struct
import sys
import time

from bench.pgbench import Target
from bench.sign_in import READY, sign_in


def drain(connection: socket.socket, sql: str) -> tuple[int, float]:
    """Bytes received, and seconds.

    Raises:
        OSError: refused or ended early, with the server's words.
    """
    text = sql.encode() + b"\0"
    started = time.monotonic()
    connection.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    total, tail = 0, b""
    while True:
        count = connection.recv_into(view)
        if not count or (not total and buffer[:1] == b"E"):
            raise ConnectionAbortedError(bytes(view[:count]).decode(errors="replace"))
        total += count
        tail = (tail + bytes(view[max(0, count - 6) : count]))[-6:]
        if tail[:5] == READY and tail[5:] in (b"I", b"E", b"T"):
            return total, time.monotonic() - started


def main() -> None:
    port, user, database, sql = sys.argv[1:5]
    target = Target(int(port), user, database, os.environ.get("PGPASSWORD", ""))
    total, seconds = drain(sign_in(target), sql)
    print(total, seconds)


if __name__ == "__main__":
    main()
