"""rsync through the gate: its own program at both ends."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_clients import documented_tasks, need, run_through
from tests.ssh_setting import SshSetting, running_ssh_gate


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    need("rsync", "rsync")
    with running_ssh_gate(ssh_host, documented_tasks(ssh_host)) as found:
        yield found


@pytest.fixture
def app(place: SshSetting) -> Path:
    folder = place.home / "app"
    place.host.run(f"rm -rf {folder} && mkdir -p {folder}/sub && echo one > {folder}/sub/one")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Many small files, and one that is large."""
    folder = tmp_path / "tree"
    for number in range(300):
        (folder / f"d{number % 7}").mkdir(parents=True, exist_ok=True)
        (folder / f"d{number % 7}" / f"f {number}").write_text(f"{number}\n" * number)
    (folder / "large").write_bytes(os.urandom(5_000_000))
    return folder


def differences(one: Path, other: Path) -> str:
    done = subprocess.run(["diff", "-r", one, other], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", ["-a", "-avz", "-rtc --stats", "-aHAXi --numeric-ids", "-aP"])
def test_a_tree_comes(
    place: SshSetting, app: Path, tree: Path, tmp_path: Path, options: str
) -> None:
    place.host.run(f"cp -r {app}/sub {app}/'more of it'")
    done = run_through(
        place, "rsync-pull", "rsync", *options.split(), f"HOST:{app}/", tmp_path / "back"
    )
    assert done.returncode == 0, done.stderr
    assert differences(app, tmp_path / "back") == ""


@pytest.mark.parametrize("options", ["-a", "-avz", "-rtc --stats", "-aHAXi --numeric-ids", "-aP"])
def test_a_tree_goes(place: SshSetting, app: Path, tree: Path, options: str) -> None:
    done = run_through(
        place, "rsync-mirror", "rsync", *options.split(), f"{tree}/", f"HOST:{app}/new tree"
    )
    assert done.returncode == 0, done.stderr
    assert differences(tree, app / "new tree") == ""
    asked = [
        f["text"]
        for kind, f in place.recorded("rsync-mirror")
        if kind == EventKind.REQUEST_PERMITTED
    ]
    assert [text.split()[:2] for text in asked] == [["rsync", "--server"]]


def test_what_is_gone_here_is_removed_there_where_the_task_says_so(
    place: SshSetting, app: Path, tree: Path
) -> None:
    refused = run_through(
        place,
        "rsync-push",
        "rsync",
        "-a",
        "--safe-links",
        "--delete",
        f"{tree}/",
        f"HOST:{app}/sub/",
    )
    assert refused.returncode != 0
    assert "no rule of task rsync-push permits it" in refused.stderr
    assert place.host.run(f"cat {app}/sub/one") == "one\n"
    done = run_through(
        place, "rsync-mirror", "rsync", "-a", "--delete", f"{tree}/", f"HOST:{app}/sub"
    )
    assert done.returncode == 0, done.stderr
    assert differences(tree, app / "sub") == ""


def test_a_transfer_that_broke_off_is_resumed(
    place: SshSetting, app: Path, tree: Path, tmp_path: Path
) -> None:
    whole = (tree / "large").read_bytes()
    up = ("rsync", "-t", "--append-verify", tree / "large", f"HOST:{app}/large")
    assert run_through(place, "rsync-mirror", *up).returncode == 0
    place.host.run(f"truncate -s 2000000 {app}/large && touch -d @0 {app}/large")
    done = run_through(place, "rsync-mirror", *up, "--stats")
    assert done.returncode == 0, done.stderr
    assert "Literal data: 3,000,000 bytes" in done.stdout
    assert (app / "large").read_bytes() == whole
    (tmp_path / "large").write_bytes(whole[:4_000_000])
    done = run_through(
        place, "rsync-pull", "rsync", "--append", "--stats", f"HOST:{app}/large", tmp_path / "large"
    )
    assert done.returncode == 0, done.stderr
    assert "Literal data: 1,000,000 bytes" in done.stdout
    assert (tmp_path / "large").read_bytes() == whole


def test_files_are_moved_to_the_host_and_not_from_it(
    place: SshSetting, app: Path, tree: Path, tmp_path: Path
) -> None:
    moving = ("rsync", "-a", "--remove-source-files")
    done = run_through(place, "rsync-mirror", *moving, f"{tree}/d1", f"HOST:{app}/new")
    assert done.returncode == 0, done.stderr
    assert not list((tree / "d1").iterdir())
    done = run_through(place, "rsync-pull", *moving, f"HOST:{app}/sub/one", tmp_path / "one")
    assert done.returncode != 0
    assert "no rule of task rsync-pull permits it" in done.stderr
    assert place.host.run(f"cat {app}/sub/one") == "one\n"


def test_links_that_lead_out_stay_behind_where_the_rule_says_so(
    place: SshSetting, app: Path, tree: Path
) -> None:
    (tree / "out").symlink_to("/etc")
    (tree / "in").symlink_to("large")
    refused = run_through(place, "rsync-push", "rsync", "-a", f"{tree}/", f"HOST:{app}/x")
    assert refused.returncode != 0
    done = run_through(
        place, "rsync-push", "rsync", "-a", "--safe-links", f"{tree}/", f"HOST:{app}/x"
    )
    assert done.returncode == 0, done.stderr
    assert place.host.run(f"ls {app}/x | grep -E '^(in|out)$'") == "in\n"


def test_a_deny_below_the_folder_counts(place: SshSetting, app: Path, tree: Path) -> None:
    for path in (f"{app}/", f"{app}/kept/x"):
        done = run_through(place, "rsync-mirror", "rsync", "-a", f"{tree}/", f"HOST:{path}")
        assert done.returncode != 0
        assert "kept as it is" in done.stderr


@pytest.mark.parametrize("option", ["-s", "--backup-dir=/tmp", "--temp-dir=/tmp", "-M--fake-super"])
def test_what_the_rule_does_not_spell_out(
    place: SshSetting, app: Path, tree: Path, option: str
) -> None:
    mark = place.host.mark()
    done = run_through(place, "rsync-mirror", "rsync", "-ab", option, f"{tree}/", f"HOST:{app}/new")
    assert done.returncode != 0
    assert "no rule of task rsync-mirror permits it" in done.stderr
    assert place.host.commands_since(mark) == []
