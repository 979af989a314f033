"""Files that go through the gate kept in its recording, and put together again from that: by
OpenSSH's sftp and scp, a real sftp-server, and the command that a person uses."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate

TASKS = """
kind: Role
name: watchers
for: {groups: [testers]}
may: [audit, replay]
---
kind: Role
name: administrators
for: {groups: [leads]}
may: [administer]
---
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
    with running_ssh_gate(ssh_host, tasks, people=(LEAD,)) as found:
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
