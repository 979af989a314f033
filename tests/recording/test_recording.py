"""Append, flush, settle, seal; and every way in which the disk says no."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from taskgate.model import limits
from taskgate.model.errors import NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.recording.journal import Journal
from taskgate.recording.reader import read_recording
from taskgate.recording.verify import verify_dir

from .build import (
    KEY,
    TUESDAY,
    Disk,
    FakeClock,
    finished,
    info,
    journal,
    permitted,
    record,
    sealed_file,
)


def open_file(directory: Path) -> Path:
    return directory / "open" / "s1.tgr"


def kinds(path: Path) -> list[str]:
    return [entry.kind for entry in read_recording(path)]


def test_nothing_is_written_before_flush_and_everything_in_one_write_after(tmp_path: Path) -> None:
    disk = Disk(os.write)
    recording = journal(tmp_path, write=disk.write).open(info("s1"))
    before, calls = open_file(tmp_path).read_bytes(), disk.calls
    assert [recording.append(permitted(n)) for n in (1, 2, 3)] == [2, 3, 4]
    assert open_file(tmp_path).read_bytes() == before
    recording.flush()
    assert disk.calls == calls + 1
    assert kinds(open_file(tmp_path)) == ["session.opened"] + 3 * ["request.permitted"]
    recording.flush()
    assert disk.calls == calls + 1


def test_what_waits_for_a_flush_is_bounded(tmp_path: Path) -> None:
    recording = journal(tmp_path).open(info("s1"))
    for number in range(100):
        recording.append(permitted(number, text="x" * 100_000))
    assert open_file(tmp_path).stat().st_size > 100 * 100_000 - 3 * limits.MAX_EVENT_BYTES


def test_the_first_event_tells_who_and_under_what(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1")
    first = next(iter(read_recording(open_file(tmp_path))))
    expected = {
        "recording": "s1",
        "grant": "g1",
        "identity": "local:ann",
        "groups": ["analysts", "emea"],
        "acts_for": [],
        "task": "sales-report",
        "resource": "warehouse",
        "protocol": "postgres",
        "reason": "monthly report",
        "client_address": "127.0.0.1:50000",
        "client_application": "psql",
    }
    assert expected.items() <= first.facts.items()


def test_a_sealed_recording_ends_in_counts_and_a_signed_head(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    head = recording.seal(TUESDAY + 60)
    assert (head.recording, head.count) == ("s1", 8)
    *_, last = read_recording(sealed_file(tmp_path, "s1"))
    assert last.kind == "recording.sealed"
    assert last.facts["events"] == 8
    assert last.hash.hex() == head.hash
    assert not open_file(tmp_path).exists()
    assert sealed_file(tmp_path, "s1").stat().st_mode & 0o777 == 0o400
    with pytest.raises(NotRecorded, match="sealed"):
        recording.append(permitted(9))
    assert recording.seal(TUESDAY + 61) == head


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_says_no_makes_the_recording_unusable(tmp_path: Path, code: int) -> None:
    disk = Disk(os.write)
    recording = record(journal(tmp_path, write=disk.write), "s1")
    before = open_file(tmp_path).read_bytes()
    recording.append(permitted(4))
    disk.fail = OSError(code, os.strerror(code))
    with pytest.raises(NotRecorded, match=os.strerror(code)):
        recording.flush()
    disk.fail = None
    # The disk may be well again: what was refused stays refused.
    for attempt in (lambda: recording.append(permitted(5)), recording.flush):
        with pytest.raises(NotRecorded):
            attempt()
    assert open_file(tmp_path).read_bytes() == before


@pytest.mark.parametrize("count", [0, 1, 7, 300, 500])
def test_a_short_write_is_taken_back(tmp_path: Path, count: int) -> None:
    disk = Disk(os.write)
    recording = record(journal(tmp_path, write=disk.write), "s1")
    before = open_file(tmp_path).read_bytes()
    recording.append(permitted(4))
    recording.append(permitted(5))
    disk.short = count
    with pytest.raises(NotRecorded, match="bytes could be recorded"):
        recording.flush()
    assert open_file(tmp_path).read_bytes() == before
    with pytest.raises(NotRecorded):
        recording.append(permitted(6))


def test_a_failed_recording_is_sealed_once_the_disk_is_well_and_says_what_was_lost(
    tmp_path: Path,
) -> None:
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    recording = record(log, "s1")
    recording.append(permitted(4))
    disk.short = 10
    with pytest.raises(NotRecorded):
        recording.flush()
    disk.short = None
    recording.seal(TUESDAY + 60)
    *_, last = read_recording(sealed_file(tmp_path, "s1"))
    assert last.facts["lost"] == 1
    assert "bytes could be recorded" in last.facts["failed"]
    log.close(TUESDAY + 61)
    assert verify_dir(tmp_path, KEY.public_key()).whole


def test_a_seal_that_cannot_be_written_is_left_to_recovery(tmp_path: Path) -> None:
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    recording = record(log, "s1")
    disk.short = 200
    for _ in range(2):
        with pytest.raises(NotRecorded):
            recording.seal(TUESDAY + 60)
    assert open_file(tmp_path).exists()
    assert not log.is_live("s1")


def test_an_event_that_cannot_be_encoded_leaves_the_recording_as_it_was(tmp_path: Path) -> None:
    recording = record(journal(tmp_path), "s1")
    for bad in (
        Event(EventKind.LOGIN, TUESDAY, {"x": object()}),
        Event(EventKind.LOGIN, float("nan"), {}),
        Event(EventKind.LOGIN, float("inf"), {}),
    ):
        with pytest.raises(NotRecorded):
            recording.append(bad)
    recording.append(permitted(4))
    recording.flush()
    assert len(kinds(open_file(tmp_path))) == 8


def test_descriptors_are_bounded_whatever_the_number_of_sessions(tmp_path: Path) -> None:
    log = journal(tmp_path, max_open_files=4)
    before = len(os.listdir("/proc/self/fd"))
    open_ones = [record(log, f"s{n}", requests=1) for n in range(40)]
    for turn in range(2, 5):
        for recording in open_ones:
            recording.append(permitted(turn))
            recording.flush()
        assert len(os.listdir("/proc/self/fd")) <= before + 5
    log.close(TUESDAY + 60)
    report = verify_dir(tmp_path, KEY.public_key())
    assert (report.whole, report.sealed) == (True, 40)


@pytest.mark.parametrize("how", ["replaced", "shortened", "lengthened", "removed", "linked"])
def test_a_file_that_somebody_else_touched_is_not_written_on(tmp_path: Path, how: str) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    path = open_file(tmp_path)
    content = path.read_bytes()
    if how == "replaced":
        path.rename(tmp_path / "elsewhere")
        path.write_bytes(content)
    elif how == "removed":
        path.unlink()
    elif how == "linked":
        os.link(path, tmp_path / "another-name")
    else:
        os.truncate(path, len(content) + (10 if how == "lengthened" else -10))
    assert log.checkpoint(TUESDAY + 30) == ("s1",)
    with pytest.raises(NotRecorded):
        recording.append(permitted(4))


def test_a_file_given_up_is_looked_at_when_it_is_opened_again(tmp_path: Path) -> None:
    log = journal(tmp_path, max_open_files=1)
    first = record(log, "s1")
    record(log, "s2")
    path = open_file(tmp_path)
    content = path.read_bytes()
    path.rename(tmp_path / "elsewhere")
    path.write_bytes(content)
    first.append(permitted(4))
    with pytest.raises(NotRecorded, match="somebody else"):
        first.flush()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    log = journal(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    open_file(tmp_path).symlink_to(victim)
    with pytest.raises(NotRecorded):
        log.open(info("s1"))
    assert victim.read_text() == "precious"


async def test_settle_with_durability_process_writes_and_waits_for_nothing(tmp_path: Path) -> None:
    recording = record(journal(tmp_path), "s1")
    recording.append(permitted(4))
    waiting = recording.settle()
    with pytest.raises(StopIteration):
        waiting.send(None)
    assert not recording.needs_settle
    assert len(kinds(open_file(tmp_path))) == 8


SMALL_DISK = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from tests.recording.build import journal, record, permitted
from taskgate.model.errors import NotRecorded
{before}
log = journal(Path(sys.argv[1]))
recording = record(log, "s1")
kept = 0
try:
    for number in range(100_000):
        recording.append(permitted(number, text="x" * 2000))
        recording.flush()
        kept = recording.count
except NotRecorded as error:
    print(kept, error)
"""
ROOT = Path(__file__).parents[2]


def run_child(before: str, directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK.format(before=before), directory, ROOT, ROOT / "src"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    count, _, message = done.stdout.partition(" ")
    return int(count), message


def assert_all_kept(directory: Path, count: int) -> None:
    assert [entry.number for entry in read_recording(open_file(directory))] == list(
        range(1, count + 1)
    )
    # Not one byte of the event that did not fit.
    assert open_file(directory).read_bytes().endswith(b'"}\n')


def test_a_file_size_limit_is_met_with_a_whole_last_line(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_001, 200_001))"
    count, message = run_child(limit, tmp_path)
    assert "could be recorded" in message or os.strerror(errno.EFBIG) in message
    assert 80 < count < 110
    assert_all_kept(tmp_path, count)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_001


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_keeps_every_whole_event(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=False
    )
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        count, message = run_child("", tmp_path)
        assert os.strerror(errno.ENOSPC) in message or "could be recorded" in message
        assert_all_kept(tmp_path, count)
        # Nobody can begin a session on a full disk either.
        log = journal(tmp_path)
        refused = 0
        for number in range(20):
            try:
                record(log, f"more{number}", requests=20)
            except NotRecorded:
                refused += 1
        assert refused > 10
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting read-only needs root")
def test_a_read_only_disk_refuses_new_sessions(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        log = journal(tmp_path)
        # A file that is open for writing keeps a disk from becoming read-only at once.
        log.close(TUESDAY)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(NotRecorded, match=os.strerror(errno.EROFS)):
            journal(tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_write_permission_refuses(tmp_path: Path) -> None:
    log = journal(tmp_path)
    (tmp_path / "open").chmod(0o500)
    try:
        with pytest.raises(NotRecorded):
            log.open(info("s1"))
    finally:
        (tmp_path / "open").chmod(0o700)


def test_dev_full_refuses(tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        log = journal(tmp_path)
        recording = record(log, "s1")
        os.dup2(full.fileno(), recording.file.fd)
        recording.append(permitted(4))
        with pytest.raises(NotRecorded, match=os.strerror(errno.ENOSPC)):
            recording.flush()


def test_a_session_opens_only_if_its_opening_is_in_the_chain(tmp_path: Path) -> None:
    disk = Disk(os.write, only="heads.tgr")
    log = journal(tmp_path, write=disk.write)
    disk.fail = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(NotRecorded, match="heads"):
        log.open(info("s1"))
    assert not open_file(tmp_path).exists()
    disk.fail, disk.short = None, 100
    with pytest.raises(NotRecorded, match="only 100 of"):
        log.open(info("s1"))
    disk.short = None
    opened = log.open(info("s1"))
    assert opened.append(finished(1)) == 2
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


@pytest.mark.cap("MAX_OPEN_RECORDING_FILES")
def test_so_many_files_of_recordings_are_kept_open(tmp_path: Path) -> None:
    def kept_open() -> int:
        return sum(
            one.readlink().name.startswith("s") and one.readlink().is_relative_to(tmp_path)
            for one in Path("/proc/self/fd").iterdir()
            if one.is_symlink()
        )

    most = limits.MAX_OPEN_RECORDING_FILES
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * most, "nothing could be seen"
    log = Journal(tmp_path, "process", KEY, FakeClock())
    open_ones = [log.open(info(f"s{n}")) for n in range(most)]
    assert kept_open() == most
    open_ones += [log.open(info(f"s{most + n}")) for n in range(20)]
    assert kept_open() == most
    for recording in open_ones:
        recording.append(permitted(1))
        recording.flush()
    assert kept_open() == most
    assert all(recording.count == 2 for recording in open_ones)


def test_ten_thousand_recordings_can_be_open(tmp_path: Path) -> None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft < 10_000 or limits.MAX_OPEN_RECORDING_FILES < 10_000
    log = journal(tmp_path, max_open_files=64)
    open_ones = [log.open(info(f"s{n}")) for n in range(10_000)]
    for recording in open_ones:
        recording.append(permitted(1))
        recording.flush()
    assert log.checkpoint(TUESDAY + 60) == ()
    assert all(recording.count == 2 for recording in open_ones)
