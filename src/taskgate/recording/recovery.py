"""After a crash: cut what is torn, say so in the recording itself, and seal it.

A killed process leaves whole lines and at most one that is not; a machine that lost power may
leave more. What follows the last good line is kept as evidence, never thrown away. Recovery can
be called again at any time: it leaves alone what is under way.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgate.model import limits
from taskgate.model.errors import NotRecorded, Unreadable
from taskgate.model.event import Event, EventKind
from taskgate.recording import layout
from taskgate.recording.files import make_directory
from taskgate.recording.format import (
    Entry,
    Trailer,
    genesis,
    head_message,
    is_trailer,
    link,
    parse_line,
    parse_trailer,
)
from taskgate.recording.heads import MARKS, OPENED, RECOVERED, SEALED
from taskgate.recording.journal import Journal
from taskgate.recording.keys import signature_holds
from taskgate.recording.lines import open_lines

# Parts of the chain of heads that are read for what is still open; older recordings are found
# by their files in `open/` alone.
_PARTS_READ = 2
_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one recording. `events` were whole and are kept; `cut_bytes` behind them
    were not and lie in `evidence` (below the audit directory). `damage` tells of what a crash
    alone does not do; empty as a rule."""

    recording: str
    events: int
    cut_bytes: int
    evidence: str
    damage: str


@dataclass(slots=True)
class _Known:
    """What the chain of heads says of a recording that it does not call sealed."""

    opened_at: float = 0.0
    marked: int = 0
    marked_hash: str = ""


@dataclass(slots=True)
class _Scan:
    """The good beginning of a file: `count` lines in `size` bytes, and the trailer, if any."""

    count: int = 0
    size: int = 0
    last_hash: bytes = b""
    first: Entry | None = None
    trailer: Trailer | None = None
    trailer_size: int = 0
    lines_behind: int = 0
    mark_met: bool = False


def recover(journal: Journal, now: float) -> tuple[Recovered, ...]:
    """Seals what an earlier run left open, and answers one report a recording.

    Raises:
        NotRecorded: the disk cannot be written: the gateway must not start.
    """
    known = _unsealed(journal.directory)
    reports: list[Recovered] = []
    for part in (journal.directory / layout.OPEN_DIR).glob("*.part"):
        with suppress(OSError):
            part.unlink()
    for path in layout.open_paths(journal.directory):
        recording = layout.recording_of(path)
        if not journal.is_live(recording):
            reports.append(_recover_one(journal, path, known.pop(recording, None), now))
    for recording, about in known.items():
        if not journal.is_live(recording):
            reports.extend(_look_for(journal, recording, about))
    return tuple(reports)


def _recover_one(journal: Journal, path: Path, known: _Known | None, now: float) -> Recovered:
    recording = layout.recording_of(path)
    scan = _scan(path, genesis(journal.gateway, recording), known)
    if _sealed_well(journal, recording, scan) and scan.trailer is not None:
        # The crash came between the seal and putting the file away.
        journal.note_head(scan.trailer.head)
        journal.move_sealed(path, scan.trailer.head)
        return Recovered(recording, scan.count, 0, "", "")
    opened_at = scan.first.at if scan.first else (known.opened_at if known else now)
    damage = _damage(scan, known)
    evidence, cut_bytes, cut_sha256 = _cut(journal, path, scan.size, opened_at)
    log = journal.reopen(path, opened_at)
    if scan.count:
        log.continue_from(scan.count, scan.last_hash)
    facts: dict[str, Any] = {
        "events": scan.count,
        "cut_bytes": cut_bytes,
        "cut_sha256": cut_sha256,
        "evidence": evidence,
        "damage": damage,
        # A crash right after the file was made; or a file that was put there.
        "late": known is None,
        # How far a mark had vouched for it before the crash.
        "signed": known.marked if known is not None and scan.mark_met else 0,
    }
    log.append(Event(EventKind.RECORDING_RECOVERED, now, facts))
    log.flush()
    if known is None:
        journal.note_opened(recording, opened_at)
    journal.heads.append(RECOVERED, now, {"recording": recording, **facts})
    log.seal(now)
    return Recovered(recording, scan.count, cut_bytes, evidence, damage)


def _scan(path: Path, before: bytes, known: _Known | None) -> _Scan:
    scan = _Scan(last_hash=before)
    try:
        with open_lines(path) as lines:
            good = True
            for line in lines:
                if good and line.whole and is_trailer(line.text):
                    with suppress(Unreadable):
                        scan.trailer = parse_trailer(line.text)
                        scan.trailer_size = line.start + len(line.text) + 1
                    good = False
                    continue
                entry = _entry(line.text) if line.whole else None
                if (
                    good
                    and entry is not None
                    and entry.number == scan.count + 1
                    and link(scan.last_hash, entry.body) == entry.hash
                ):
                    scan.count, scan.last_hash = entry.number, entry.hash
                    scan.size = line.start + len(line.text) + 1
                    scan.first = scan.first or entry
                    if known and entry.number == known.marked:
                        scan.mark_met = entry.hash.hex() == known.marked_hash
                else:
                    good = False
                    scan.lines_behind += entry is not None
    except OSError as error:
        raise NotRecorded(f"{path.name} cannot be read: {error.strerror}") from error
    except Unreadable as error:
        raise NotRecorded(f"{path.name} cannot be recovered: {error.message}") from error
    return scan


def _sealed_well(journal: Journal, recording: str, scan: _Scan) -> bool:
    trailer = scan.trailer
    return (
        trailer is not None
        and scan.lines_behind == 0
        and trailer.head.recording == recording
        and trailer.head.gateway == journal.gateway
        and trailer.head.count == scan.count
        and trailer.head.hash == scan.last_hash.hex()
        and trailer.key == journal.key_id
        and signature_holds(journal.key.public_key(), trailer.sig, head_message(trailer.head))
    )


def _damage(scan: _Scan, known: _Known | None) -> str:
    found: list[str] = []
    if known is None and scan.count > 1:
        # The first event alone is written before the chain is told.
        found.append("it goes on, though its opening is not in the chain of heads")
    if known is not None and known.marked and not scan.mark_met:
        found.append(f"it does not hold what was signed of its first {known.marked} entries")
    if scan.lines_behind:
        found.append(f"{scan.lines_behind} whole entries follow a bad one")
    if scan.trailer is not None:
        found.append("it has a trailer that does not fit")
    return "; ".join(found)


def _cut(journal: Journal, path: Path, keep: int, opened_at: float) -> tuple[str, int, str]:
    """Moves what follows the first `keep` bytes to a file beside the sealed recording."""
    cut_bytes = path.stat().st_size - keep
    if cut_bytes <= 0:
        return "", 0, ""
    recording = layout.recording_of(path)
    name = layout.sealed_name(recording, opened_at).removesuffix(layout.SUFFIX)
    make_directory((journal.directory / name).parent)
    evidence = _free_name(journal.directory / name)
    digest = hashlib.sha256()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with path.open("r+b") as torn, open(os.open(evidence, flags, 0o600), "wb") as kept:
            torn.seek(keep)
            while chunk := torn.read(_COPY_BYTES):
                digest.update(chunk)
                kept.write(chunk)
            kept.flush()
            # The evidence is on the disk before it is cut from where it was.
            os.fsync(kept.fileno())
            torn.truncate(keep)
    except OSError as error:
        raise NotRecorded(f"{path.name} cannot be recovered: {error.strerror}") from error
    return evidence.relative_to(journal.directory).as_posix(), cut_bytes, digest.hexdigest()


def _free_name(base: Path) -> Path:
    """An earlier recovery that was itself cut short may have left evidence."""
    evidence = base.with_name(base.name + layout.EVIDENCE_SUFFIX)
    number = 1
    while evidence.exists():
        number += 1
        evidence = base.with_name(f"{base.name}-{number}{layout.EVIDENCE_SUFFIX}")
    return evidence


def _look_for(journal: Journal, recording: str, about: _Known) -> list[Recovered]:
    """A recording that the chain calls open, without a file in `open/`."""
    name = layout.sealed_name(recording, about.opened_at)
    path = journal.directory / name
    for candidate in (path, layout.packed_path(path)):
        if candidate.exists():
            try:
                scan = _scan(candidate, genesis(journal.gateway, recording), None)
            except NotRecorded:
                break
            if _sealed_well(journal, recording, scan) and scan.trailer is not None:
                # Its last entry in the chain was lost with the machine's power.
                journal.note_head(scan.trailer.head)
                return [Recovered(recording, scan.count, 0, "", "")]
    return [Recovered(recording, 0, 0, "", "the recording is missing, or not as it was sealed")]


def _unsealed(directory: Path) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    for path in layout.heads_paths(directory)[-_PARTS_READ:]:
        with open_lines(path) as lines:
            for line in lines:
                entry = _entry(line.text)
                if entry is not None:
                    _learn(known, entry)
    return known


def _learn(known: dict[str, _Known], entry: Entry) -> None:
    recording = str(entry.facts.get("recording", ""))
    if entry.kind == OPENED:
        known[recording] = _Known(entry.at)
    elif entry.kind == SEALED:
        known.pop(recording, None)
    elif entry.kind == MARKS:
        for name, count, hash_ in entry.facts.get("marks", ())[: limits.MAX_MARKS_PER_ENTRY]:
            if name in known:
                known[name].marked, known[name].marked_hash = count, hash_


def _entry(line: bytes) -> Entry | None:
    try:
        return parse_line(line)
    except Unreadable:
        return None
