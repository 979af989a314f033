"""What a killed gateway leaves is made whole again, and nothing that was settled is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskgate.model.errors import NotRecorded
from taskgate.recording.damage import Damage
from taskgate.recording.journal import Journal
from taskgate.recording.reader import read_recording, read_session
from taskgate.recording.recovery import Recovered, recover
from taskgate.recording.verify import verify_dir
from tests.patience import PATIENCE_S

from .build import KEY, TUESDAY, Disk, journal, permitted, record, sealed_file

PUBLIC = KEY.public_key()
ROOT = Path(__file__).parents[2]

CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from tests.recording.build import journal, record, permitted
log = journal(Path(sys.argv[1]), durability=sys.argv[2])
sessions = [record(log, f"s{n}") for n in range(4)]
async def one(recording, name):
    for number in range(1_000_000):
        recording.append(permitted(number, text="x" * (number * 37 % 3000)))
        await recording.settle()
        # Only now may anything be sent upstream.
        os.write(1, f"{name} {recording.count}\\n".encode())
        if number % 50 == 0:
            log.checkpoint(1.0 + number)
        await asyncio.sleep(0)
async def main():
    await asyncio.gather(*(one(r, f"s{n}") for n, r in enumerate(sessions)))
asyncio.run(main())
"""


def abandoned(directory: Path, session: str = "s1", requests: int = 3) -> Path:
    """A recording as a killed gateway leaves it."""
    log = journal(directory)
    record(log, session, requests)
    kill(log)
    return directory / "open" / f"{session}.tgr"


def kill(log: Journal) -> None:
    """As if the process had been killed: nothing is sealed, the kernel closes what is open."""
    for recording in log.live:
        recording.file.close()
    log.heads.close()
    os.close(log._lock)


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("after_s", [0.3, 0.45, 0.6])
def test_nothing_settled_is_lost_when_the_gateway_is_killed(
    tmp_path: Path, durability: str, after_s: float
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path, durability, ROOT, ROOT / "src"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What is read ahead here would be lost to `communicate`.
        bufsize=0,
    )
    assert child.stdout is not None
    with child:
        try:
            first = b"".join(child.stdout.readline() for _ in range(60))
            time.sleep(after_s)
        finally:
            child.send_signal(signal.SIGKILL)
        out, error = child.communicate(timeout=PATIENCE_S)
    assert first, error
    settled: dict[str, int] = {}
    for session, count in re.findall(rb"^(s\d) (\d+)$", first + out, re.MULTILINE):
        settled[session.decode()] = int(count)
    assert sum(settled.values()) > 50
    log = journal(tmp_path)
    reports = {one.recording: one for one in recover(log, TUESDAY + 3600)}
    log.close(TUESDAY + 3601)
    for session, count in settled.items():
        assert reports[session].events >= count
        assert reports[session].damage == ""
        numbers = [entry.number for entry in read_session(tmp_path, session)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= count
    report = verify_dir(tmp_path, PUBLIC)
    assert report.whole, report.findings[:3]
    assert report.open == 0


@pytest.mark.parametrize("torn", [b"{", b'{"n":8,"at":1.0,"ki', b"\x00" * 100, b'"}\n', b"\xff\n"])
def test_a_torn_end_is_cut_and_kept_as_evidence(tmp_path: Path, torn: bytes) -> None:
    path = abandoned(tmp_path)
    with path.open("ab") as file:
        file.write(torn)
    log = journal(tmp_path)
    evidence = "2026/01/06/s1.torn"
    assert recover(log, TUESDAY + 60) == (Recovered("s1", 7, len(torn), evidence, ""),)
    assert (tmp_path / evidence).read_bytes() == torn
    entries = list(read_recording(sealed_file(tmp_path, "s1")))
    assert [entry.kind for entry in entries[-2:]] == ["recording.recovered", "recording.sealed"]
    assert entries[-2].facts["cut_bytes"] == len(torn)
    log.close(TUESDAY + 61)
    assert verify_dir(tmp_path, PUBLIC).whole


def test_changed_or_missing_evidence_is_found(tmp_path: Path) -> None:
    with abandoned(tmp_path).open("ab") as file:
        file.write(b"{torn")
    recover(journal(tmp_path), TUESDAY + 60)
    evidence = tmp_path / "2026/01/06/s1.torn"
    evidence.write_bytes(b"{tore")
    assert [f.damage for f in verify_dir(tmp_path, PUBLIC).findings] == [Damage.CHANGED]
    evidence.unlink()
    assert [f.damage for f in verify_dir(tmp_path, PUBLIC).findings] == [Damage.MISSING]


def test_a_cut_at_every_byte_keeps_every_whole_event(tmp_path: Path) -> None:
    whole = abandoned(tmp_path / "made", requests=1).read_bytes()
    heads = (tmp_path / "made" / "heads.tgr").read_bytes()
    for size in range(0, len(whole), 7):
        directory = tmp_path / f"cut{size}"
        (directory / "open").mkdir(parents=True)
        (directory / "heads.tgr").write_bytes(heads)
        (directory / "open" / "s1.tgr").write_bytes(whole[:size])
        log = journal(directory)
        (report,) = recover(log, TUESDAY + 60)
        assert report.events == whole[:size].count(b"\n")
        log.close(TUESDAY + 61)
        result = verify_dir(directory, PUBLIC)
        assert result.whole, (size, result.findings)
        assert len(list(read_session(directory, "s1"))) == report.events + 2


def test_a_file_without_a_single_event(tmp_path: Path) -> None:
    """The crash came between the file and its first event."""
    log = journal(tmp_path)
    (tmp_path / "open" / "s1.tgr").touch(0o600)
    (report,) = recover(log, TUESDAY + 60)
    assert (report.recording, report.events) == ("s1", 0)
    log.close(TUESDAY + 61)
    result = verify_dir(tmp_path, PUBLIC)
    assert result.whole
    assert "recovery" in result.notes[0]


def test_recovery_does_not_launder_a_changed_recording(tmp_path: Path) -> None:
    path = abandoned(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"id = 2", b"id = 7"))
    (report,) = recover(journal(tmp_path), TUESDAY + 60)
    assert report.events == 3
    assert "whole entries follow a bad one" in report.damage
    findings = verify_dir(tmp_path, PUBLIC).findings
    assert [(f.sequence, f.damage) for f in findings] == [(4, Damage.CHANGED)]
    # Whatever was there is still there.
    assert b"id = 7" in (tmp_path / "2026/01/06/s1.torn").read_bytes()


def test_recovery_does_not_launder_a_cut_below_a_mark(tmp_path: Path) -> None:
    log = journal(tmp_path)
    record(log, "s1")
    log.checkpoint(TUESDAY + 30)
    kill(log)
    path = tmp_path / "open" / "s1.tgr"
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().split(b"\n")[:4]))
    (report,) = recover(journal(tmp_path), TUESDAY + 60)
    assert "signed of its first 7 entries" in report.damage
    damages = {f.damage for f in verify_dir(tmp_path, PUBLIC).findings}
    assert damages >= {Damage.CHANGED}


def test_recovery_does_not_launder_a_missing_recording(tmp_path: Path) -> None:
    abandoned(tmp_path).unlink()
    log = journal(tmp_path)
    (report,) = recover(log, TUESDAY + 60)
    assert "missing" in report.damage
    log.close(TUESDAY + 61)
    assert [f.damage for f in verify_dir(tmp_path, PUBLIC).findings] == [Damage.MISSING]


@pytest.mark.parametrize("step", ["trailer", "heads"])
def test_a_crash_in_the_middle_of_sealing(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(log, "note_sealed" if step == "trailer" else "put_away", die)
    with pytest.raises(KeyboardInterrupt):
        recording.seal(TUESDAY + 60)
    kill(log)
    assert not verify_dir(tmp_path, PUBLIC).findings
    again = journal(tmp_path)
    assert recover(again, TUESDAY + 70) == (Recovered("s1", 8, 0, "", ""),)
    again.close(TUESDAY + 71)
    report = verify_dir(tmp_path, PUBLIC)
    assert (report.whole, report.sealed, report.entries) == (True, 1, 8)


def test_a_seal_that_the_chain_forgot_with_the_power_is_entered_again(tmp_path: Path) -> None:
    log = journal(tmp_path)
    record(log, "s1").seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    heads = tmp_path / "heads.tgr"
    heads.write_bytes(b"".join(line + b"\n" for line in heads.read_bytes().split(b"\n")[:2]))
    assert not verify_dir(tmp_path, PUBLIC).whole
    again = journal(tmp_path)
    assert recover(again, TUESDAY + 70) == (Recovered("s1", 8, 0, "", ""),)
    again.close(TUESDAY + 71)
    assert verify_dir(tmp_path, PUBLIC).whole


def test_recovery_leaves_alone_what_is_under_way(tmp_path: Path) -> None:
    log = journal(tmp_path)
    recording = record(log, "s1")
    assert recover(log, TUESDAY + 60) == ()
    recording.append(permitted(4))
    recording.seal(TUESDAY + 61)
    assert verify_dir(tmp_path, PUBLIC).whole


def test_recovery_later_in_the_same_run_seals_what_the_disk_refused(tmp_path: Path) -> None:
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    recording = record(log, "s1")
    disk.short = 100
    with pytest.raises(NotRecorded):
        recording.seal(TUESDAY + 60)
    disk.short = None
    (report,) = recover(log, TUESDAY + 70)
    assert report.events == 7
    log.close(TUESDAY + 71)
    assert verify_dir(tmp_path, PUBLIC).whole


def test_recovery_on_a_full_disk_says_so(tmp_path: Path) -> None:
    abandoned(tmp_path)
    disk = Disk(os.write)
    log = journal(tmp_path, write=disk.write)
    disk.fail = OSError(28, os.strerror(28))
    with pytest.raises(NotRecorded):
        recover(log, TUESDAY + 60)
    disk.fail = None
    (report,) = recover(log, TUESDAY + 61)
    assert (report.events, report.damage) == (7, "")


@pytest.mark.parametrize("cut", range(1, 200, 13))
def test_a_torn_end_of_the_chain_of_heads_is_cut_and_noted(tmp_path: Path, cut: int) -> None:
    log = journal(tmp_path)
    record(log, "s1")
    kill(log)
    heads = tmp_path / "heads.tgr"
    whole = heads.read_bytes()
    heads.write_bytes(whole + whole[:cut])
    again = journal(tmp_path)
    recover(again, TUESDAY + 60)
    again.close(TUESDAY + 61)
    report = verify_dir(tmp_path, PUBLIC)
    assert report.whole
    assert "unreadable at a start" in report.notes[0]


def test_leftovers_of_packing_are_removed(tmp_path: Path) -> None:
    log = journal(tmp_path)
    part = tmp_path / "open" / "s1.tgr.zst.part"
    part.write_bytes(b"half")
    recover(log, TUESDAY)
    assert not part.exists()


def test_evidence_is_never_overwritten(tmp_path: Path) -> None:
    with abandoned(tmp_path).open("ab") as file:
        file.write(b"{torn")
    evidence = tmp_path / "2026/01/06/s1.torn"
    evidence.parent.mkdir(parents=True)
    evidence.write_bytes(b"from a recovery that was cut short")
    (report,) = recover(journal(tmp_path), TUESDAY + 60)
    assert report.evidence == "2026/01/06/s1-2.torn"
    assert evidence.read_bytes() == b"from a recovery that was cut short"
