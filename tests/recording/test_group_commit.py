"""Durability `disk`: nobody goes on before the disk has it, and many wait for one round."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from taskgate.model.errors import NotRecorded
from taskgate.recording.recovery import recover
from taskgate.recording.verify import verify_dir
from tests.patience import PATIENCE_S

from .build import KEY, TUESDAY, info, journal, permitted


class SlowDisk:
    """Counts what is brought to it; `fail` makes it refuse, and `held` wait until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.fail: int = 0
        self.delay_s = 0.0
        self.held: threading.Event | None = None
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def fdatasync(self, fd: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{fd}")).name
        if self.delay_s:
            # In the thread, where it may block.
            import time

            time.sleep(self.delay_s)
        if self.held is not None:
            assert self.held.wait(PATIENCE_S)
        if self.fail:
            raise OSError(self.fail, os.strerror(self.fail))
        self.synced.append(name)
        self._real(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


async def test_settle_waits_for_the_recording_and_the_chain(tmp_path: Path, disk: SlowDisk) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    assert recording.needs_settle
    assert disk.synced == []
    await recording.settle()
    assert sorted(disk.synced) == ["heads.tgr", "s1.tgr"]
    await recording.settle()
    assert len(disk.synced) == 2
    recording.append(permitted(1))
    await recording.settle()
    assert disk.synced[2:] == ["s1.tgr"]
    log.close(TUESDAY)


async def test_many_sessions_share_a_round(tmp_path: Path, disk: SlowDisk) -> None:
    log = journal(tmp_path, durability="disk")
    recordings = [log.open(info(f"s{n}")) for n in range(20)]
    disk.delay_s = 0.002
    for number in range(1, 4):
        for recording in recordings:
            recording.append(permitted(number))
        await asyncio.gather(*(recording.settle() for recording in recordings))
    assert log._commit is not None
    assert log._commit.rounds == 3
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


async def test_one_who_comes_while_a_round_is_under_way_waits_for_the_next(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    await recording.settle()
    disk.synced.clear()
    disk.delay_s = 0.05
    recording.append(permitted(1))
    first = asyncio.create_task(recording.settle())
    await asyncio.sleep(0.01)
    # Written after the first round began: that round does not vouch for it.
    recording.append(permitted(2))
    await recording.settle()
    assert disk.synced == ["s1.tgr", "s1.tgr"]
    await first
    log.close(TUESDAY)


async def test_the_loop_goes_on_while_the_disk_is_waited_for(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    disk.held = threading.Event()
    waiting = asyncio.create_task(recording.settle())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done()
    disk.held.set()
    await waiting
    log.close(TUESDAY)


async def test_one_who_gives_up_does_not_end_the_round_for_others(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    first, second = log.open(info("s1")), log.open(info("s2"))
    disk.delay_s = 0.02
    one = asyncio.create_task(first.settle())
    two = asyncio.create_task(second.settle())
    await asyncio.sleep(0.005)
    one.cancel()
    await two
    assert "s2.tgr" in disk.synced
    log.close(TUESDAY)


async def test_a_disk_that_fails_makes_the_recording_unusable_for_good(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    await recording.settle()
    recording.append(permitted(1))
    disk.fail = errno.EIO
    with pytest.raises(NotRecorded, match="did not reach the disk"):
        await recording.settle()
    disk.fail = 0
    with pytest.raises(NotRecorded):
        recording.append(permitted(2))
    # After a failed fsync the kernel may call clean what never reached the disk.
    with pytest.raises(NotRecorded):
        recording.seal(TUESDAY)
    log.close(TUESDAY)


async def test_a_session_cut_while_it_waits_can_be_sealed(tmp_path: Path, disk: SlowDisk) -> None:
    log = journal(tmp_path, durability="disk", max_open_files=1)
    recording = log.open(info("s1"))
    disk.delay_s = 0.02
    waiting = asyncio.create_task(recording.settle())
    await asyncio.sleep(0.005)
    recording.seal(TUESDAY)
    await waiting
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


async def test_sealing_waits_for_the_disk_off_the_loop(tmp_path: Path, disk: SlowDisk) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    head = await recording.seal_and_settle(TUESDAY)
    assert head.count == 2
    assert set(disk.synced) == {"s1.tgr", "heads.tgr"}
    assert await recording.seal_and_settle(TUESDAY) == head
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


async def test_nothing_is_appended_behind_a_seal_that_is_still_on_its_way(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    disk.held = threading.Event()
    sealing = asyncio.create_task(recording.seal_and_settle(TUESDAY))
    await asyncio.sleep(0.005)
    assert not sealing.done()
    with pytest.raises(NotRecorded, match="sealed"):
        recording.append(permitted(1))
    disk.held.set()
    assert recording.seal(TUESDAY + 1) == await sealing
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


async def test_a_seal_that_did_not_reach_the_disk_is_left_to_recovery(
    tmp_path: Path, disk: SlowDisk
) -> None:
    log = journal(tmp_path, durability="disk")
    recording = log.open(info("s1"))
    await recording.settle()
    disk.fail = errno.EIO
    for _ in range(2):
        with pytest.raises(NotRecorded):
            await recording.seal_and_settle(TUESDAY)
    disk.fail = 0
    (report,) = recover(log, TUESDAY + 1)
    assert (report.events, report.damage) == (2, "")
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole


async def test_nothing_is_written_once_the_directory_was_given_up(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = log.open(info("s1"))
    anchor = log.anchor
    log.close(TUESDAY)
    with pytest.raises(NotRecorded):
        recording.append(permitted(1))
    with pytest.raises(NotRecorded):
        log.open(info("s2"))
    assert log.anchor.number == anchor.number + 1


async def test_a_descriptor_in_use_is_not_given_up(tmp_path: Path, disk: SlowDisk) -> None:
    log = journal(tmp_path, durability="disk", max_open_files=1)
    recordings = [log.open(info(f"s{n}")) for n in range(10)]
    disk.delay_s = 0.005
    waiting = [asyncio.create_task(recording.settle()) for recording in recordings]
    await asyncio.sleep(0.01)
    for recording in recordings:
        recording.append(permitted(1))
        recording.flush()
    await asyncio.gather(*waiting)
    assert {f"s{n}.tgr" for n in range(10)} <= set(disk.synced)
    log.close(TUESDAY)
    assert verify_dir(tmp_path, KEY.public_key()).whole
