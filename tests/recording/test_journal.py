"""One directory, one gateway: its lock, its chain, its own log."""

import os
from pathlib import Path

import pytest

from taskgate.model import limits
from taskgate.model.errors import BadConfig, NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.recording.heads import HeadsChain
from taskgate.recording.journal import Journal
from taskgate.recording.reader import list_recordings, read_recording, read_session
from taskgate.recording.recovery import recover
from taskgate.recording.verify import verify_dir

from .build import AGENT, KEY, OTHER_KEY, TUESDAY, Disk, FakeClock, info, journal, permitted, record

PUBLIC = KEY.public_key()


def login(at: float) -> Event:
    return Event(EventKind.LOGIN, at, {"identity": "local:ann"})


def test_two_gateways_do_not_share_a_directory(tmp_path: Path) -> None:
    first = journal(tmp_path)
    with pytest.raises(BadConfig, match="another gateway"):
        journal(tmp_path)
    first.close(TUESDAY)
    journal(tmp_path)


def test_another_key_does_not_go_on_with_the_chain(tmp_path: Path) -> None:
    journal(tmp_path).close(TUESDAY)
    with pytest.raises(BadConfig, match="not this gateway's"):
        journal(tmp_path, key=OTHER_KEY)
    # It left the lock free, and the chain as it was.
    journal(tmp_path).close(TUESDAY)
    assert verify_dir(tmp_path, PUBLIC).whole


def test_another_name_does_not_go_on_with_the_chain(tmp_path: Path) -> None:
    Journal(tmp_path, "process", KEY, FakeClock(), gateway="eu-1").close(TUESDAY)
    with pytest.raises(BadConfig):
        Journal(tmp_path, "process", KEY, FakeClock(), gateway="eu-2")


def test_a_gateway_with_a_name_verifies(tmp_path: Path) -> None:
    log = Journal(tmp_path, "process", KEY, FakeClock(), gateway="eu-1")
    record(log, "s1").seal(TUESDAY + 1)
    log.close(TUESDAY + 2)
    assert verify_dir(tmp_path, PUBLIC).whole
    assert next(read_session(tmp_path, "s1")).facts["gateway"] == "eu-1"


@pytest.mark.parametrize("name", ["", "../s1", "a/b", "s1.tgr", "s1\n", "-s", "s" * 200])
def test_a_session_with_an_unsafe_id_is_not_recorded(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotRecorded):
        journal(tmp_path).open(info(name))


def test_an_id_is_used_once(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    with pytest.raises(NotRecorded):
        log.open(info("s1"))
    recording.seal(TUESDAY + 1)
    with pytest.raises(NotRecorded, match="already"):
        log.open(info("s1"))


def test_nobody_else_may_read_the_records(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = journal(directory)
    record(log, "s1").seal(TUESDAY + 1)
    record(log, "s2")
    log.gateway_log.append(login(TUESDAY))
    for path in directory.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_agents_recording_names_whom_it_acts_for(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1", who=AGENT)
    facts = next(read_session(tmp_path, "s1")).facts
    assert (facts["identity"], facts["identity_kind"]) == ("local:bot-7", "agent")
    assert facts["acts_for"] == ["local:ann"]


def test_the_gateways_log_begins_anew_each_day(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for hour in range(0, 72, 6):
        log.gateway_log.append(login(TUESDAY + hour * 3600))
    log.close(TUESDAY + 72 * 3600)
    paths = list(list_recordings(tmp_path))
    assert [path.parent.relative_to(tmp_path).as_posix() for path in paths] == [
        f"2026/01/{day:02}" for day in (6, 7, 8, 9)
    ]
    logins = [e.at for path in paths for e in read_recording(path) if e.kind == "login"]
    assert logins == [TUESDAY + hour * 3600 for hour in range(0, 72, 6)]
    assert verify_dir(tmp_path, PUBLIC).whole


def test_the_gateways_log_is_written_at_once(tmp_path: Path) -> None:
    log = journal(tmp_path)
    assert log.gateway_log.append(login(TUESDAY)) == 2
    (path,) = (tmp_path / "open").glob("gateway-*.tgr")
    assert [entry.kind for entry in read_recording(path)] == ["recording.opened", "login"]


def test_two_starts_on_one_day_have_two_logs(tmp_path: Path) -> None:
    for _ in range(2):
        log = journal(tmp_path)
        log.gateway_log.append(login(TUESDAY))
        log.close(TUESDAY)
    assert len(list(list_recordings(tmp_path))) == 2


def test_the_gateways_log_goes_on_after_the_disk_is_well_again(tmp_path: Path) -> None:
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    log.gateway_log.append(login(TUESDAY))
    disk.short = 5
    for _ in range(3):
        with pytest.raises(NotRecorded):
            log.gateway_log.append(login(TUESDAY + 1))
    disk.short = None
    log.gateway_log.append(login(TUESDAY + 2))
    recover(log, TUESDAY + 3)
    log.close(TUESDAY + 4)
    assert verify_dir(tmp_path, PUBLIC).whole
    found = [
        e.at for p in list_recordings(tmp_path) for e in read_recording(p) if e.kind == "login"
    ]
    assert found == [TUESDAY, TUESDAY + 2]


@pytest.mark.cap("MAX_HEADS_FILE_BYTES")
def test_the_chain_goes_on_in_a_new_file_when_one_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HEADS_FILE_BYTES", 1000)
    for start in range(3):
        log = journal(tmp_path)
        for number in range(4):
            record(log, f"s{start}-{number}").seal(TUESDAY + 1)
        log.close(TUESDAY + 2)
    parts = sorted(path.name for path in tmp_path.glob("heads*"))
    assert len(parts) > 4
    assert "heads-000001.tgr" in parts
    report = verify_dir(tmp_path, PUBLIC)
    assert (report.whole, report.sealed) == (True, 12)
    (tmp_path / "heads-000002.tgr").unlink()
    assert not verify_dir(tmp_path, PUBLIC).whole


def test_a_crash_while_a_new_file_of_the_chain_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = journal(tmp_path)
    record(log, "s1").seal(TUESDAY)
    log.close(TUESDAY)
    (tmp_path / "heads.tgr").rename(tmp_path / "heads-000001.tgr")
    again = journal(tmp_path)
    record(again, "s2").seal(TUESDAY)
    again.close(TUESDAY)
    assert verify_dir(tmp_path, PUBLIC).whole
    # And once more, with the new file there, but empty.
    (tmp_path / "heads.tgr").rename(tmp_path / "heads-000002.tgr")
    (tmp_path / "heads.tgr").touch(0o600)
    third = journal(tmp_path)
    record(third, "s3").seal(TUESDAY)
    third.close(TUESDAY)
    report = verify_dir(tmp_path, PUBLIC)
    assert (report.whole, report.sealed) == (True, 3)


def test_a_chain_that_lost_a_line_in_its_middle_goes_on_and_the_loss_stays_visible(
    tmp_path: Path,
) -> None:
    log = journal(tmp_path)
    for number in range(3):
        record(log, f"s{number}").seal(TUESDAY)
    log.close(TUESDAY)
    heads = tmp_path / "heads.tgr"
    lines = heads.read_bytes().split(b"\n")
    del lines[2]
    heads.write_bytes(b"\n".join(lines))
    again = journal(tmp_path)
    record(again, "s9").seal(TUESDAY)
    again.close(TUESDAY)
    assert {(f.file, f.sequence) for f in verify_dir(tmp_path, PUBLIC).findings} >= {
        ("heads.tgr", 3)
    }


@pytest.mark.cap("MAX_MARKS_PER_ENTRY")
def test_marks_are_made_of_what_changed_and_in_bounded_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_MARKS_PER_ENTRY", 4)
    log = journal(tmp_path)
    recordings = [record(log, f"s{n}") for n in range(10)]
    before = log.anchor.number
    log.checkpoint(TUESDAY + 1)
    assert log.anchor.number == before + 3
    log.checkpoint(TUESDAY + 2)
    assert log.anchor.number == before + 3
    recordings[0].append(permitted(9))
    log.checkpoint(TUESDAY + 3)
    # Appended is not written.
    assert log.anchor.number == before + 3
    recordings[0].flush()
    log.checkpoint(TUESDAY + 4)
    assert log.anchor.number == before + 4
    assert verify_dir(tmp_path, PUBLIC).whole


def test_a_mark_fits_into_a_line(tmp_path: Path) -> None:
    log = journal(tmp_path)
    name = "s" * 95
    marks = [(f"{name}{n:05}", 10**12, "a" * 64) for n in range(limits.MAX_MARKS_PER_ENTRY)]
    size = log.heads.file.size
    log.heads.append("marks", TUESDAY, {"marks": marks})
    assert log.heads.file.size - size < limits.MAX_EVENT_BYTES


def test_close_seals_everything(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for number in range(5):
        record(log, f"s{number}")
    log.gateway_log.append(login(TUESDAY))
    log.close(TUESDAY + 1)
    report = verify_dir(tmp_path, PUBLIC)
    assert (report.whole, report.sealed, report.open) == (True, 6, 0)


def test_the_chain_of_another_directory_is_not_taken_on(tmp_path: Path) -> None:
    (tmp_path / "heads.tgr").write_bytes(b"not a chain\n")
    with pytest.raises(BadConfig):
        HeadsChain(tmp_path, "gate", KEY, TUESDAY)
