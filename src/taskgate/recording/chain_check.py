"""Follows the chain of one file, and where it breaks tells which entry and how.

A whole file is read once, in bounded memory. Only a damaged one is read again, with one hash kept
for each entry: a line that was moved still follows the entry numbered one less, wherever that
stands; a line that was changed follows nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from taskgate.model.errors import Unreadable
from taskgate.recording.damage import MAX_FINDINGS, Damage, Finding
from taskgate.recording.format import Entry, is_trailer, link, parse_line
from taskgate.recording.lines import Line, open_lines

# previous hash, entry
Visit = Callable[[bytes, Entry], None]


@dataclass(slots=True)
class Chain:
    """What a file holds. `count` is its last good entry's number and `last_hash` its hash;
    `torn` whether an unfinished line ends it; `trailer` the trailer's line."""

    count: int
    last_hash: bytes
    entries: int = 0
    torn: bool = False
    trailer: bytes | None = None
    findings: list[Finding] = field(default_factory=list)


def check_chain(path: Path, file: str, start: int, start_hash: bytes, visit: Visit) -> Chain:
    """Follows the lines of `path` from entry `start` + 1, which follows `start_hash`. `visit`
    sees every entry that is what it was when written. `file` is the name to report.

    Raises:
        OSError: it cannot be read.
    """
    chain = Chain(start, start_hash)
    try:
        if _follow(path, file, chain, visit):
            return chain
        chain = Chain(start, start_hash)
        _Diagnosis(path, file, chain).run(visit)
    except Unreadable as error:
        chain.findings.append(Finding(file, None, Damage.CHANGED, error.message))
    return chain


def _follow(path: Path, file: str, chain: Chain, visit: Visit) -> bool:
    """True at the end of a file whose chain holds; False at the first break."""
    with open_lines(path) as lines:
        for line in lines:
            if chain.trailer is not None:
                return False
            if not line.whole:
                chain.torn = True
                continue
            if is_trailer(line.text):
                chain.trailer = line.text
                continue
            try:
                entry = parse_line(line.text)
            except Unreadable:
                return False
            if entry.number != chain.count + 1 or link(chain.last_hash, entry.body) != entry.hash:
                return False
            visit(chain.last_hash, entry)
            chain.count, chain.last_hash = entry.number, entry.hash
            chain.entries += 1
    return True


class _Diagnosis:
    """Tells what is wrong with a file whose chain breaks."""

    def __init__(self, path: Path, file: str, chain: Chain) -> None:
        self._path = path
        self._file = file
        self._chain = chain
        self._start = chain.count
        # Every hash that an entry of this number claims, or would have by its content.
        self._hashes: dict[int, set[bytes]] = {chain.count: {chain.last_hash}}
        self._seen: dict[int, bytes] = {}
        self._highest = chain.count
        # Numbers whose line is there, but unreadable or under another number.
        self._changed: set[int] = set()

    def run(self, visit: Visit) -> None:
        for entry in self._entries():
            self._hashes.setdefault(entry.number, set()).add(entry.hash)
        # Where an entry's own hash was changed, the next one follows what it ought to be.
        for entry in self._entries():
            if not self._fits(entry):
                ought = {link(p, entry.body) for p in self._hashes.get(entry.number - 1, ())}
                self._hashes[entry.number] |= ought
        waiting: Line | None = None
        with open_lines(self._path) as lines:
            for line in lines:
                if waiting is not None:
                    self._judge(waiting, line, visit)
                if len(self._chain.findings) >= MAX_FINDINGS:
                    return
                waiting = line
        if waiting is not None:
            self._judge(waiting, None, visit)
        there = self._seen.keys() | self._changed
        before = self._start
        for number in sorted(there):
            if number > before + 1 and number <= self._highest:
                self._find_range(before + 1, number - 1)
            before = max(before, number)
        if not self._chain.findings:
            self._find(None, Damage.CHANGED, "its chain does not hold")

    def _judge(self, line: Line, following: Line | None, visit: Visit) -> None:
        chain = self._chain
        expected = chain.count + 1
        if chain.trailer is not None:
            self._find(None, Damage.INSERTED, "something follows the signed trailer")
            return
        if not line.whole:
            # A broken line is what a crash leaves, but only at the very end.
            if following is None:
                chain.torn = True
            else:
                self._find(expected, Damage.CHANGED, "a line is longer than any entry")
            return
        if is_trailer(line.text):
            chain.trailer = line.text
            return
        entry = _entry(line)
        after = _entry(following) if following is not None else None
        if entry is None:
            chain.count = self._place(expected, after)
            self._changed.add(chain.count)
            self._find(chain.count, Damage.CHANGED, "the line is no entry any more")
            return
        chain.entries += 1
        fits = self._fits(entry)
        known_before = entry.number - 1 in self._hashes
        if (not fits and entry.number != expected) or not known_before:
            # Its number itself may be what was changed: then the next line still follows it.
            place = self._place(expected, after)
            if after is not None and place != entry.number and _follows(entry, after):
                self._changed.add(place)
                chain.count, chain.last_hash = place, entry.hash
                self._find(place, Damage.CHANGED, f"it calls itself entry {entry.number}")
                return
        self._judge_entry(entry, fits or not known_before)
        if fits:
            for previous in self._hashes[entry.number - 1]:
                if link(previous, entry.body) == entry.hash:
                    visit(previous, entry)
                    break
        chain.count, chain.last_hash = entry.number, entry.hash

    def _judge_entry(self, entry: Entry, fits: bool) -> None:
        number = entry.number
        if number <= self._start:
            self._find(number, Damage.INSERTED, "an entry of this number is not due here")
        elif number in self._seen:
            if self._seen[number] == entry.hash and fits:
                self._find(number, Damage.DUPLICATED, "the entry stands here once more")
            else:
                self._find(number, Damage.INSERTED, "another entry has this number")
        else:
            if number < self._highest:
                self._find(number, Damage.REORDERED, f"it stands behind entry {self._highest}")
            if not fits:
                self._find(number, Damage.CHANGED, "it is not what was written")
            self._seen[number] = entry.hash
        if fits:
            self._highest = max(self._highest, number)

    def _place(self, expected: int, after: Entry | None) -> int:
        """The number that a line ought to have: one less than that of a good next line."""
        if after is not None and after.number > 1 and after.number - 1 not in self._seen:
            return after.number - 1
        return expected

    def _fits(self, entry: Entry) -> bool:
        before = self._hashes.get(entry.number - 1, ())
        return any(link(previous, entry.body) == entry.hash for previous in before)

    def _entries(self) -> Iterator[Entry]:
        bad = 0
        with open_lines(self._path) as lines:
            for line in lines:
                entry = _entry(line)
                if entry is not None:
                    yield entry
                else:
                    bad += 1
                    # Enough to know; what is planted to be endless must not be followed.
                    if bad > MAX_FINDINGS:
                        return

    def _find_range(self, first: int, last: int) -> None:
        what = "the entry is missing" if first == last else f"entries {first} to {last} are missing"
        self._find(first, Damage.DROPPED, what)

    def _find(self, number: int | None, damage: Damage, detail: str) -> None:
        if len(self._chain.findings) < MAX_FINDINGS:
            self._chain.findings.append(Finding(self._file, number, damage, detail))


def _entry(line: Line) -> Entry | None:
    if not line.whole or is_trailer(line.text):
        return None
    try:
        return parse_line(line.text)
    except Unreadable:
        return None


def _follows(entry: Entry, after: Entry) -> bool:
    return link(entry.hash, after.body) == after.hash
