"""Connections through the gate, made by the host: OpenSSH's client, a real sshd, and both ends."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import asyncssh
import pytest

from taskgate.demo.cluster import free_port
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_CHANNELS
from tests.hosts import Host, running_host
from tests.patience import eventually
from tests.ssh_forwarding import (
    ask,
    connects,
    echo,
    local_forward,
    serving,
    tunnel,
)
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: tunnels
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "sleep *", "cat"]
  - forward: ["127.0.0.1:*", "localhost:*"]
  - listen: ["localhost:*"]
  - socket: ["/tmp/**"]
---
kind: Task
name: lending
resource: target
for: {groups: [testers]}
permit:
  - run: ["ssh-add -l", "printenv *", "sleep *", "/tmp/*/window"]
  - {agent: [target], x11: [target]}
---
kind: Task
name: asking
resource: target
for: {groups: [testers]}
hold:
  - {agent: [target], for: {groups: [leads], within: 1m}}
  - {forward: ["127.0.0.1:*"], listen: ["localhost:*"], for: {groups: [leads], within: 1m}}
permit:
  - run: ["sleep *", "ssh-add -l"]
---
kind: Task
name: limited
resource: target
for: {groups: [testers]}
permit:
  - forward: ["127.0.0.1:*"]
  - listen: ["localhost:*"]
limits: {bytes: 100kB, statement: 10s, idle: 8s}
---
kind: Task
name: idle
resource: target
for: {groups: [testers]}
permit:
  - forward: ["127.0.0.1:*"]
  - listen: ["localhost:*"]
limits: {idle: 3s}
"""

# A program of the host's with a window: the first packet of X11, and what it is answered.
WINDOW = """#!/usr/bin/env python3
import os, socket, subprocess
display = os.environ["DISPLAY"]
listed = subprocess.run(["xauth", "list", display], capture_output=True, text=True).stdout
cookie = bytes.fromhex(listed.split()[-1])
name = b"MIT-MAGIC-COOKIE-1"
port = 6000 + int(display.split(":")[1].split(".")[0])
with socket.create_connection(("127.0.0.1", port), timeout=60) as window:
    head = b"l\\0" + (11).to_bytes(2, "little") + bytes(2) + len(name).to_bytes(2, "little")
    window.sendall(head + len(cookie).to_bytes(2, "little") + bytes(2) + name + bytes(2) + cookie)
    print(window.recv(100).decode())
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as found:
        yield found


def of_kind(setting: SshSetting, task: str, kind: str) -> list[dict[str, Any]]:
    return [facts for found, facts in setting.recorded(task) if found == kind]


def test_a_local_forwarding_is_made_by_the_host_and_counted(place: SshSetting) -> None:
    data = os.urandom(3_000_000)
    with serving(echo) as server:
        with local_forward(place, "tunnels", f"127.0.0.1:{server.port}") as port:
            assert ask(port, data) == data + b"."
            assert ask(port, b"again") == b"again."
        # The account of the host's sshd, not the gateway's.
        assert server.owners == [place.host.account.uid] * 2
    asked = of_kind(place, "tunnels", EventKind.REQUEST_PERMITTED)
    assert [one["text"] for one in asked] == [f"forwarding to 127.0.0.1:{server.port}"] * 2
    assert asked[0]["actions"][0]["verb"] == "forward"
    finished = of_kind(place, "tunnels", EventKind.REQUEST_FINISHED)
    assert [f["bytes_to_host"] for f in finished] == [3_000_000, 5]
    assert [f["bytes_to_client"] for f in finished] == [3_000_001, 6]


def test_a_dynamic_forwarding_is_judged_connection_by_connection(place: SshSetting) -> None:
    local = free_port()
    with serving(echo) as server, tunnel(place, "tunnels", "-D", str(local)):
        eventually(lambda: connects(local))
        for host, answered in ((b"127.0.0.1", b"\x00"), (b"127.0.0.2", b"\x02")):
            with socket.create_connection(("127.0.0.1", local), timeout=60) as socks:
                socks.sendall(b"\x05\x01\x00")
                assert socks.recv(2) == b"\x05\x00"
                port = server.port.to_bytes(2, "big")
                socks.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + port)
                reply = socks.recv(100)
                if answered == b"\x00":
                    assert reply[1:2] == answered
                    socks.sendall(b"hello")
                    assert socks.recv(100) == b"hello"
                else:
                    assert reply[1:2] != b"\x00"
        assert len(server.peers) == 1
    denied = of_kind(place, "tunnels", EventKind.REQUEST_DENIED)
    assert [one["text"] for one in denied] == [f"forwarding to 127.0.0.2:{server.port}"]


def test_a_connection_over_standard_input(place: SshSetting) -> None:
    with serving(echo) as server:
        done = place.ssh("tunnels", "", "-W", f"127.0.0.1:{server.port}", stdin="hello")
    assert done.stdout == "hello.", done.stderr


def test_ssh_to_a_second_host_through_the_gate(place: SshSetting) -> None:
    """`ssh -J task@gate host2`: end to end encrypted, so the gate sees bytes alone."""
    host = place.host
    known = place.client / "second"
    known.write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    proxy = " ".join(place.arguments("tunnels", "-W", "%h:%p"))
    mark = host.mark()
    done = subprocess.run(
        ["ssh", "-F", "none", "-i", str(host.key), "-o", "BatchMode=yes",
         "-o", f"UserKnownHostsFile={known}", "-o", f"ProxyCommand={proxy}",
         "-p", str(host.port), f"{host.account.name}@127.0.0.1", "echo secret-words"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
        env=place.environment(place.grant("tunnels")),
    )  # fmt: skip
    assert done.stdout == "secret-words\n", done.stderr
    assert host.commands_since(mark) == ["echo secret-words"]
    assert of_kind(place, "tunnels", EventKind.REQUEST_PERMITTED)[0]["text"] == (
        f"forwarding to 127.0.0.1:{host.port}"
    )
    events = place.recorded("tunnels")
    assert "secret-words" not in repr(events)


def test_a_remote_forwarding_brings_connections_back(place: SshSetting) -> None:
    at, data = free_port(), os.urandom(2_000_000)
    with serving(echo) as server:
        with tunnel(place, "tunnels", "-R", f"{at}:127.0.0.1:{server.port}"):
            eventually(lambda: connects(at))
            assert ask(at, data) == data + b"."
            assert ask(at, b"x") == b"x."
        eventually(lambda: not connects(at))
    asked = of_kind(place, "tunnels", EventKind.REQUEST_PERMITTED)
    assert [one["text"] for one in asked] == [f"listening on localhost:{at} for the client"]
    came = of_kind(place, "tunnels", EventKind.CONNECTION_CLOSED)
    assert [one["bytes_to_client"] for one in came] == [2_000_000, 1]
    assert [one["bytes_to_host"] for one in came] == [2_000_001, 2]
    finished = of_kind(place, "tunnels", EventKind.REQUEST_FINISHED)
    assert (finished[0]["connections"], finished[0]["port"]) == (2, at)


def test_the_host_picks_a_port_to_listen_on(place: SshSetting) -> None:
    with serving(echo) as server:
        process = subprocess.Popen(
            place.arguments("tunnels", "-N", "-R", f"0:127.0.0.1:{server.port}"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=place.environment(place.grant("tunnels")),
        )  # fmt: skip
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "Allocated port" in line)
            assert ask(int(line.split()[2]), b"x") == b"x."
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_forwarding_that_is_cancelled_stops_listening(place: SshSetting) -> None:
    path, at = place.client / "mux-c", free_port()
    with place.master("tunnels", path):
        for what in ("forward", "cancel"):
            subprocess.run(
                place.arguments("tunnels", "-S", str(path), "-O", what, "-R", f"{at}:127.0.0.1:9"),
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
            if what == "forward":
                eventually(lambda: connects(at))
        eventually(lambda: not connects(at))
        done = place.ssh("tunnels", "echo well", "-o", f"ControlPath={path}", token="-")
        assert done.stdout == "well\n"


def test_a_unix_socket_at_the_host(place: SshSetting, tmp_path: Any) -> None:
    path = f"/tmp/tg-forward-{os.getpid()}.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen()
    listener.settimeout(60)
    local = free_port()
    try:
        with tunnel(place, "tunnels", "-L", f"{local}:{path}"):
            eventually(lambda: connects(local))
            with socket.create_connection(("127.0.0.1", local), timeout=60) as client:
                client.sendall(b"hello")
                inner, _ = listener.accept()
                with inner:
                    assert inner.recv(10) == b"hello"
    finally:
        listener.close()
        os.unlink(path)
    asked = of_kind(place, "tunnels", EventKind.REQUEST_PERMITTED)
    assert asked[0]["text"] == f"forwarding to the socket {path}"


def test_a_held_connection_waits_for_people(place: SshSetting) -> None:
    with serving(echo) as server:
        arguments = place.arguments("asking", "-v", "-W", f"127.0.0.1:{server.port}")
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=place.environment(place.grant("asking")),
        ) as running:  # fmt: skip
            waiting = place.waiting("asking")
            assert not server.peers
            place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
            out, said = running.communicate(b"x", timeout=60)
    assert out == b"x.", said
    # With no command in the connection, only those hear it who want to be told much.
    assert f"held for approval {waiting}".encode() in said


def test_a_held_port_waits_and_a_refused_one_is_said_on_the_command_beside_it(
    place: SshSetting,
) -> None:
    at = free_port()
    mark = place.host.mark()
    with place.start("asking", "sleep 60", "-R", f"{at}:127.0.0.1:9") as running:
        waiting = place.waiting("asking")
        # Where it does not run yet there is nothing to say it on.
        eventually(lambda: place.host.commands_since(mark))
        assert not connects(at)
        body = {"reason": "not today"}
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/deny", body)
        assert running.stderr is not None
        said = ""
        while "not today" not in said:
            line = running.stderr.readline()
            assert line, said
            said += line
        assert not connects(at)
        running.terminate()
        running.communicate(timeout=60)


def test_the_most_that_a_connection_may_answer(place: SshSetting) -> None:
    with (
        serving(lambda client: client.sendall(b"x" * 1_000_000)) as server,
        local_forward(place, "limited", f"127.0.0.1:{server.port}") as port,
    ):
        assert len(ask(port, b"")) <= 100_000
    assert EventKind.LIMIT_REACHED in [kind for kind, _ in place.recorded("limited")]


def test_a_connection_may_be_open_so_long(place: SshSetting) -> None:
    def ticking(client: socket.socket) -> None:
        for _ in range(600):
            client.sendall(b".")
            time.sleep(0.1)

    with (
        serving(ticking) as server,
        local_forward(place, "limited", f"127.0.0.1:{server.port}") as port,
    ):
        began = time.monotonic()
        assert 0 < len(ask(port, b"")) < 600
        assert time.monotonic() - began > 10
    reached = of_kind(place, "limited", EventKind.LIMIT_REACHED)
    assert "open longer than 10 s" in reached[0]["reason"]


@pytest.mark.parametrize("way", [("-L", "{free}:127.0.0.1:9"), ("-R", "{free}:127.0.0.1:9")])
def test_a_tunnel_that_nobody_uses_is_idle(place: SshSetting, way: tuple[str, str]) -> None:
    option, what = way
    with tunnel(place, "idle", option, what.format(free=free_port())) as running:
        assert running.wait(60) == 255
    closed = of_kind(place, "idle", EventKind.SESSION_CLOSED)
    assert closed[0]["reason"] == "idle"


def test_a_slow_reader_and_a_slow_target_cost_no_memory(place: SshSetting) -> None:
    def pour(client: socket.socket) -> None:
        while True:
            client.sendall(b"x" * 65536)

    over = threading.Event()

    def ignore(client: socket.socket) -> None:
        over.wait(60)

    for serve in (pour, ignore):
        over.clear()
        with (
            serving(serve) as server,
            contextlib.ExitStack() as ending,
            local_forward(place, "tunnels", f"127.0.0.1:{server.port}") as port,
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            ending.callback(over.set)
            before = place.resident()
            client.setblocking(False)
            end, sent = time.monotonic() + 5, 0
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    sent += client.send(b"x" * 65536) if serve is ignore else 0
                time.sleep(0.001)
            assert sent < 60_000_000
            assert place.resident() - before < 20_000_000


def test_a_host_that_goes_down_takes_its_port_along_and_the_client_is_told(tmp_path: Any) -> None:
    at = free_port()
    with (
        running_host() as host,
        running_ssh_gate(host, TASKS, people=(LEAD,)) as setting,
        serving(echo) as server,
    ):
        with tunnel(setting, "tunnels", "-R", f"{at}:127.0.0.1:{server.port}") as running:
            eventually(lambda: connects(at))
            host.drop_connections()
            assert running.wait(60) == 255
        finished = of_kind(setting, "tunnels", EventKind.REQUEST_FINISHED)
        assert "listens no more" in finished[0]["reason"]
        # A connection that the host makes is reached anew.
        with local_forward(setting, "tunnels", f"127.0.0.1:{server.port}") as port:
            assert ask(port, b"x") == b"x."
            host.drop_connections()
            eventually(lambda: ask(port, b"y") == b"y.")


@pytest.fixture
def keys(place: SshSetting) -> Iterator[dict[str, str]]:
    """An agent of the client's with one key: the variables that name it."""
    key = place.client / "lent"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with place.agent() as agent:
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, **agent})
        yield agent


def test_an_agent_is_lent_and_its_use_is_recorded(place: SshSetting, keys: dict[str, str]) -> None:
    done = place.ssh("lending", "ssh-add -l", "-A", more=keys)
    assert "ED25519" in done.stdout, done.stderr
    asked = of_kind(place, "lending", EventKind.REQUEST_PERMITTED)
    assert {"verb": "agent", "object": "target", "kind": "resource"} in asked[0]["actions"]
    (used,) = of_kind(place, "lending", EventKind.CONNECTION_CLOSED)
    assert (used["request"], used["to"]) == (1, "agent")
    assert used["bytes_to_host"] > 50


def test_lending_an_agent_is_held_with_its_command(place: SshSetting, keys: dict[str, str]) -> None:
    mark = place.host.mark()
    with place.start("asking", "ssh-add -l", "-A", more=keys) as running:
        waiting = place.waiting("asking")
        assert place.host.commands_since(mark) == []
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        out, said = running.communicate(timeout=60)
    assert "ED25519" in out, said


def test_an_agent_is_lent_for_as_long_as_its_command_runs(
    place: SshSetting, keys: dict[str, str]
) -> None:
    path = place.client / "mux-a"
    with place.master("lending", path, "-A", more=keys):
        options = ("-A", "-o", f"ControlPath={path}")
        done = place.ssh("lending", "printenv SSH_AUTH_SOCK", *options, token="-", more=keys)
        socket_path = done.stdout.strip()
        assert socket_path, done.stderr
        # sshd keeps its socket; the gate lends nothing through it.
        ask_it = f"SSH_AUTH_SOCK={socket_path} timeout 20 ssh-add -l 2>&1 || true"
        assert "ED25519" not in place.host.run(ask_it)
        with place.start("lending", "sleep 30", *options, token="-", more=keys) as running:
            eventually(lambda: "ED25519" in place.host.run(ask_it))
            running.terminate()
            running.communicate(timeout=60)


def test_windows_are_shown(place: SshSetting, tmp_path: Any) -> None:
    if shutil.which("xauth") is None:
        pytest.skip("xauth is not installed: apt-get install xauth")
    real, seen = os.urandom(16), bytearray()

    def display(client: socket.socket) -> None:
        while len(seen) < 48 and (data := client.recv(100)):
            seen.extend(data)
        client.sendall(b"welcome")

    program = place.home / "window"
    program.write_text(WINDOW)
    program.chmod(0o755)
    with serving(display) as server:
        name, proof = f"localhost:{server.port - 6000}", tmp_path / "proof"
        line = ["xauth", "-q", "-f", proof, "add", name, "MIT-MAGIC-COOKIE-1", real.hex()]
        subprocess.run(line, check=True)
        more = {"DISPLAY": name, "XAUTHORITY": str(proof)}
        done = place.ssh("lending", str(program), "-Y", more=more)
    assert done.stdout == "welcome\n", done.stderr
    # The host's programs prove themselves by a cookie of this channel's; the client knows the real.
    assert real in seen
    (used,) = of_kind(place, "lending", EventKind.CONNECTION_CLOSED)
    assert (used["to"], used["bytes_to_host"]) == ("x11", 7)


@pytest.mark.parametrize("option", ["-A", "-Y"])
def test_a_command_runs_without_what_no_rule_lets_it_be_lent(
    place: SshSetting, option: str, keys: dict[str, str]
) -> None:
    more = {**keys, "DISPLAY": "localhost:3"}
    done = place.ssh("tunnels", "echo well", option, more=more)
    assert done.stdout == "well\n"
    what = {"-A": "agent forwarding", "-Y": "X11 forwarding"}[option]
    assert what in place.refused("tunnels")


async def test_refused_connections_are_not_counted_as_open(place: SshSetting) -> None:
    async with await asyncssh.connect(
        "localhost", place.port, username="tunnels", password=place.grant("tunnels"), config=None,
        known_hosts=str(place.client / "known_hosts"), client_keys=None, agent_path=None,
    ) as client:  # fmt: skip
        for _ in range(MAX_CHANNELS + 20):
            with pytest.raises(asyncssh.ChannelOpenError, match="taskgate: "):
                await client.open_connection("10.0.0.1", 22)
        with serving(echo) as server:
            _, writer = await client.open_connection("127.0.0.1", server.port)
            writer.close()


@pytest.mark.cap("MAX_CHANNELS")
async def test_connections_and_ports_count_as_channels(place: SshSetting) -> None:
    async with await asyncssh.connect(
        "localhost", place.port, username="tunnels", password=place.grant("tunnels"), config=None,
        known_hosts=str(place.client / "known_hosts"), client_keys=None, agent_path=None,
    ) as client:  # fmt: skip
        with serving(echo) as server:
            listener = await client.forward_remote_port("localhost", 0, "127.0.0.1", server.port)
            process = await client.create_process("sleep 60")
            held = []
            for _ in range(MAX_CHANNELS - 2):
                held.append(await client.open_connection("127.0.0.1", server.port))
            with pytest.raises(asyncssh.ChannelOpenError, match="too many channels"):
                await client.open_connection("127.0.0.1", server.port)
            with pytest.raises(asyncssh.ChannelOpenError):
                await client.create_process("sleep 60")
            # What comes in at the host is one more too.
            assert await asyncio.to_thread(ask, listener.get_port(), b"x") == b""
            process.close()
            await process.wait_closed()
            await asyncio.to_thread(eventually, lambda: ask(listener.get_port(), b"x"))
            for _, writer in held:
                writer.close()
