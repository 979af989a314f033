"""No packet of the gate's is there to be ignored: each would cost as much as one that says
something."""

import re

from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_REQUEST, MSG_IGNORE

from taskgate.protocols.ssh.driver.sending import send_nothing_ignored
from tests.ssh_setting import SshSetting


def test_a_client_is_sent_no_packet_to_ignore(setting: SshSetting) -> None:
    said = setting.ssh("look", "seq 100000", "-vvv")
    kinds = {int(kind) for kind in re.findall(r"receive packet: type (\d+)", said.stderr)}
    assert said.stdout.endswith("100000\n")
    assert MSG_CHANNEL_REQUEST in kinds, "OpenSSH logs packets otherwise"  # the exit status
    assert MSG_IGNORE not in kinds


def test_all_else_is_sent_as_it_was() -> None:
    sent: list[tuple[object, ...]] = []

    class Connection:
        def send_packet(self, kind: int, *args: bytes, handler: object = None) -> None:
            sent.append((kind, args, handler))

    connection = Connection()
    send_nothing_ignored(connection)  # type: ignore[arg-type]
    connection.send_packet(MSG_IGNORE, b"\0\0\0\0")
    connection.send_packet(MSG_CHANNEL_DATA, b"a", b"b", handler="logs")
    assert sent == [(MSG_CHANNEL_DATA, (b"a", b"b"), "logs")]
