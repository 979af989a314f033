"""Append-only files and their descriptors."""

import os
from pathlib import Path

import pytest

from taskgate.model.errors import NotRecorded
from taskgate.recording.files import FilePool, make_directory


def test_a_descriptor_that_another_thread_uses_is_closed_only_after_it(tmp_path: Path) -> None:
    pool = FilePool(4)
    file = pool.create(tmp_path / "a")
    fd = file.fd
    file.pin()
    file.pin()
    file.close()
    file.unpin()
    os.fstat(fd)
    file.unpin()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_pinned_file_is_not_the_one_given_up(tmp_path: Path) -> None:
    pool = FilePool(2)
    first = pool.create(tmp_path / "a")
    first.pin()
    others = [pool.create(tmp_path / name) for name in "bcd"]
    assert first.fd >= 0
    assert [file.fd >= 0 for file in others] == [False, False, True]
    assert pool.open_count == 2


def test_the_file_written_longest_ago_is_given_up(tmp_path: Path) -> None:
    pool = FilePool(2)
    first, second = pool.create(tmp_path / "a"), pool.create(tmp_path / "b")
    first.append(b"x")
    pool.create(tmp_path / "c")
    assert (first.fd >= 0, second.fd >= 0) == (True, False)
    second.append(b"y")
    assert (tmp_path / "b").read_bytes() == b"y"


def test_a_failed_take_back_is_made_up_for_before_the_next_write(tmp_path: Path) -> None:
    file = FilePool(2).create(tmp_path / "a")
    file.append(b"whole\n")
    os.write(file.fd, b"par")
    file.torn = True
    file.append(b"next\n")
    assert (tmp_path / "a").read_bytes() == b"whole\nnext\n"


def test_a_closed_file_is_not_written(tmp_path: Path) -> None:
    file = FilePool(2).create(tmp_path / "a")
    file.close()
    with pytest.raises(NotRecorded, match="closed"):
        file.append(b"x")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    pool = FilePool(2)
    pool.create(tmp_path / "a")
    with pytest.raises(NotRecorded):
        pool.create(tmp_path / "a")
    with pytest.raises(NotRecorded):
        pool.reopen(tmp_path / "b")


def test_a_directory_is_made_with_its_parents_for_its_owner_alone(tmp_path: Path) -> None:
    make_directory(tmp_path / "x" / "y")
    make_directory(tmp_path / "x" / "y")
    assert [(tmp_path / p).stat().st_mode & 0o777 for p in ("x", "x/y")] == [0o700, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(NotRecorded):
        make_directory(tmp_path / "file" / "z")
