"""Just enough of PostgreSQL's protocol to sign in, without a password or with one in clear."""

import socket
import ssl
import struct

from bench.pgbench import Target

READY = b"Z\x00\x00\x00\x05"
_CLEARTEXT = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
# What is measured is the other side; whose certificate it is does not matter.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


def sign_in(target: Target, *, encrypted: bool = False) -> socket.socket:
    """A connection that is ready for a query; with TLS where it is to be `encrypted`.

    Raises:
        OSError: refused, with the server's words.
    """
    connection = socket.create_connection(("127.0.0.1", target.port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if encrypted:
        connection.sendall(_SSL_REQUEST)
        if connection.recv(1) != b"S":
            raise ConnectionRefusedError("no TLS is offered")
        connection = _TLS.wrap_socket(connection)
    named = ("user", target.user, "database", target.database, "application_name", "bench")
    body = struct.pack("!i", 196608) + b"\0".join(part.encode() for part in named) + b"\0\0"
    connection.sendall(struct.pack("!i", len(body) + 4) + body)
    received = b""
    while received[-6:-1] != READY:
        more = connection.recv(65536)
        received += more
        if not more or received[:1] == b"E":
            raise ConnectionRefusedError(received.decode(errors="replace"))
        if received[:9] == _CLEARTEXT:
            secret = target.password.encode() + b"\0"
            connection.sendall(b"p" + struct.pack("!i", len(secret) + 4) + secret)
            received = received[9:]
    return connection
