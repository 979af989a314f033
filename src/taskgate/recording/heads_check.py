"""The chain of heads, verified; and what it says of every recording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taskgate.model.errors import Unreadable
from taskgate.recording import heads, layout
from taskgate.recording.chain_check import check_chain
from taskgate.recording.damage import Damage, Finding
from taskgate.recording.format import Entry, parse_line
from taskgate.recording.heads import Anchor, entry_signed, heads_genesis
from taskgate.recording.keys import key_id
from taskgate.recording.lines import open_lines


@dataclass(slots=True)
class Listed:
    """One recording as the chain knows it. `file` is where it lies once sealed; `hash` is empty
    until then; `marked` the count of entries that the newest mark covers."""

    file: str
    count: int = 0
    hash: str = ""
    marked: int = 0
    marked_hash: str = ""


class HeadsCheck:
    """Verifies the chain of one directory; `listed` is filled from entries with good signatures
    alone."""

    def __init__(
        self, directory: Path, key: Ed25519PublicKey, anchors: Sequence[Anchor] = ()
    ) -> None:
        self._directory = directory
        self._key = key
        self._anchors = {anchor.number: anchor.hash for anchor in anchors}
        self._file = layout.HEADS_FILE
        self.listed: dict[str, Listed] = {}
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.gateway = key_id(key)
        self.count = 0
        self.last_hash = b""

    def run(self) -> None:
        """
        Raises:
            OSError: a file cannot be read.
        """
        paths = layout.heads_paths(self._directory)
        if not paths:
            self._find(None, Damage.MISSING, "there is no chain of heads")
            return
        self.gateway = self._read_gateway(paths[0])
        self.last_hash = heads_genesis(self.gateway)
        for position, path in enumerate(paths):
            self._file = path.name
            chain = check_chain(path, path.name, self.count, self.last_hash, self._visit)
            self.findings += chain.findings
            if chain.trailer is not None:
                self._find(None, Damage.INSERTED, "the chain of heads has no trailer")
            if chain.torn:
                if position == len(paths) - 1:
                    self.notes.append(f"{path.name} ends in an unfinished line: a start cuts it")
                else:
                    self._find(chain.count + 1, Damage.TRUNCATED, "its last line is unfinished")
            self.count, self.last_hash = chain.count, chain.last_hash
        if paths[-1].name != layout.HEADS_FILE:
            self._find(None, Damage.MISSING, "the chain's present file is gone")
        for number in sorted(self._anchors):
            damage = Damage.TRUNCATED if number > self.count else Damage.CHANGED
            self._find(number, damage, "the entry that was noted elsewhere is not there")

    def _read_gateway(self, path: Path) -> str:
        try:
            with open_lines(path) as lines:
                for line in lines:
                    return str(parse_line(line.text).facts.get("gateway", self.gateway))
        except Unreadable:
            # The chain's check says what is wrong.
            pass
        return self.gateway

    def _visit(self, previous: bytes, entry: Entry) -> None:
        if self._anchors.get(entry.number) == entry.hash.hex():
            del self._anchors[entry.number]
        if not entry_signed(self._key, previous, entry):
            self._find(entry.number, Damage.FOREIGN_KEY, "this gateway's key did not sign it")
            return
        facts = entry.facts
        if entry.kind == heads.OPENED:
            self.listed.setdefault(str(facts["recording"]), Listed(str(facts["file"])))
        elif entry.kind == heads.SEALED:
            listed = self.listed.setdefault(str(facts["recording"]), Listed(str(facts["file"])))
            if listed.hash and (listed.count, listed.hash) != (facts["count"], facts["hash"]):
                self._find(entry.number, Damage.CHANGED, f"{listed.file} was sealed twice")
            listed.count, listed.hash = int(facts["count"]), str(facts["hash"])
        elif entry.kind == heads.MARKS:
            for name, count, hash_ in facts["marks"]:
                if name in self.listed:
                    marked = self.listed[name]
                    marked.marked, marked.marked_hash = int(count), str(hash_)
        elif entry.kind == heads.TORN:
            lost = f"{facts['cut_bytes']} bytes at its end were unreadable at a start, and cut"
            if facts["cut_lines"]:
                detail = f"{lost}; {facts['cut_lines']} lines among them"
                self._find(entry.number, Damage.TRUNCATED, detail)
            else:
                self.notes.append(f"{self._file}, before entry {entry.number}: {lost}")

    def _find(self, number: int | None, damage: Damage, detail: str) -> None:
        self.findings.append(Finding(self._file, number, damage, detail))
