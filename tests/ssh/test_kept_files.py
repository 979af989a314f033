"""Files that go through the gate kept in its recording, and put together again from that: by
OpenSSH's sftp and scp, a real sftp-server, and the command that a person uses."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from taskgate.demo.gate import GateFault
from taskgate.model.event import EventKind
from taskgate.recording.content import content_of
from tests.hosts import Host
from tests.patience import eventually
from tests.ssh_setting import LEAD, ROLES, SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: kept
resource: target
for: {groups: [testers]}
permit:
  - {see: ["HOME/app/**"], change: ["HOME/app/**"]}
record: {files: true}
"""
DATA = os.urandom(700_000)


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    tasks = TASKS.replace("HOME", str(ssh_host.home))
    with running_ssh_gate(ssh_host, ROLES, tasks, people=(LEAD,)) as found:
        yield found


@pytest.fixture
def app(place: SshSetting) -> Path:
    folder = place.home / "app"
    place.host.run(f"rm -rf {folder} && mkdir -p {folder}")
    return folder


def files(place: SshSetting, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`taskgate files` of the newest session, once that has ended."""
    place.recorded("kept")
    return place.own.command("operator", "files", place.newest_session("kept"), *arguments)


def got(place: SshSetting, folder: Path, which: str, *more: str) -> bytes:
    """A file from the recording."""
    output = folder / "got"
    output.unlink(missing_ok=True)
    done = files(place, "--get", which, "--output", str(output), *more)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_mode & 0o077 == 0
    return output.read_bytes()


async def connection(place: SshSetting) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "localhost", place.port, username="kept", password=place.grant("kept"), config=None,
        known_hosts=str(place.client / "known_hosts"), client_keys=None, agent_path=None,
    )  # fmt: skip


def content(place: SshSetting) -> list[dict[str, Any]]:
    return [facts for kind, facts in place.recorded("kept") if kind == EventKind.FILE_CONTENT]


def test_what_was_sent_and_fetched_comes_out_again(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    (tmp_path / "up").write_bytes(DATA)
    (tmp_path / "text").write_text("grüße\n")
    done = place.sftp(
        "kept", f"put {tmp_path}/up {app}/a", f"get {app}/a {tmp_path}/down",
        f"put {tmp_path}/text {app}/text",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = files(place)
    assert listed.returncode == 0, listed.stderr
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    digest = hashlib.sha256(DATA).hexdigest()
    assert [row[1:] for row in rows] == [
        ["written", "700000", f"{app}/a", digest],
        ["read", "700000", f"{app}/a", digest],
        ["written", "8", f"{app}/text", hashlib.sha256("grüße\n".encode()).hexdigest()],
    ]
    assert got(place, tmp_path, rows[0][0]) == DATA
    assert got(place, tmp_path, rows[1][0]) == DATA
    assert got(place, tmp_path, f"{app}/text") == "grüße\n".encode()
    # As text where it is one.
    assert content(place)[-1]["text"] == "grüße\n"
    both = files(place, "--get", f"{app}/a", "--output", str(tmp_path / "x"))
    assert both.returncode == 2
    assert "2 files are meant" in both.stderr
    assert got(place, tmp_path, f"{app}/a", "--read") == DATA


def test_scp_with_requests_side_by_side(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(DATA)
    options = ("-X", "nrequests=128", "-X", "buffer=3000")
    assert place.scp("kept", *options, str(tmp_path / "up"), f"HOST:{app}/a").returncode == 0
    assert got(place, tmp_path, f"{app}/a") == DATA
    assert place.scp("kept", *options, f"HOST:{app}/a", str(tmp_path / "down")).returncode == 0
    assert got(place, tmp_path, f"{app}/a") == DATA


def test_a_resumed_transfer_has_a_hole_and_says_so(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    (tmp_path / "up").write_bytes(DATA)
    place.host.run(f"head -c 200000 /dev/zero > {app}/half")
    (tmp_path / "half").write_bytes(DATA[:300_000])
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    done = place.sftp(
        "kept", f"reget {app}/a {tmp_path}/half", f"reput {tmp_path}/up {app}/half",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "half").read_bytes() == DATA
    for name, from_ in (("a", 300_000), ("half", 200_000)):
        output = tmp_path / f"{name}.got"
        done = files(place, "--get", f"{app}/{name}", "--output", str(output))
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == bytes(from_) + DATA[from_:]
        assert f"not in the recording, and zero here: bytes 0 to {from_}" in done.stderr
        assert "SHA-256 as recorded" in done.stderr


def test_many_requests_at_once_by_sftp(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(DATA)
    batch = f"put {tmp_path}/up {app}/a\nget {app}/a {tmp_path}/down\n"
    done = subprocess.run(
        ["sftp", "-o", "BatchMode=no", "-R", "200", "-B", "1000", *place.options("-P"), "-b", "-",
         "kept@localhost"],
        input=batch, capture_output=True, text=True, check=False, timeout=90,
        env=place.environment(place.grant("kept")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "down").read_bytes() == DATA
    assert got(place, tmp_path, f"{app}/a", "--written") == DATA
    assert got(place, tmp_path, f"{app}/a", "--read") == DATA


async def test_rewritten_appended_cut_and_renamed_while_open(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    async with await connection(place) as client, client.start_sftp_client() as sftp:
        async with sftp.open(f"{app}/a", "wb", block_size=0) as file:
            await file.write(b"0123456789")
            await sftp.rename(f"{app}/a", f"{app}/b")
            await file.write(b"xx", offset=2)
            await file.truncate(8)
            await file.write(b"end", offset=9)
        async with sftp.open(f"{app}/b", "ab", block_size=0) as file:
            # The host puts it at the end, whatever is said here.
            await file.write(b"+1", offset=0)
            await file.write(b"+2", offset=0)
    host = place.host.run(f"cat {app}/b")
    assert host == "01xx4567\0end+1+2"
    assert got(place, tmp_path, f"{app}/a") == b"01xx4567\0end"
    # Where the file ended before it was appended to, nobody said.
    assert got(place, tmp_path, f"{app}/b") == b"+1+2"


def test_an_empty_file(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert place.sftp("kept", f"put {tmp_path}/empty {app}/e").returncode == 0
    assert got(place, tmp_path, f"{app}/e", "--written") == b""


def test_a_replay_tells_how_much_and_where(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("said-in-a-file\n")
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    place.recorded("kept")
    session = place.newest_session("kept")
    text = place.own.command("operator", "replay", session, "--text", "--at-once").stdout
    assert "written 15 bytes at 0" in text
    assert f"file {app}/a" in text
    assert "said-in-a-file" not in text
    whole = place.own.command("operator", "replay", session, "--json").stdout
    assert "said-in-a-file" in whole
    found = place.own.ask("operator", "GET", "/v1/audit/search?text=said-in-a-file")["entries"]
    assert not found


def test_whoever_may_not_replay_gets_no_file(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("x")
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    place.recorded("kept")
    session = place.newest_session("kept")
    number = json.loads(files(place, "--json").stdout)[0]["request"]
    for more in ((), ("--get", str(number))):
        done = place.own.command("lead", "files", session, *more)
        assert done.returncode == 4
        assert "this needs the right to replay" in done.stderr
    with pytest.raises(GateFault, match="the right to replay"):
        place.own.ask("lead", "GET", f"/v1/recordings/{session}/files/{number}")
    got(place, tmp_path, str(number))
    read = place.own.command("operator", "audit", "search", "--text", "", "--json").stdout
    assert "recording.read" in read


@pytest.mark.parametrize("way", ["read", "written"])
def test_a_full_disk_stops_the_transfer_before_the_bytes_pass(
    ssh_host: Host, tmp_path: Path, way: str
) -> None:
    """It is full in the middle of a file: neither side has a byte that the recording has not."""
    data = os.urandom(3_000_000)
    (tmp_path / "up").write_bytes(data)
    tasks = TASKS.replace("HOME", str(ssh_host.home))
    with running_ssh_gate(ssh_host, ROLES, tasks) as place:
        app = place.home / "app"
        place.host.run(f"rm -rf {app} && mkdir -p {app} && head -c 3000000 /dev/zero > {app}/down")
        with place.master("kept", tmp_path / "mux"):
            session = place.newest_session("kept")
            place.limit_file_size(1_000_000)
            lines = {
                "read": f"get {app}/down {tmp_path}/got",
                "written": f"put {tmp_path}/up {app}/up",
            }
            done = subprocess.run(
                ["sftp", "-o", f"ControlPath={tmp_path}/mux", *place.options("-P"), "-b", "-",
                 "kept@localhost"],
                input=lines[way], capture_output=True, text=True, check=False, timeout=90,
            )  # fmt: skip
        assert done.returncode != 0
        kept = b"".join(
            content_of(facts)
            for kind, facts in place.events(session)
            if kind == EventKind.FILE_CONTENT
        )
        if way == "read":
            passed = (tmp_path / "got").read_bytes()
            assert kept == bytes(len(kept))
        else:
            # What is on its way to the host still arrives there.
            passed = eventually((app / "up").read_bytes)
            assert kept == data[: len(kept)]
    assert 0 < len(passed) <= len(kept) < 1_000_000
    assert kept.startswith(passed)
