"""Getting round the records afterwards. Each case: it is found, and by its name."""

import os
from pathlib import Path

import pytest
import zstandard

from taskgate.model.errors import NotFound, NotRecorded, Unreadable
from taskgate.model.event import Event, EventKind
from taskgate.recording.damage import Damage
from taskgate.recording.format import (
    Head,
    Trailer,
    encode_trailer,
    genesis,
    head_message,
    join_line,
    link,
    parse_trailer,
    split_line,
)
from taskgate.recording.heads import Anchor
from taskgate.recording.keys import key_id
from taskgate.recording.reader import read_recording, read_session
from taskgate.recording.recovery import recover
from taskgate.recording.verify import verify_dir
from tests.recording.build import KEY, OTHER_KEY, TUESDAY, info, journal, record, sealed_file

PUBLIC = KEY.public_key()


def damages(directory: Path) -> set[Damage]:
    return {finding.damage for finding in verify_dir(directory, PUBLIC).findings}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    log = journal(tmp_path)
    record(log, "s1").seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    path = sealed_file(tmp_path, "s1")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("named", ["the forger's key", "the gateway's key"])
def test_a_whole_recording_forged_and_signed_by_oneself_is_found(
    sealed: Path, tmp_path: Path, named: str
) -> None:
    lines = sealed.read_bytes().split(b"\n")[:-1]
    gateway = parse_trailer(lines[-1]).head.gateway
    previous, forged = genesis(gateway, "s1"), []
    for line in lines[:-1]:
        body = split_line(line)[0].replace(b"local:ann", b"local:bob")
        previous = link(previous, body)
        forged.append(join_line(body, previous))
    head = Head("s1", gateway, len(forged), previous.hex(), TUESDAY, TUESDAY + 60)
    signature = OTHER_KEY.sign(head_message(head)).hex()
    key = key_id((OTHER_KEY if named == "the forger's key" else KEY).public_key())
    sealed.write_bytes(b"".join(forged) + encode_trailer(Trailer(head, key, signature)))
    expected = Damage.FOREIGN_KEY if named == "the forger's key" else Damage.CHANGED
    assert expected in damages(tmp_path)


def test_an_older_seal_of_the_same_gateway_does_not_vouch_for_another_recording(
    tmp_path: Path,
) -> None:
    """A good trailer, from a recording of the same length, under another recording's events."""
    log = journal(tmp_path)
    for session in ("s1", "s2"):
        record(log, session).seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    first, second = sealed_file(tmp_path, "s1"), sealed_file(tmp_path, "s2")
    first.chmod(0o600)
    events = first.read_bytes().split(b"\n")[:-2]
    trailer = second.read_bytes().split(b"\n")[-2]
    first.write_bytes(b"\n".join([*events, trailer]) + b"\n")
    assert Damage.SWAPPED in damages(tmp_path)


def test_a_crash_does_not_make_a_forged_session_genuine(tmp_path: Path) -> None:
    """A recording that never was is laid among the open ones, for recovery to sign."""
    log = journal(tmp_path)
    gateway = log.gateway
    log.close(TUESDAY)
    previous, lines = genesis(gateway, "s9"), []
    for number, kind in ((1, "session.opened"), (2, "request.permitted")):
        body = b'{"n":%d,"at":1767690000.0,"kind":"%b","facts":{"identity":"local:bob"}}' % (
            number,
            kind.encode(),
        )
        previous = link(previous, body)
        lines.append(join_line(body, previous))
    (tmp_path / "open" / "s9.tgr").write_bytes(b"".join(lines))
    again = journal(tmp_path)
    (report,) = recover(again, TUESDAY + 60)
    assert "not in the chain of heads" in report.damage
    again.close(TUESDAY + 61)
    assert Damage.CHANGED in damages(tmp_path)


def test_events_added_to_a_dead_session_before_recovery_are_told_apart(tmp_path: Path) -> None:
    """Whoever can write the file while no gateway runs can go on with its chain. What was signed
    before the crash, and what only after it, is said."""
    log = journal(tmp_path)
    recording = record(log, "s1")
    log.checkpoint(TUESDAY + 30)
    last = recording.written_hash
    for one in log.live:
        one.file.close()
    log.heads.close()
    os.close(log._lock)
    body = b'{"n":8,"at":1767690100.0,"kind":"request.permitted","facts":{}}'
    with (tmp_path / "open" / "s1.tgr").open("ab") as file:
        file.write(join_line(body, link(last, body)))
    again = journal(tmp_path)
    recover(again, TUESDAY + 60)
    again.close(TUESDAY + 61)
    notes = verify_dir(tmp_path, PUBLIC).notes
    assert any("entries 8 to 8 were first signed by recovery" in note for note in notes)


def test_a_recording_removed_with_all_that_names_it_is_found_without_the_key(
    sealed: Path, tmp_path: Path
) -> None:
    sealed.unlink()
    heads = tmp_path / "heads.tgr"
    kept = [line for line in heads.read_bytes().split(b"\n") if b"s1" not in line]
    heads.write_bytes(b"\n".join(kept))
    # One entry is left, the chain's first. Its end is gone: only an anchor can tell.
    number = 3

    report = verify_dir(tmp_path, PUBLIC, [Anchor(number, "00" * 32)])
    assert [finding.damage for finding in report.findings] == [Damage.TRUNCATED]


def test_a_pipe_in_a_recordings_place_keeps_nobody_waiting(sealed: Path, tmp_path: Path) -> None:
    sealed.unlink()
    os.mkfifo(sealed)
    assert damages(tmp_path) != set()
    with pytest.raises(Unreadable):
        list(read_recording(sealed))


@pytest.mark.parametrize(
    "asked",
    [
        "../2026/01/06/s1",
        "../../etc/passwd",
        "..",
        "/etc/passwd",
        "s1/../s1",
        "s1\x00",
        "open/s1",
        "*",
        "s?",
    ],
)
def test_a_recordings_id_opens_no_other_file(sealed: Path, tmp_path: Path, asked: str) -> None:
    assert sealed.exists()
    with pytest.raises(NotFound):
        list(read_session(tmp_path, asked))
    log = journal(tmp_path)

    with pytest.raises(NotRecorded):
        log.open(info(asked))


def test_evidence_named_outside_the_audit_directory_is_not_looked_at(tmp_path: Path) -> None:
    """A recovered event that points its evidence at some other file of the machine."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    directory = tmp_path / "audit"
    log = journal(directory)
    recording = record(log, "s1")

    facts = {"evidence": "../secret", "cut_sha256": "0" * 64, "events": 7, "signed": 7}
    recording.append(Event(EventKind.RECORDING_RECOVERED, TUESDAY, facts))
    recording.seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    assert damages(directory) == {Damage.MISSING}


def test_a_packed_recording_that_unpacks_without_end_is_not_followed(
    sealed: Path, tmp_path: Path
) -> None:

    packed = zstandard.ZstdCompressor(level=3).compress(b"\n" * 3_000_000)
    sealed.with_name("s8.tgr.zst").write_bytes(packed)
    report = verify_dir(tmp_path, PUBLIC)
    assert not report.whole
    # The report is bounded, and so was the time.
    assert len(report.findings) <= 10_001
