"""Whether the records are what was written: offline, from the files and the public key alone.

Found are entries changed, dropped, reordered, doubled or inserted; recordings truncated, missing,
swapped, added, or signed by another key; and the same of the chain of heads. Not found from the
files alone: that the newest entries of the chain of heads are gone together with every recording
that they name and all that was opened later. Give an anchor, noted elsewhere, to find that too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taskgate.model.errors import Unreadable
from taskgate.model.event import EventKind
from taskgate.recording import layout
from taskgate.recording.chain_check import Chain, check_chain
from taskgate.recording.damage import MAX_FINDINGS, Damage, Finding, Report
from taskgate.recording.format import (
    Entry,
    Trailer,
    genesis,
    head_message,
    is_trailer,
    parse_line,
    parse_trailer,
)
from taskgate.recording.heads import Anchor
from taskgate.recording.heads_check import HeadsCheck, Listed
from taskgate.recording.keys import key_id, signature_holds
from taskgate.recording.lines import open_lines


def verify_dir(
    directory: Path, public_key: Ed25519PublicKey, anchors: Sequence[Anchor] = ()
) -> Report:
    """Verifies an audit directory, also one that a gateway is writing to. `anchors` are entries
    of the chain of heads that were noted elsewhere.

    Raises:
        OSError: a directory or the chain of heads cannot be read.
    """
    report = _Verification(directory, public_key, anchors).run()
    if report.whole:
        return report
    # A gateway at work moves files between two looks: damage is there at the second one too.
    first = {_same(finding) for finding in report.findings}
    again = _Verification(directory, public_key, anchors).run()
    kept = tuple(finding for finding in again.findings if _same(finding) in first)
    return Report(
        again.recordings, again.entries, again.sealed, again.open, kept, again.notes, again.anchor
    )


def _same(finding: Finding) -> tuple[str, Damage, str]:
    """What two looks must agree on. What the chain of heads lacks is told by the recording: each
    look may find one that was opened after the chain was read, and not the same."""
    told = finding.detail if finding.file == layout.HEADS_FILE else ""
    return finding.file, finding.damage, told


def verify_file(path: Path, public_key: Ed25519PublicKey) -> Report:
    """Verifies one recording by itself, such as a copy handed to an auditor. One that is not
    sealed is found to be truncated: by itself nothing vouches for it.

    Raises:
        OSError: it cannot be read.
    """
    check = _FileCheck(path, path.name, public_key, path.parent, key_id(public_key))
    check.run(None)
    sealed = int(check.trailer is not None)
    if not sealed:
        check.find(check.chain.count + 1, Damage.TRUNCATED, "its signed end is missing")
    return Report(
        1, check.chain.entries, sealed, 1 - sealed, tuple(check.findings), tuple(check.notes)
    )


@dataclass(slots=True)
class _Totals:
    recordings: int = 0
    entries: int = 0
    sealed: int = 0
    open: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Verification:
    def __init__(
        self, directory: Path, public_key: Ed25519PublicKey, anchors: Sequence[Anchor]
    ) -> None:
        self._directory = directory
        self._key = public_key
        self._anchors = anchors
        self._totals = _Totals()

    def run(self) -> Report:
        totals = self._totals
        heads = HeadsCheck(self._directory, self._key, self._anchors)
        heads.run()
        totals.findings += heads.findings
        totals.notes += heads.notes
        seen: set[str] = set()
        for path in (
            *layout.sealed_paths(self._directory),
            *layout.open_paths(self._directory),
        ):
            name = layout.recording_of(path)
            seen.add(name)
            try:
                self._check_file(path, heads.listed.get(name), heads)
            except FileNotFoundError:
                # Put away while the others were read.
                seen.discard(name)
        for name, listed in heads.listed.items():
            if name not in seen:
                self._look_again(name, listed, heads)
        return Report(
            totals.recordings,
            totals.entries,
            totals.sealed,
            totals.open,
            tuple(totals.findings[:MAX_FINDINGS]),
            tuple(totals.notes),
            (heads.count, heads.last_hash.hex()),
        )

    def _look_again(self, name: str, listed: Listed, heads: HeadsCheck) -> None:
        plain = self._directory / listed.file
        for path in (plain, layout.packed_path(plain), layout.open_path(self._directory, name)):
            try:
                self._check_file(path, listed, heads)
            except FileNotFoundError:
                continue
            return
        detail = "the recording is gone" + ("" if listed.hash else "; it was not sealed yet")
        self._totals.findings.append(Finding(listed.file, None, Damage.MISSING, detail))

    def _check_file(self, path: Path, listed: Listed | None, heads: HeadsCheck) -> None:
        totals = self._totals
        file = path.relative_to(self._directory).as_posix()
        under_way = path.parent.name == layout.OPEN_DIR
        check = _FileCheck(path, file, self._key, self._directory, heads.gateway)
        check.run(listed)
        totals.recordings += 1
        totals.entries += check.chain.entries
        if check.trailer is not None:
            totals.sealed += 1
        elif under_way and not (listed and listed.hash):
            totals.open += 1
            if check.chain.torn:
                totals.notes.append(f"{file} ends in an unfinished line: recovery will cut it")
        else:
            check.find(check.chain.count + 1, Damage.TRUNCATED, "its signed end is missing")
        if listed is None:
            check.find(None, Damage.UNLISTED, "the chain of heads does not know this recording")
        else:
            where = (listed.file, layout.packed_path(Path(listed.file)).as_posix())
            if not under_way and file not in where:
                check.find(None, Damage.SWAPPED, f"it belongs at {listed.file}")
            if check.trailer is not None and not listed.hash:
                if under_way:
                    totals.notes.append(f"{file} is sealed but not put away: recovery will do it")
                else:
                    detail = f"the entry that {path.name} was sealed is missing"
                    totals.findings.append(
                        Finding(layout.HEADS_FILE, heads.count + 1, Damage.TRUNCATED, detail)
                    )
        if check.heads_seen > heads.count:
            detail = f"{file} was opened after entry {check.heads_seen}, which is missing"
            totals.findings.append(
                Finding(layout.HEADS_FILE, heads.count + 1, Damage.TRUNCATED, detail)
            )
        totals.findings += check.findings
        totals.notes += check.notes


class _FileCheck:
    """One recording: its chain, its trailer, and what the chain of heads says of it."""

    def __init__(
        self, path: Path, file: str, key: Ed25519PublicKey, directory: Path, gateway: str
    ) -> None:
        """`gateway` is whose it must be where the file itself does not say."""
        self._path = path
        self._file = file
        self._key = key
        self._directory = directory
        self._gateway = gateway
        self._mark: tuple[int, str] | None = None
        self._mark_met = False
        self._opened_at = 0.0
        self.chain = Chain(0, b"")
        self.trailer: Trailer | None = None
        self.heads_seen = 0
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def find(self, number: int | None, damage: Damage, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(self._file, number, damage, detail))

    def run(self, listed: Listed | None) -> None:
        name = layout.recording_of(self._path)
        claimed, self._gateway = self._claims(name)
        if claimed != name:
            self.find(None, Damage.SWAPPED, f"it is the recording {claimed}")
        if listed is not None and listed.marked:
            self._mark = (listed.marked, listed.marked_hash)
        self.chain = check_chain(
            self._path, self._file, 0, genesis(self._gateway, claimed), self._visit
        )
        self.findings += self.chain.findings
        if self._mark is not None and not self._mark_met:
            number = self._mark[0]
            damage = Damage.TRUNCATED if self.chain.count < number else Damage.CHANGED
            self.find(number, damage, "it is not what was signed while the session went on")
        if self.chain.trailer is not None:
            self._check_trailer(self.chain.trailer, claimed)
        if listed is not None and listed.hash and not self.findings:
            self._check_listed(listed)

    def _claims(self, name: str) -> tuple[str, str]:
        """What the file says of itself: its recording's id, and its gateway."""
        recording, gateway = name, self._gateway
        try:
            with open_lines(self._path) as lines:
                for number, line in enumerate(lines):
                    if is_trailer(line.text):
                        trailer = parse_trailer(line.text)
                        return trailer.head.recording, trailer.head.gateway
                    if number == 0:
                        facts = parse_line(line.text).facts
                        recording = str(facts.get("recording", recording))
                        gateway = str(facts.get("gateway", gateway))
                        return recording, gateway
        except Unreadable:
            # The chain's check says what is wrong.
            pass
        return recording, gateway

    def _visit(self, _previous: bytes, entry: Entry) -> None:
        if self._mark is not None and entry.number == self._mark[0]:
            self._mark_met = entry.hash.hex() == self._mark[1]
        if entry.number == 1:
            self._opened_at = entry.at
            heads = entry.facts.get("heads")
            if isinstance(heads, list) and heads and isinstance(heads[0], int):
                self.heads_seen = heads[0]
        if entry.kind == EventKind.RECORDING_RECOVERED.value:
            self._check_evidence(entry)

    def _check_evidence(self, entry: Entry) -> None:
        evidence = str(entry.facts.get("evidence", ""))
        damage = str(entry.facts.get("damage", ""))
        if damage:
            # Recovery seals what it finds; that it was not as a crash leaves it stays visible.
            self.find(entry.number, Damage.CHANGED, f"recovery found it damaged: {damage}")
        if entry.facts.get("late"):
            self.notes.append(f"{self._file} was entered into the chain of heads by recovery")
        events, signed = entry.facts.get("events"), entry.facts.get("signed")
        if isinstance(events, int) and isinstance(signed, int) and signed < events:
            self.notes.append(
                f"{self._file}: entries {signed + 1} to {events} were first signed by recovery, "
                "after the gateway had been killed"
            )
        if not evidence:
            return
        # Below the audit directory; or beside a recording that was copied out of it.
        day, name = layout.day_of(self._opened_at), Path(evidence).name
        for candidate in (self._directory / day / name, self._path.parent / name):
            if candidate.is_file():
                with candidate.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != entry.facts.get("cut_sha256"):
                    self.find(entry.number, Damage.CHANGED, f"the evidence {evidence} differs")
                return
        self.find(entry.number, Damage.MISSING, f"the evidence {evidence} is gone")

    def _check_trailer(self, line: bytes, claimed: str) -> None:
        try:
            trailer = parse_trailer(line)
        except Unreadable as error:
            self.find(None, Damage.CHANGED, error.message)
            return
        self.trailer = trailer
        head = trailer.head
        if not signature_holds(self._key, trailer.sig, head_message(head)):
            if trailer.key != key_id(self._key):
                self.find(None, Damage.FOREIGN_KEY, f"it was signed by the key {trailer.key}")
            else:
                self.find(None, Damage.CHANGED, "its signed head is not what was signed")
        elif trailer.key != key_id(self._key):
            self.find(None, Damage.CHANGED, "its trailer names another key than the one used")
        elif head.recording != claimed or head.gateway != self._gateway:
            self.find(None, Damage.SWAPPED, f"its trailer is that of {head.recording}")
        elif self.chain.findings:
            pass
        elif self.chain.count < head.count:
            first = self.chain.count + 1
            self.find(first, Damage.TRUNCATED, f"entries {first} to {head.count} are missing")
        elif self.chain.count != head.count or self.chain.last_hash.hex() != head.hash:
            self.find(None, Damage.CHANGED, "its chain is whole, but not the one that was signed")

    def _check_listed(self, listed: Listed) -> None:
        if self.trailer is None:
            return
        head = self.trailer.head
        if (head.count, head.hash) != (listed.count, listed.hash):
            self.find(None, Damage.CHANGED, "it is not the recording that the chain of heads knows")
