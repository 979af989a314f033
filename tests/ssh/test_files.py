"""Files through the gate: OpenSSH's sftp and scp, a real sftp-server, paths judged at the host."""

import hashlib
import os
from pathlib import Path

import pytest

from taskgate.model.event import EventKind
from tests.ssh_files import app, place
from tests.ssh_setting import SshSetting

__all__ = ["app", "place"]


def test_files_come_and_go(place: SshSetting, app: Path, tmp_path: Path) -> None:
    local = tmp_path / "up"
    local.write_bytes(os.urandom(3_000_000))
    done = place.sftp(
        "files", f"cd {app}", f"put {local} up", "ls -l", f"get up {tmp_path}/down",
        f"get alias {tmp_path}/alias", "rename up up2", "mkdir new", "chmod 600 up2", "rm up2",
        "rmdir new", "ln -s one l", "ln one h", "df",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "down").read_bytes() == local.read_bytes()
    assert (tmp_path / "alias").read_text() == "one\n"
    assert place.host.run(f"ls {app}").split() == sorted(
        ["alias", "etc", "h", "in", "k2", "kept", "l", "one", "passwd", "s2", "secret", "sub"]
    )
    events = place.recorded("files")
    asked = [facts["text"] for kind, facts in events if kind == EventKind.REQUEST_PERMITTED]
    for said in (
        "write APP/up", "read APP/up", "read APP/one", "remove APP/up2",
        "rename APP/up, rename APP/up2", "link APP/one, link APP/l",
    ):  # fmt: skip
        assert said.replace("APP", str(app)) in asked, asked
    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    finished = [facts for kind, facts in events if kind == EventKind.REQUEST_FINISHED]
    assert any(f.get("written_sha256") == digest for f in finished)
    assert any(f.get("read_sha256") == digest and f["read"] == 3_000_000 for f in finished)


def test_scp_both_ways_and_by_folders(place: SshSetting, app: Path, tmp_path: Path) -> None:
    local = tmp_path / "tree"
    (local / "deep").mkdir(parents=True)
    (local / "deep" / "file").write_text("x")
    assert place.scp("files", "-r", str(local), f"HOST:{app}/tree").returncode == 0
    done = place.scp("files", "-r", f"HOST:{app}/tree", str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back" / "deep" / "file").read_text() == "x"
    refused = place.scp("files", f"HOST:{app}/secret", str(tmp_path / "s"))
    assert refused.returncode != 0
    assert "nobody reads it" in refused.stderr


@pytest.mark.parametrize("options", [(), ("-rpv",)])
def test_scps_old_protocol_is_refused(
    place: SshSetting, app: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    mark = place.host.mark()
    done = place.scp("files", *options, "-O", f"HOST:{app}/one", str(tmp_path / "one"))
    assert done.returncode != 0
    assert "scp's old protocol: no rule of task files permits it" in done.stderr
    assert "leave out -O" in done.stderr
    assert place.host.commands_since(mark) == []


def test_a_letter_box(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    assert place.scp("drop", str(tmp_path / "f"), f"HOST:{app}/in/f").returncode == 0
    assert place.host.run(f"cat {app}/in/f") == "x"
    assert place.scp("drop", f"HOST:{app}/in/f", str(tmp_path / "g")).returncode != 0
    assert "f" not in place.sftp("drop", f"ls {app}/in").stdout.splitlines()[1:]


def test_a_file_longer_than_the_limit(place: SshSetting, app: Path, tmp_path: Path) -> None:
    place.host.run(f"head -c 150000 /dev/zero > {app}/big; head -c 100000 /dev/zero > {app}/fits")
    assert place.scp("fetch", f"HOST:{app}/fits", str(tmp_path / "fits")).returncode == 0
    assert place.scp("fetch", f"HOST:{app}/big", str(tmp_path / "big")).returncode != 0
    assert (tmp_path / "big").stat().st_size <= 100_000
    assert EventKind.LIMIT_REACHED in [kind for kind, _ in place.recorded("fetch")]


def test_a_write_is_held_until_people_agree(place: SshSetting, app: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with place.started_scp("held", str(tmp_path / "f"), f"HOST:{app}/f") as running:
        waiting = place.waiting("held")
        assert not (app / "f").exists()
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert f"held for approval {waiting}" in said
    assert place.host.run(f"cat {app}/f") == "x"


def test_a_task_without_files_starts_no_sftp(setting: SshSetting) -> None:
    done = setting.sftp("restart", "ls")
    assert done.returncode != 0
    assert "SFTP: no rule of this task is about files" in done.stderr
