"""What asyncssh sends unasked."""

from __future__ import annotations

from typing import Any

from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_IGNORE


def send_nothing_ignored(connection: SSHConnection) -> None:
    """Leaves out the SSH_MSG_IGNORE that asyncssh puts before each packet.

    It guards CBC ciphers (RFC 4253, section 9.3.1), which the gate does not speak (`algorithms`);
    with the others it only costs: an eighth of the CPU of a large transfer.
    """
    send = connection.send_packet

    def send_packet(pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != MSG_IGNORE:
            send(pkttype, *args, handler=handler)

    connection.send_packet = send_packet  # type: ignore[method-assign]
