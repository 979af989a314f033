"""Reading back, in order and in bounded memory."""

import tracemalloc
from pathlib import Path

import pytest

from taskgate.model.errors import NotFound, Unreadable
from taskgate.recording import layout
from taskgate.recording.reader import Follower, list_recordings, read_recording, read_session

from .build import TUESDAY, journal, permitted, record, sealed_file


def test_a_session_reads_alike_open_sealed_and_packed(tmp_path: Path) -> None:
    log = journal(tmp_path, packed=True)
    recording = record(log, "s1")
    while_open = [(e.number, e.kind, e.facts) for e in read_session(tmp_path, "s1")]
    recording.seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    assert sealed_file(tmp_path, "s1").suffix == ".zst"
    sealed = [(e.number, e.kind, e.facts) for e in read_session(tmp_path, "s1")]
    assert sealed[:-1] == while_open


def test_one_that_is_sealed_and_packed_while_it_is_looked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = journal(tmp_path, packed=True)
    record(log, "s1").seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    packed = sealed_file(tmp_path, "s1")
    looks = iter((layout.open_path(tmp_path, "s1"), packed.with_name("s1.tgr"), packed))
    monkeypatch.setattr(layout, "find_recording", lambda *_: next(looks))
    assert len(list(read_session(tmp_path, "s1"))) == 8


def test_an_unfinished_last_line_is_left_out(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1")
    with (tmp_path / "open" / "s1.tgr").open("ab") as file:
        file.write(b'{"n":8,')
    assert len(list(read_session(tmp_path, "s1"))) == 7


@pytest.mark.parametrize("name", ["s2", "../s1", "open/s1", "", ".", "s1.tgr", "\x00"])
def test_what_is_no_recording_is_not_found(tmp_path: Path, name: str) -> None:
    record(journal(tmp_path), "s1")
    with pytest.raises(NotFound):
        list(read_session(tmp_path, name))


@pytest.mark.parametrize(("old", "new"), [(b"id = 2", b"id = 3"), (b'"n":4', b'"n":5')])
def test_a_changed_entry_ends_the_reading(tmp_path: Path, old: bytes, new: bytes) -> None:
    record(journal(tmp_path), "s1")
    path = tmp_path / "open" / "s1.tgr"
    path.write_bytes(path.read_bytes().replace(old, new))
    entries = read_recording(path)
    assert [next(entries).number for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Unreadable, match="entry 4"):
        next(entries)


def test_a_recording_under_another_name_is_not_read(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1")
    (tmp_path / "open" / "s1.tgr").rename(tmp_path / "open" / "s2.tgr")
    with pytest.raises(Unreadable):
        list(read_session(tmp_path, "s2"))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    for number in range(300):
        recording.append(permitted(number, text="x" * 50_000))
    recording.seal(TUESDAY + 60)
    path = sealed_file(tmp_path, "s1")
    assert path.stat().st_size > 15_000_000
    tracemalloc.start()
    count = sum(1 for _ in read_recording(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 308
    assert peak < 2_000_000


def test_every_recording_is_listed_once(tmp_path: Path) -> None:
    log = journal(tmp_path)
    record(log, "s1").seal(TUESDAY + 60)
    record(log, "s2")
    # As in the moment of packing.
    (tmp_path / "2026/01/06/s1.tgr.zst").touch()
    names = [path.relative_to(tmp_path).as_posix() for path in list_recordings(tmp_path)]
    assert names == ["2026/01/06/s1.tgr", "open/s2.tgr"]


def test_a_recording_is_followed_while_it_is_written(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1", 1)
    follower = Follower(recording.file.path)
    assert [entry.number for entry in follower.read()] == [1, 2, 3]
    recording.append(permitted(2))
    assert follower.read() == []
    recording.flush()
    assert [entry.number for entry in follower.read()] == [4]
    # Sealing moves the file.
    recording.seal(TUESDAY)
    assert [entry.kind for entry in follower.read()] == ["recording.sealed"]
    assert follower.sealed
    follower.close()
    with pytest.raises(NotFound):
        Follower(tmp_path / "none.tgr")


def test_a_changed_entry_ends_the_following(tmp_path: Path) -> None:
    record(journal(tmp_path), "s1")
    path = tmp_path / "open" / "s1.tgr"
    path.write_bytes(path.read_bytes().replace(b"id = 2", b"id = 3"))
    follower = Follower(path)
    with pytest.raises(Unreadable, match="entry 4"):
        follower.read()
    follower.close()
