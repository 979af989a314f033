"""Ways round the recording of files, and ways to harm whoever gets one out of it: what passes is in
the recording, and its reader gets that and nothing else, under the name that they chose."""

import json
import os
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_RECORDED_FILE_BYTES, MIB
from tests.ssh.test_kept_files import app, connection, files, place
from tests.ssh_setting import SshSetting, ssh_host

__all__ = ["app", "place", "ssh_host"]


NAMES = ("\x1b]0;owned\x07\x1b[2J", "line\nfile-1", "..\\..\\x", "\u202egnp.exe", "--output=x")


async def test_names_are_shown_harmless_and_lead_nowhere(
    place: SshSetting, app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connection(place) as client, client.start_sftp_client() as sftp:
        for name in NAMES:
            async with sftp.open(f"{app}/{name}", "wb") as file:
                await file.write(b"x")
    listed = files(place)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert len(lines) == len(NAMES) + 1
    assert not {"\x1b", "\x07", "\u202e"} & set(listed.stdout)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for one in json.loads(files(place, "--json").stdout):
        done = files(place, "--get", str(one["request"]))
        assert done.returncode == 0, done.stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)
    assert all(name.startswith("file-") for name in os.listdir())
    assert len(os.listdir()) == len(NAMES)
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize("wanted", ["../../x", "/etc/passwd", "0", "-1", "..", "1/../2"])
def test_what_was_not_kept_is_not_found(
    place: SshSetting, app: Path, tmp_path: Path, wanted: str
) -> None:
    (tmp_path / "up").write_text("x")
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    done = files(place, f"--get={wanted}", "--output", str(tmp_path / "out"))
    assert done.returncode == 5
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over_or_through_a_link(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    (tmp_path / "up").write_text("x")
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("there", "link"):
        done = files(place, "--get", f"{app}/a", "--output", str(tmp_path / name))
        assert done.returncode == 7
        assert "File exists" in done.stderr
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "target").exists()
    umask = os.umask(0)
    try:
        assert files(place, "--get", f"{app}/a", "--output", str(tmp_path / "new")).returncode == 0
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_recording_that_was_changed_gives_no_file(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    (tmp_path / "up").write_text("the truth")
    assert place.sftp("kept", f"put {tmp_path}/up {app}/a").returncode == 0
    place.recorded("kept")
    (raw,) = place.own.recordings.rglob(f"*{place.newest_session('kept')}*")
    raw.chmod(0o600)
    before = raw.read_bytes()
    raw.write_bytes(before.replace(b"the truth", b"the fraud"))
    done = place.own.command(
        "operator", "files", place.newest_session("kept"), "--get", f"{app}/a", "--output",
        str(tmp_path / "out"),
    )  # fmt: skip
    raw.write_bytes(before)
    assert done.returncode != 0
    assert "was changed, or is missing" in done.stderr
    assert not (tmp_path / "out").exists()


async def test_a_hole_does_not_fill_the_readers_disk(
    place: SshSetting, app: Path, tmp_path: Path
) -> None:
    async with (
        await connection(place) as client,
        client.start_sftp_client() as sftp,
        sftp.open(f"{app}/a", "wb", block_size=0) as file,
    ):
        await file.write(b"x", offset=1 << 40)
    done = files(place, "--get", f"{app}/a", "--output", str(tmp_path / "out"))
    assert done.returncode == 7
    assert "are not put together" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", ["read", "written"])
def test_past_the_cap_a_transfer_ends_in_constant_memory(
    place: SshSetting, app: Path, tmp_path: Path, way: str
) -> None:
    gateway = psutil.Process(place.own.pid)
    before = gateway.memory_info().rss
    (tmp_path / "up").touch()
    os.truncate(tmp_path / "up", 300 * MIB)
    place.host.run(f"truncate -s {300 * MIB} {app}/down")
    arguments = {
        "read": (f"HOST:{app}/down", str(tmp_path / "got")),
        "written": (str(tmp_path / "up"), f"HOST:{app}/up"),
    }
    running = place.started_scp("kept", *arguments[way])
    peak = 0
    while running.poll() is None:
        peak = max(peak, gateway.memory_info().rss)
        try:
            running.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "the recording of this session's files is full" in said
    assert peak - before < 48 * MIB
    events = place.recorded("kept")
    assert EventKind.LIMIT_REACHED in [kind for kind, _ in events]
    kept = sum(f["bytes"] for kind, f in events if kind == EventKind.FILE_CONTENT)
    passed = (tmp_path / "got" if way == "read" else app / "up").stat().st_size
    assert passed <= kept < MAX_RECORDED_FILE_BYTES
    assert kept > MAX_RECORDED_FILE_BYTES // 2
    # Nothing was lost before that either, and it comes out again in constant memory.
    done = files(place, "--get", str(app / ("down" if way == "read" else "up")), "--output",
                 str(tmp_path / "out"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").stat().st_size == kept
    assert gateway.memory_info().rss - before < 48 * MIB
