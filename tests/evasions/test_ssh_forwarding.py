"""Ways to be connected to somewhere that no rule names: the user is refused, nothing is reached,
and the attempt is in the recording."""

import asyncio
import socket
from collections.abc import Iterator

import asyncssh
import pytest

from taskgate.demo.cluster import free_port
from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.patience import eventually
from tests.ssh_forwarding import ask, connects, echo, local_forward, serving, tunnel
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: all-but-here
resource: target
for: {groups: [testers]}
permit:
  - {forward: ["*:*"], listen: ["*:*"], socket: ["/srv/**"]}
deny:
  - {forward: ["localhost:*"], listen: ["0.0.0.0:*"], reason: not here}
---
kind: Task
name: subnet
resource: target
for: {groups: [testers]}
permit:
  - {forward: ["127.0.0.*:*"], listen: ["localhost:*"]}
  - run: ["echo **", "sleep *"]
---
kind: Task
name: masked
resource: target
for: {groups: [testers]}
permit:
  - {forward: ["127.0.0.*:*"], listen: ["localhost:*"], x11: [target], run: ["echo *"]}
mask: [{kinds: [email], as: redact}]
---
kind: Task
name: asking
resource: target
for: {groups: [testers]}
hold:
  - {forward: ["127.0.0.1:*"], for: {groups: [leads], within: 1m}}
"""

# Each leads to this machine, or might. What is no plain spelling is refused before any rule.
HERE = (
    "localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "::1", "::",
    "0:0:0:0:0:0:0:1", "localhost.", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001",
    "2130706433", "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:7f00:1", "64:ff9b::127.0.0.1", "0",
    "::1%lo", "fe80::1%lo", "[::1]", "", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\0.example",
    "\uff11\uff12\uff17.0.0.1", "ip6-localhost", "x.localhost", "localhost.localdomain", "." * 300,
)  # fmt: skip


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as found:
        yield found


async def connection(place: SshSetting, task: str, token: str = "") -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "localhost", place.port, username=task, password=token or place.grant(task), config=None,
        known_hosts=str(place.client / "known_hosts"), client_keys=None, agent_path=None,
    )  # fmt: skip


async def reached(client: asyncssh.SSHClientConnection, host: str, port: int) -> str:
    """Empty where a connection to there is made, else the reason why not."""
    try:
        _, writer = await client.open_connection(host, port)
    except asyncssh.ChannelOpenError as error:
        return error.reason
    writer.close()
    return ""


async def test_other_spellings_of_a_denied_host_reach_nothing(place: SshSetting) -> None:
    with serving(echo) as server:
        async with await connection(place, "all-but-here") as client:
            for host in HERE:
                said = await reached(client, host, server.port)
                assert said.startswith("taskgate: "), (host, said)
        assert server.peers == []
    denied = [f for kind, f in place.recorded("all-but-here") if kind == EventKind.REQUEST_DENIED]
    assert len(denied) == len(HERE)


@pytest.mark.parametrize("port", [0, 65_536, 65_536 * 2, 2**32 - 1])
async def test_a_port_that_wraps_round_reaches_nothing(place: SshSetting, port: int) -> None:
    with serving(echo) as server:
        async with await connection(place, "subnet") as client:
            wrapped = min(port + server.port, 2**32 - 1) if port else 0
            said = await reached(client, "127.0.0.1", wrapped)
        assert "a port is a number from 1 to 65535" in said
        assert server.peers == []


async def test_a_name_that_looks_like_a_permitted_address_is_none(place: SshSetting) -> None:
    """Whoever owns a name decides what it resolves to."""
    async with await connection(place, "subnet") as client:
        for host in ("127.0.0.x.example.com", "127.0.0.evil", "127.0.0.1.example", "127.0.0.*"):
            assert "taskgate: " in await reached(client, host, 22), host
        with serving(echo) as server:
            assert await reached(client, "127.0.0.1", server.port) == ""


@pytest.mark.parametrize("host", ["", "*", "0.0.0.0", "::", "0:0::0", "localhost.", "127.1"])
async def test_other_spellings_of_a_denied_address_to_listen_on(
    place: SshSetting, host: str
) -> None:
    port = free_port()
    async with await connection(place, "all-but-here") as client:
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_port(host, port, "127.0.0.1", 9)
        assert not connects(port)


async def test_the_gateways_own_ports_and_machine_are_out_of_reach(place: SshSetting) -> None:
    """What is connected is connected by the host: here it happens to be the same machine, so it is
    told by the account that holds the other end."""
    with serving(echo) as server, local_forward(place, "subnet", f"127.0.0.1:{server.port}") as at:
        assert ask(at, b"x") == b"x."
        assert server.owners == [place.host.account.uid]
    # The gate's own API and SSH listener, from a task that names neither.
    async with await connection(place, "all-but-here") as client:
        for port in (place.port, place.own.ports.api):
            assert "not here" in await reached(client, "127.0.0.1", port)


async def test_a_socket_outside_the_permitted_folder(place: SshSetting) -> None:
    paths = ("/run/x", "/srv/../run/x", "/srv/./x", "//srv/x", "srv/x", "@x", "", "/srv/a\0b")
    async with await connection(place, "all-but-here") as client:
        for path in paths:
            with pytest.raises(asyncssh.ChannelOpenError, match="taskgate: "):
                await client.open_unix_connection(path)


async def test_a_socket_to_listen_on_and_tunnels_are_refused(place: SshSetting) -> None:
    async with await connection(place, "all-but-here") as client:
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_path("/srv/x.sock", "/tmp/nothing")
        for opened in (client.create_tun, client.create_tap):
            with pytest.raises(asyncssh.ChannelOpenError):
                await opened(asyncssh.SSHTunTapSession)
    told = place.refused("all-but-here")
    assert "listening on the socket /srv/x.sock" in told
    assert "a tunnel of network packets" in told


async def test_an_approved_connection_is_for_that_place_alone(place: SshSetting) -> None:
    with serving(echo) as server, serving(echo) as other:
        async with await connection(place, "asking") as client:
            asked = asyncio.ensure_future(reached(client, "127.0.0.1", server.port))
            waiting = await asyncio.to_thread(place.waiting, "asking")
            body = {"reason": "yes"}
            await asyncio.to_thread(
                place.own.ask, "lead", "POST", f"/v1/approvals/{waiting}/approve", body
            )
            assert await asked == ""
            # The same again, and another one, are asked anew.
            for port in (server.port, other.port):
                again = asyncio.ensure_future(reached(client, "127.0.0.1", port))
                anew = await asyncio.to_thread(place.waiting, "asking")
                assert anew != waiting
                path = f"/v1/approvals/{anew}/deny"
                await asyncio.to_thread(place.own.ask, "lead", "POST", path, {"reason": "no"})
                assert "taskgate: " in await again
        eventually(lambda: server.peers)
        assert (len(server.peers), len(other.peers)) == (1, 0)


def test_a_revoked_grant_cuts_what_is_open(place: SshSetting) -> None:
    token, grant = place.grant_of("subnet")
    with serving(echo) as server:
        at = free_port()
        with (
            tunnel(place, "subnet", "-R", f"{at}:127.0.0.1:{server.port}", token=token) as back,
            local_forward(place, "subnet", f"127.0.0.1:{server.port}", token=token) as port,
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            eventually(lambda: connects(at))
            client.sendall(b"x")
            assert client.recv(10) == b"x"
            place.own.ask("operator", "POST", f"/v1/grants/{grant}/revoke", {"why": "over"})
            assert client.recv(10) == b""
            assert back.wait(60) == 255
            eventually(lambda: not connects(at))
        assert len(server.peers) == 1


async def test_a_second_channel_after_the_revocation_reaches_nothing(place: SshSetting) -> None:
    token, grant = place.grant_of("subnet")
    with serving(echo) as server:
        client = await connection(place, "subnet", token)
        assert await reached(client, "127.0.0.1", server.port) == ""
        await asyncio.to_thread(
            place.own.ask, "operator", "POST", f"/v1/grants/{grant}/revoke", {"why": "over"}
        )
        await asyncio.wait_for(client.wait_closed(), 60)
        with pytest.raises((asyncssh.Error, OSError)):
            await client.open_connection("127.0.0.1", server.port)
        with pytest.raises(asyncssh.PermissionDenied):
            await connection(place, "subnet", token)
        eventually(lambda: server.peers)
        assert len(server.peers) == 1


async def test_what_a_task_masks_does_not_go_round_by_a_connection(place: SshSetting) -> None:
    with serving(lambda client: client.sendall(b"ann@example.com\n")) as server:
        async with await connection(place, "masked") as client:
            said = await reached(client, "127.0.0.1", server.port)
            assert "the task masks what it shows" in said
            with pytest.raises(asyncssh.ChannelListenError):
                await client.forward_remote_port("localhost", 0, "127.0.0.1", server.port)
        assert server.peers == []
    more = {"DISPLAY": "localhost:3"}
    done = await asyncio.to_thread(place.ssh, "masked", "echo x", "-Y", more=more)
    assert done.stdout == "x\n"
    assert "X11 forwarding" in place.refused("masked")
