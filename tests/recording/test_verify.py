"""Every way to falsify the records is found, and called by its name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from taskgate.model.event import Event, EventKind
from taskgate.recording.damage import Damage, Finding, Report, render_report
from taskgate.recording.format import genesis, join_line, link, split_line
from taskgate.recording.heads import Anchor
from taskgate.recording.heads_check import HeadsCheck
from taskgate.recording.recording import Recording
from taskgate.recording.verify import verify_dir, verify_file

from .build import KEY, OTHER_KEY, TUESDAY, journal, record, sealed_file

PUBLIC = KEY.public_key()


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Two sealed recordings of 8 entries, and the gateway's own log."""
    directory = tmp_path / "audit"
    log = journal(directory)
    for session in ("s1", "s2"):
        record(log, session).seal(TUESDAY + 60)
    log.gateway_log.append(Event(EventKind.LOGIN, TUESDAY + 61, {"identity": "local:ann"}))
    log.close(TUESDAY + 62)
    for path in directory.rglob("*.tgr"):
        path.chmod(0o600)
    return directory


def found(directory: Path) -> list[tuple[str, int | None, Damage]]:
    return [(f.file, f.sequence, f.damage) for f in verify_dir(directory, PUBLIC).findings]


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(line + b"\n" for line in change(lines)))


S1 = "2026/01/06/s1.tgr"


def test_what_was_written_is_whole(audit: Path) -> None:
    report = verify_dir(audit, PUBLIC)
    assert report.whole
    assert (report.recordings, report.sealed, report.open) == (3, 3, 0)
    assert report.entries == 8 + 8 + 3
    assert "intact" in render_report(report)
    assert verify_file(sealed_file(audit, "s1"), PUBLIC).whole


def test_every_flipped_bit_of_a_recording_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = journal(directory)
    record(log, "s1", requests=1).seal(TUESDAY + 60)
    path = sealed_file(directory, "s1")
    path.chmod(0o600)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        report = verify_file(path, PUBLIC)
        assert not report.whole, f"byte {place} of {whole[:place][-40:]!r}"
        line = whole[:place].count(b"\n") + 1
        if line <= 4 and whole[place : place + 1] != b"\n":
            named = {f.sequence for f in report.findings}
            assert line in named, (place, report.findings)


def test_every_flipped_bit_of_the_chain_of_heads_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = journal(directory)
    record(log, "s1", requests=1).seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    path = directory / "heads.tgr"
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        report = verify_dir(directory, PUBLIC)
        # An unfinished last line is what a crash leaves: the sealing it told of is missed then.
        assert not report.whole, f"byte {place} of {whole[:place][-40:]!r}"


@pytest.mark.parametrize("place", range(8))
def test_a_dropped_entry(audit: Path, place: int) -> None:
    edit(audit / S1, lambda lines: lines[:place] + lines[place + 1 :])
    last = place == 7
    assert (S1, place + 1, Damage.TRUNCATED if last else Damage.DROPPED) in found(audit)


@pytest.mark.parametrize("place", range(7))
def test_two_entries_changed_places(audit: Path, place: int) -> None:
    def swap(lines: list[bytes]) -> list[bytes]:
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
        return lines

    edit(audit / S1, swap)
    assert found(audit) == [(S1, place + 1, Damage.REORDERED)]


@pytest.mark.parametrize("place", range(8))
def test_a_doubled_entry(audit: Path, place: int) -> None:
    edit(audit / S1, lambda lines: lines[: place + 1] + lines[place:])
    assert found(audit) == [(S1, place + 1, Damage.DUPLICATED)]


@pytest.mark.parametrize("place", range(8))
def test_an_entry_that_never_was(audit: Path, place: int) -> None:
    """With a hash that fits, so that only the place is wrong."""

    def insert(lines: list[bytes]) -> list[bytes]:
        before = split_line(lines[place])[1]
        body = b'{"n":%d,"at":1.0,"kind":"login","facts":{}}' % (place + 2)
        return [*lines[: place + 1], join_line(body, link(before, body))[:-1], *lines[place + 1 :]]

    edit(audit / S1, insert)
    assert any(damage in (Damage.INSERTED, Damage.CHANGED) for _, _, damage in found(audit))


@pytest.mark.parametrize("place", range(8))
def test_a_changed_entry(audit: Path, place: int) -> None:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[place] = lines[place].replace(b'"at":1', b'"at":2', 1)
        return lines

    edit(audit / S1, change)
    assert found(audit) == [(S1, place + 1, Damage.CHANGED)]


def rehash(lines: list[bytes], recording: str = "s1", gateway: str = "") -> list[bytes]:
    """What somebody without the key can do: make the whole chain anew."""
    previous = genesis(gateway or key_gateway(lines), recording)
    fresh: list[bytes] = []
    for line in lines:
        if line.startswith(b'{"head"'):
            fresh.append(line)
            continue
        body = split_line(line)[0]
        previous = link(previous, body)
        fresh.append(join_line(body, previous)[:-1])
    return fresh


def key_gateway(lines: list[bytes]) -> str:
    start = lines[0].index(b'"gateway":"') + len(b'"gateway":"')
    return lines[0][start : lines[0].index(b'"', start)].decode()


def test_a_chain_made_anew_over_a_changed_entry(audit: Path) -> None:
    def forge(lines: list[bytes]) -> list[bytes]:
        return rehash([line.replace(b"customers", b"countries") for line in lines])

    edit(audit / S1, forge)
    assert found(audit) == [(S1, None, Damage.CHANGED)]


def test_a_chain_made_anew_over_fewer_entries(audit: Path) -> None:
    edit(audit / S1, lambda lines: rehash([*lines[:5], lines[-1]]))
    assert (S1, 6, Damage.TRUNCATED) in found(audit)


@pytest.mark.parametrize("kept", range(8))
def test_a_cut_end(audit: Path, kept: int) -> None:
    edit(audit / S1, lambda lines: lines[:kept])
    assert (S1, kept + 1, Damage.TRUNCATED) in found(audit)


def test_a_lost_trailer(audit: Path) -> None:
    edit(audit / S1, lambda lines: lines[:-1])
    assert found(audit) == [(S1, 9, Damage.TRUNCATED)]


def test_something_behind_the_trailer(audit: Path) -> None:
    edit(audit / S1, lambda lines: [*lines, lines[-1]])
    assert (S1, None, Damage.INSERTED) in found(audit)


def test_a_missing_recording(audit: Path) -> None:
    (audit / S1).unlink()
    assert found(audit) == [(S1, None, Damage.MISSING)]


def test_a_recording_missing_before_it_was_sealed(tmp_path: Path) -> None:
    log = journal(tmp_path)
    record(log, "s1")
    (tmp_path / "open" / "s1.tgr").unlink()
    assert found(tmp_path) == [(S1, None, Damage.MISSING)]


def test_two_recordings_changed_names(audit: Path) -> None:
    first, second = audit / S1, audit / "2026/01/06/s2.tgr"
    first.rename(audit / "x")
    second.rename(first)
    (audit / "x").rename(second)
    assert (S1, None, Damage.SWAPPED) in found(audit)
    assert ("2026/01/06/s2.tgr", None, Damage.SWAPPED) in found(audit)


def test_a_copy_under_another_name(audit: Path) -> None:
    shutil.copy(audit / S1, audit / "2026/01/06/s3.tgr")
    findings = found(audit)
    assert ("2026/01/06/s3.tgr", None, Damage.SWAPPED) in findings
    assert ("2026/01/06/s3.tgr", None, Damage.UNLISTED) in findings


def test_a_recording_on_another_day(audit: Path) -> None:
    (audit / "2026/01/07").mkdir()
    (audit / S1).rename(audit / "2026/01/07/s1.tgr")
    assert found(audit) == [("2026/01/07/s1.tgr", None, Damage.SWAPPED)]


def test_a_recording_that_the_chain_does_not_know(audit: Path, tmp_path: Path) -> None:
    other = journal(tmp_path / "other")
    record(other, "s9").seal(TUESDAY + 60)
    shutil.copy(sealed_file(tmp_path / "other", "s9"), audit / "2026/01/06/s9.tgr")
    assert found(audit) == [("2026/01/06/s9.tgr", None, Damage.UNLISTED)]


def test_a_recording_signed_by_another_key(audit: Path, tmp_path: Path) -> None:
    other = journal(tmp_path / "other", key=OTHER_KEY)
    record(other, "s1").seal(TUESDAY + 60)
    (audit / S1).unlink()
    shutil.copy(sealed_file(tmp_path / "other", "s1"), audit / S1)
    assert found(audit) == [(S1, None, Damage.FOREIGN_KEY)]


def test_everything_signed_by_another_key(tmp_path: Path) -> None:
    other = journal(tmp_path, key=OTHER_KEY)
    record(other, "s1").seal(TUESDAY + 60)
    other.close(TUESDAY + 61)
    damages = {damage for _, _, damage in found(tmp_path)}
    assert Damage.FOREIGN_KEY in damages
    assert (S1, None, Damage.FOREIGN_KEY) in found(tmp_path)


@pytest.mark.parametrize("place", range(7))
def test_a_dropped_head(audit: Path, place: int) -> None:
    heads = audit / "heads.tgr"
    count = heads.read_bytes().count(b"\n")
    assert count == 7
    edit(heads, lambda lines: lines[:place] + lines[place + 1 :])
    findings = found(audit)
    if place < count - 1:
        assert ("heads.tgr", place + 1, Damage.DROPPED) in findings
    else:
        # The last one told of a sealing, and the sealed file is there.
        assert ("heads.tgr", count, Damage.TRUNCATED) in findings


@pytest.mark.parametrize("place", range(6))
def test_heads_changed_places(audit: Path, place: int) -> None:
    def swap(lines: list[bytes]) -> list[bytes]:
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
        return lines

    edit(audit / "heads.tgr", swap)
    assert ("heads.tgr", place + 1, Damage.REORDERED) in found(audit)


def test_heads_made_anew_without_the_key(audit: Path) -> None:
    """Somebody drops a recording, and makes the chain's hashes fit again."""

    def forge(lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if b'"recording":"s1"' not in line]
        bodies = [split_line(line)[0] for line in kept]
        fresh, previous = [], genesis(key_gateway(lines), "/heads")
        for number, body in enumerate(bodies, start=1):
            renumbered = b'{"n":%d,' % number + body.partition(b",")[2]
            previous = link(previous, renumbered)
            fresh.append(join_line(renumbered, previous)[:-1])
        return fresh

    (audit / S1).unlink()
    edit(audit / "heads.tgr", forge)
    assert {damage for file, _, damage in found(audit) if file == "heads.tgr"} >= {
        Damage.FOREIGN_KEY
    }


def test_a_missing_chain_of_heads(audit: Path) -> None:
    (audit / "heads.tgr").unlink()
    findings = found(audit)
    assert ("heads.tgr", None, Damage.MISSING) in findings
    assert (S1, None, Damage.UNLISTED) in findings


def test_the_end_of_the_chain_dropped_with_its_recording_shows_in_what_was_opened_later(
    audit: Path,
) -> None:
    """The gateway's log was opened after both sessions were sealed, and says so."""
    edit(audit / "heads.tgr", lambda lines: lines[:3])
    (audit / "2026/01/06/s2.tgr").unlink()
    assert ("heads.tgr", 4, Damage.TRUNCATED) in found(audit)


def test_an_anchor_shows_a_dropped_end(audit: Path) -> None:
    """The newest entries and all that they name are gone: only a note kept elsewhere tells."""
    number, hash_ = verify_dir(audit, PUBLIC).anchor
    edit(audit / "heads.tgr", lambda lines: lines[:3])
    for path in audit.glob("2026/*/*/*.tgr"):
        if path.name != "s1.tgr":
            path.unlink()
    assert verify_dir(audit, PUBLIC).whole
    report = verify_dir(audit, PUBLIC, [Anchor(number, hash_)])
    assert [(f.sequence, f.damage) for f in report.findings] == [(number, Damage.TRUNCATED)]


def test_a_good_anchor_is_found_and_a_wrong_one_is_not(audit: Path) -> None:
    first = split_line((audit / "heads.tgr").read_bytes().split(b"\n")[0])[1].hex()
    assert verify_dir(audit, PUBLIC, [Anchor(1, first)]).whole
    report = verify_dir(audit, PUBLIC, [Anchor(2, first)])
    assert [(f.sequence, f.damage) for f in report.findings] == [(2, Damage.CHANGED)]


# Recordings under way.


@pytest.fixture
def live(tmp_path: Path) -> tuple[Path, Recording]:
    log = journal(tmp_path)
    recording = record(log, "s1")
    log.checkpoint(TUESDAY + 30)
    return tmp_path, recording


OPEN = "open/s1.tgr"


def test_a_recording_under_way_is_no_damage(live: tuple[Path, Recording]) -> None:
    report = verify_dir(live[0], PUBLIC)
    assert (report.whole, report.open, report.sealed) == (True, 1, 0)


@pytest.mark.parametrize("seals", [False, True])
def test_a_gateway_at_work_while_it_is_looked_at_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seals: bool
) -> None:
    log = journal(tmp_path)
    under_way = [record(log, "s0")]
    read_chain = HeadsCheck.run

    def read_and_go_on(check: HeadsCheck) -> None:
        read_chain(check)
        if seals:
            under_way.pop().seal(TUESDAY + 60)
        under_way.append(record(log, f"s{log.anchor.number}"))

    monkeypatch.setattr(HeadsCheck, "run", read_and_go_on)
    report = verify_dir(tmp_path, PUBLIC)
    assert report.whole, report.findings


def test_an_unfinished_line_of_a_recording_under_way_is_noted(
    live: tuple[Path, Recording],
) -> None:
    with (live[0] / OPEN).open("ab") as file:
        file.write(b'{"n":8,"at"')
    report = verify_dir(live[0], PUBLIC)
    assert report.whole
    assert "unfinished" in report.notes[0]


@pytest.mark.parametrize("kept", range(7))
def test_a_mark_shows_that_a_recording_under_way_was_cut(
    live: tuple[Path, Recording], kept: int
) -> None:
    edit(live[0] / OPEN, lambda lines: lines[:kept])
    assert (OPEN, 7, Damage.TRUNCATED) in found(live[0])


def test_a_mark_shows_that_a_recording_under_way_was_made_anew(
    live: tuple[Path, Recording],
) -> None:
    edit(
        live[0] / OPEN,
        lambda lines: rehash([line.replace(b"customers", b"countries") for line in lines]),
    )
    assert (OPEN, 7, Damage.CHANGED) in found(live[0])


def test_an_entry_under_a_wrong_number_is_found_though_its_hash_fits(
    live: tuple[Path, Recording],
) -> None:
    """Behind the newest mark nothing is signed yet: numbers must still run through."""

    def add(lines: list[bytes]) -> list[bytes]:
        before = split_line(lines[-1])[1]
        body = b'{"n":9,"at":1.0,"kind":"login","facts":{}}'
        return [*lines, join_line(body, link(before, body))[:-1]]

    edit(live[0] / OPEN, add)
    assert {file for file, _, _ in found(live[0])} == {OPEN}


def test_a_recording_changed_while_under_way_does_not_fit_its_seal(
    live: tuple[Path, Recording],
) -> None:
    """The gate keeps the chain's hash in memory: the seal is over what was written."""
    directory, recording = live
    with (directory / OPEN).open("r+b") as file:
        place = file.read().index(b"customers")
        file.seek(place)
        file.write(b"countries")
    recording.seal(TUESDAY + 60)
    assert (S1, 2, Damage.CHANGED) in found(directory)


# Packed recordings.


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    log = journal(directory, packed=True)
    for session in ("s1", "s2"):
        record(log, session).seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    for path in directory.rglob("*.zst"):
        path.chmod(0o600)
    return directory


def test_a_packed_recording_is_as_good(packed: Path) -> None:
    assert sorted(p.name for p in packed.glob("2026/*/*/*")) == ["s1.tgr.zst", "s2.tgr.zst"]
    report = verify_dir(packed, PUBLIC)
    assert (report.whole, report.sealed, report.entries) == (True, 2, 16)


def test_no_flipped_bit_of_a_packed_recording_changes_what_it_says(packed: Path) -> None:
    path = packed / "2026/01/06/s1.tgr.zst"
    whole = path.read_bytes()
    plain = journal(packed.parent / "plain")
    record(plain, "s1").seal(TUESDAY + 60)
    silent = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        report = verify_file(path, PUBLIC)
        # Unused bits of the packing itself may differ: then every entry is still the same.
        silent += report.whole
        assert not report.whole or report.entries == 8
    assert silent < len(whole) / 10


@pytest.mark.parametrize("part", [0, 1, 50, 200])
def test_a_packed_recording_cut_short(packed: Path, part: int) -> None:
    path = packed / "2026/01/06/s1.tgr.zst"
    path.write_bytes(path.read_bytes()[:part])
    file = "2026/01/06/s1.tgr.zst"
    assert {f for f, _, _ in found(packed)} == {file}


def test_a_plain_forgery_beside_the_packed_recording(packed: Path) -> None:
    (packed / S1).write_bytes(b"")
    assert (S1, 1, Damage.TRUNCATED) in found(packed)


def test_the_report_is_safe_for_a_terminal() -> None:
    report = Report(
        1, 2, 1, 0, (Finding("\x1b]0;x\x07", 3, Damage.CHANGED, "\u202e"),), ("\x9b2J",)
    )
    text = render_report(report)
    assert "NOT INTACT" in text
    assert "CHANGED" in text
    assert all(char == "\n" or char.isprintable() for char in text)
