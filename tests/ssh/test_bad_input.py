"""What no good client does: windows ignored, thousands of channels, terminals and variables of
every kind, no strict key exchange. The gate stays well, and nothing of it reaches the host."""

import asyncio
import contextlib
import hashlib
import io
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.channel import SSHClientChannel
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import String, UInt32

from tests.hosts import Host, running_host
from tests.ssh_forwarding import echo, serving
from tests.ssh_setting import SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: odd
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "cat **", "sleep *", "printenv **", "stty size", "head **"]
  - write: ["/dev/null"]
  - env: ["*"]
  - terminal: ["*"]
  - forward: ["127.0.0.1:*"]
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS) as found:
        yield found


async def connection(place: SshSetting, **more: Any) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "localhost", place.port, username="odd", password=place.grant("odd"), config=None,
        known_hosts=str(place.client / "known_hosts"), client_keys=None, agent_path=None, **more,
    )  # fmt: skip


async def is_well(place: SshSetting) -> bool:
    done = await asyncio.to_thread(place.ssh, "odd", "echo well")
    return done.stdout == "well\n"


async def test_a_client_that_sends_past_its_window_is_cut_off(place: SshSetting) -> None:
    before = place.resident()
    client = await connection(place)
    process: Any = await client.create_process("sleep 60", encoding=None)
    channel = process.channel
    for _ in range(2_000):
        if client.is_closed():
            break
        channel.send_packet(MSG_CHANNEL_DATA, String(b"x" * 32_768))
        await asyncio.sleep(0)
    await asyncio.wait_for(client.wait_closed(), 60)
    assert place.resident() - before < 20_000_000
    assert await is_well(place)


async def test_a_window_that_grows_without_end(place: SshSetting) -> None:
    """RFC 4254, section 5.2: a window is 2^32 - 1 at most; more of it buys no more memory."""
    async with await connection(place) as client:
        process: Any = await client.create_process("head -c 3000000 /dev/zero", encoding=None)
        for _ in range(1_000):
            process.channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**32 - 1))
        assert len(await process.stdout.read()) == 3_000_000
    assert await is_well(place)


async def test_thousands_of_channels_on_one_connection(place: SshSetting) -> None:
    with serving(echo) as server:
        async with await connection(place) as client:

            async def one_after_the_other(count: int) -> None:
                for _ in range(count):
                    channel: Any = SSHClientChannel(
                        client, asyncio.get_running_loop(), "strict", None, "strict", 65536, 32768
                    )
                    await channel._open(b"session")
                    channel.abort()
                    await channel.wait_closed()

            async def connected(count: int) -> None:
                for _ in range(count):
                    _, writer = await client.open_connection("127.0.0.1", server.port)
                    writer.channel.abort()
                    await writer.channel.wait_closed()

            async def refused(count: int) -> None:
                for _ in range(count):
                    with pytest.raises(asyncssh.ChannelOpenError):
                        await client.open_connection("127.0.0.2", server.port)

            rounds: tuple[Callable[[int], Any], ...] = (one_after_the_other, connected, refused)
            for each in rounds:
                await each(200)
            before = place.resident()
            await one_after_the_other(2_000)
            await connected(300)
            await refused(300)
            assert place.resident() - before < 12_000_000
            done = await client.run("echo well", timeout=60)
            assert done.stdout == "well\n"


def test_a_reader_that_stops_for_a_while_gets_all_of_it(place: SshSetting) -> None:
    before = place.resident()
    with place.start("odd", "head -c 30000000 /dev/zero | cat") as running:
        assert isinstance(running.stdout, io.TextIOWrapper)
        pipe = running.stdout.buffer
        found = len(pipe.read(1_000_000))
        for _ in range(3):
            # As slow as a person who pages.
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(1)
            found += len(pipe.read(1_000_000))
        assert place.resident() - before < 30_000_000
        found += len(pipe.read())
        assert running.wait(60) == 0
    assert found == 30_000_000


# Takes a quarter of a megabyte at a time, and tells how much it was.
SLOW = (
    "import os, time; count = 0\n"
    "while data := os.read(0, 262144): count += len(data); time.sleep(0.002)\n"
    "print(count)"
)


@pytest.mark.parametrize(
    ("count", "most"),
    [
        pytest.param(200_000_000, 40_000_000, id="200 MB"),
        pytest.param(1_100_000_000, 40_000_000, id="1.1 GB", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    "way", ["down", "up", "forwarded", "to a slow reader", "forwarded to a slow reader"]
)
def test_bulk_runs_in_constant_memory(
    place: SshSetting, tmp_path: Path, count: int, most: int, way: str
) -> None:
    before = place.resident()
    line = f"head -c {count} /dev/zero"
    gate = " ".join(place.arguments("odd"))
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as sparse:
        sparse.truncate(count)

    def send(client: socket.socket) -> None:
        with zeros.open("rb") as file:
            client.sendfile(file)

    with serving(send) as server:
        through = gate.replace("ssh", f"ssh -W 127.0.0.1:{server.port}", 1)
        slow = f"{sys.executable} -c '{SLOW}'"
        script = {
            "down": f"{gate} '{line}' | wc -c",
            "up": f"{line} | {gate} 'cat > /dev/null && echo {count}'",
            "forwarded": f"{through} | wc -c",
            "to a slow reader": f"{gate} '{line}' | {slow}",
            "forwarded to a slow reader": f"{through} | {slow}",
        }[way]
        with subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env=place.environment(place.grant("odd")),
        ) as running:  # fmt: skip
            peak = 0
            while running.poll() is None:
                peak = max(peak, place.resident())
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(0.05)
            out, _ = running.communicate(timeout=60)
    assert out.strip() == str(count)
    assert peak - before < most


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (65_535, 65_535), (2**32 - 1, 2**32 - 1)])
async def test_terminals_of_odd_sizes(place: SshSetting, size: tuple[int, int]) -> None:
    async with await connection(place) as client:
        done = await client.run("stty size", term_type="xterm", term_size=size, timeout=60)
        columns, rows = (value & 0xFFFF for value in size)
        assert str(done.stdout).split() == [str(rows), str(columns)]


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        ("xterm-256color", True), ("no-such-terminal", True), ("x" * 64, True),
        ("x" * 65, False), ("../../tmp/x", False), ("a b", False), ("x\nLD_PRELOAD=y", False),
        ("() { :; }; id", False), ("x\0y", False), ("-x", False),
    ],
)  # fmt: skip
async def test_terminals_of_odd_kinds(place: SshSetting, kind: str, passes: bool) -> None:
    async with await connection(place) as client:
        asked = client.run("printenv TERM", term_type=kind, timeout=60)
        if passes:
            assert str((await asked).stdout).strip() == kind
        else:
            with pytest.raises(asyncssh.ChannelOpenError):
                await asked
    assert await is_well(place)


async def test_variables_that_are_none_do_not_arrive(place: SshSetting) -> None:
    """The task permits every name; what is no name, or no plain text, is left out all the same."""
    smuggled: dict[bytes, bytes] = {
        b"A=B": b"smuggled", b"A\nLD_PRELOAD": b"smuggled", b"A\0B": b"smuggled", b"": b"smuggled",
        b"TG_\xff": b"smuggled", b"A B": b"smuggled", b"BASH_FUNC_id%%": b"() { smuggled; }",
        b"TG_NUL": b"x\0smuggled", b"TG_LINE": b"x\nsmuggled=1", b"TG_LATIN": b"smuggl\xe9d",
        b"TG_ESC": b"\x1b]0;smuggled\x07", b"1A": b"smuggled",
    }  # fmt: skip
    async with await connection(place) as client:
        env: Any = {**smuggled, b"TG_OK": b"here", b"LANG": b"fr_FR.ISO-8859-1"}
        done = await client.run("printenv", env=env, timeout=60, encoding="latin-1")
    assert "smuggl" not in str(done.stdout)
    assert "TG_OK=here\n" in str(done.stdout)
    assert "LANG=fr_FR.ISO-8859-1\n" in str(done.stdout)


@pytest.mark.parametrize("name", ["LD_PRELOAD", "BASH_ENV", "PATH", "ENV", "IFS", "PS4"])
def test_dangerous_variables_need_a_rule_of_their_own(setting: SshSetting, name: str) -> None:
    done = setting.ssh("look", f"printenv {name}", "-o", f"SetEnv={name}=smuggled")
    assert "smuggled" not in done.stdout
    finished = [facts for kind, facts in setting.recorded("look") if kind == "request.finished"]
    assert name in finished[0]["variables_left_out"]


async def test_without_strict_key_exchange_nothing_weak_is_negotiated(
    place: SshSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terrapin (CVE-2023-48795) needs ChaCha20-Poly1305 or CBC with encrypt-then-MAC."""
    monkeypatch.setattr(
        asyncssh.SSHClientConnection, "_get_extra_kex_algs", lambda _self: [b"ext-info-c"]
    )
    # asyncssh would take the server's offer alone for an agreement.
    never = property(lambda _self: False, lambda _self, _value: None)
    monkeypatch.setattr(asyncssh.SSHClientConnection, "_strict_kex", never, raising=False)
    every = ["chacha20-poly1305@openssh.com", "aes256-cbc", "aes128-ctr", "aes256-gcm@openssh.com"]
    macs = ["hmac-sha2-256-etm@openssh.com", "hmac-sha1", "hmac-sha2-256"]
    async with await connection(place, encryption_algs=every, mac_algs=macs) as client:
        for direction in ("send", "recv"):
            assert client.get_extra_info(f"{direction}_cipher") in (
                "aes128-ctr", "aes256-gcm@openssh.com",
            )  # fmt: skip
            assert "etm" not in client.get_extra_info(f"{direction}_mac")
        done = await client.run("echo well", timeout=60)
        assert done.stdout == "well\n"
    for only in (
        {"encryption_algs": every[:1]},
        {"encryption_algs": every[1:2]},
        {"encryption_algs": every[2:3], "mac_algs": macs[:1]},
        {"encryption_algs": every[2:3], "mac_algs": macs[1:2]},
    ):
        # Whichever side finds it out first.
        ends = (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionError)
        with pytest.raises(ends):
            await connection(place, **only)


def test_keys_are_exchanged_anew_with_the_host_too(tmp_path: Path) -> None:
    data = bytes(range(256)) * 30_000
    (tmp_path / "data").write_bytes(data)
    with (
        running_host("RekeyLimit 1M\n") as host,
        running_ssh_gate(host, TASKS) as place,
        (tmp_path / "data").open("rb") as source,
    ):
        done = subprocess.run(
            [*place.arguments("odd", "-o", "RekeyLimit=1M"), "cat"], stdin=source,
            capture_output=True, check=True, timeout=90,
            env=place.environment(place.grant("odd")),
        )  # fmt: skip
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
        assert host.log.read_text().count("rekey") > 3
