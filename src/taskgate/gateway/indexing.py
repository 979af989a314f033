"""Feeding the search index from the recordings, behind the traffic and never in its way.

The recordings are the truth and are read back from their files; nothing is kept for the index on
the path of a request. Between searches the feeding takes a small share of the machine; a search
first waits until the index has caught up.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog

from taskgate.model import limits
from taskgate.model.audit import AuditEntry
from taskgate.model.errors import NotFound, StoreUnavailable, Unreadable
from taskgate.model.ports import AuditIndex
from taskgate.recording import layout
from taskgate.recording.format import is_trailer, parse_line
from taskgate.recording.index import Indexer
from taskgate.recording.lines import open_lines, read_lines
from taskgate.recording.reader import list_recordings

EVERY_S = 0.5
# Of the time; the rest of a core is the traffic's.
_SHARE = 0.1
_MARK = "indexed"
# Files are looked at again if they changed so shortly before the last finished round began.
_OVERLAP_S = 60.0
# A recording that was not found may just have been moved; so many rounds it is looked for.
_MAX_MISSED = 3
# Coarser than any file system that recordings are kept on.
_GRAIN_NS = 3_000_000_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Position:
    """How far one recording has been read: `size` bytes of its unpacked file."""

    indexer: Indexer
    size: int = 0
    over: bool = False
    missed: int = 0


@dataclass(slots=True)
class _Day:
    """A folder of sealed recordings: the recordings that are dealt with for good, and when the
    folder itself had last changed as it was read (nanoseconds)."""

    done: set[str] = field(default_factory=set)
    changed_ns: int = -1


class Feeder:
    """Follows every recording below `directory`; `mark` is a file that remembers when."""

    def __init__(self, directory: Path, index: AuditIndex, state_dir: Path) -> None:
        self._directory = directory
        self._index = index
        self._mark = state_dir / _MARK
        self._positions: dict[str, _Position] = {}
        self._one_round = asyncio.Lock()
        # Wall time at which the last round began that was finished; None before the first.
        self._last_round: float | None = None
        self._days: dict[Path, _Day] = {}

    async def follow(self) -> None:
        """Never ends. A fault is logged, and the next round tries again from the same place."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.catch_up(share=_SHARE)
            except (StoreUnavailable, OSError) as error:
                _log.warning("index.behind", why=str(error))
            took = loop.time() - began
            await asyncio.sleep(max(EVERY_S, min(30.0, took)))

    async def catch_up(self, share: float = 1.0) -> None:
        """Feeds all that is in the files by now. Raises: StoreUnavailable, OSError."""
        async with self._one_round:
            began = time.time()
            names, sealed = await asyncio.to_thread(self._changed)
            for name in names:
                await self._feed(name, share)
            await asyncio.to_thread(self._finish_round, began, names, sealed)

    async def rebuild(self) -> int:
        """Empties the index and feeds every recording anew; how many.

        Raises: StoreUnavailable, OSError.
        """
        async with self._one_round:
            began = time.time()
            self._positions.clear()
            self._days.clear()
            await self._index.clear()
            names = await asyncio.to_thread(
                lambda: [layout.recording_of(path) for path in list_recordings(self._directory)]
            )
            for name in names:
                await self._feed(name, 1.0)
            await asyncio.to_thread(self._finish_round, began, names, {})
            return len(names)

    def _changed(self) -> tuple[list[str], dict[Path, _Day]]:
        """Recordings that may hold what was not fed: all open ones, those followed so far, and
        those sealed since the last finished round, which may have come and gone meanwhile. With
        them the days looked through, as they will be once this round is finished."""
        # Before the days: what is sealed in between is found there.
        names = dict.fromkeys(
            layout.recording_of(path) for path in layout.open_paths(self._directory)
        )
        names.update(dict.fromkeys(self._positions))
        if self._last_round is None:
            try:
                since = self._mark.stat().st_mtime - _OVERLAP_S
            except OSError:
                since = 0.0
            days = layout.day_directories(self._directory)
        else:
            since = self._last_round - _OVERLAP_S
            # Whoever was not seen open was opened since, and lies under the day of that.
            days = list(layout.days_from(self._directory, since))
        looked_at = {day: self._look_through(day, since, names) for day in days}
        return list(names), looked_at

    def _look_through(self, folder: Path, since: float, names: dict[str, None]) -> _Day:
        """Adds what was sealed in this folder since then, and is not dealt with, to `names`."""
        before = self._days.get(folder, _Day())
        try:
            changed_ns = folder.stat().st_mtime_ns
            if changed_ns == before.changed_ns:
                return before
            # Within its clock's grain a folder may change again and show the same time.
            if time.time_ns() - changed_ns < _GRAIN_NS:
                changed_ns = -1
            done = set(before.done)
            with os.scandir(folder) as files:
                for file in files:
                    # By its id: packing, later, gives the file another name.
                    name = layout.recording_named(file.name)
                    if name in before.done or not layout.is_recording(file.name):
                        continue
                    done.add(name)
                    # Sealing renames the file, which shows in its change time.
                    if file.stat(follow_symlinks=False).st_ctime >= since:
                        names[name] = None
        except OSError:
            # Removed meanwhile, or not readable just now: the next round looks again.
            return before
        return _Day(done, changed_ns)

    def _finish_round(self, began: float, names: list[str], days: dict[Path, _Day]) -> None:
        for name in names:
            position = self._positions.get(name)
            if position is not None and position.over:
                del self._positions[name]
        self._last_round = began
        # Only the days that later rounds look through are kept in mind.
        recent = set(layout.days_from(self._directory, began - _OVERLAP_S))
        self._days = {day: seen for day, seen in days.items() if day in recent}
        with suppress(OSError):
            # As of the round's beginning: what was sealed during it may not have been fed.
            self._mark.touch()
            os.utime(self._mark, (began, began))

    async def _feed(self, name: str, share: float) -> None:
        position = self._positions.setdefault(name, _Position(Indexer(name)))
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                entries, more = await asyncio.to_thread(self._read, name, position)
            except NotFound:
                # It may have been sealed just then, and lies somewhere else by the next round.
                position.missed += 1
                position.over = position.missed >= _MAX_MISSED
                return
            position.missed = 0
            try:
                await self._index.add(entries)
            except StoreUnavailable:
                # Read again from the start: feeding twice does no harm.
                self._positions[name] = _Position(Indexer(name))
                raise
            if not more:
                return
            await asyncio.sleep((loop.time() - began) * (1.0 / share - 1.0))

    def _read(self, name: str, position: _Position) -> tuple[list[AuditEntry], bool]:
        """The entries of some more events, and whether there may be others behind them."""
        moved = 0
        while True:
            path = layout.find_recording(self._directory, name)
            try:
                return self._read_from(path, position)
            except FileNotFoundError as error:
                moved += 1
                if moved > layout.MOVES:
                    raise NotFound(f"the recording {name} was moved meanwhile") from error

    def _read_from(self, path: Path, position: _Position) -> tuple[list[AuditEntry], bool]:
        """Raises: FileNotFoundError where it has just been moved; then nothing was read."""
        latest: dict[tuple[int, int], AuditEntry] = {}
        try:
            for text, end in _lines_from(path, position.size):
                if is_trailer(text):
                    position.over = True
                    break
                event = parse_line(text)
                for entry in position.indexer.feed(event.number, event.kind, event.at, event.facts):
                    # One statement must not write a row twice.
                    latest[entry.sequence, entry.position] = entry
                position.size = end
                if len(latest) >= limits.MAX_INDEX_BATCH:
                    return list(latest.values()), True
        except Unreadable as error:
            # Verification is what tells of damage; here the readable part counts.
            name = layout.recording_of(path)
            _log.warning("index.unreadable", recording=name, why=error.message)
            position.over = True
        return list(latest.values()), False


def _lines_from(path: Path, start: int) -> Iterator[tuple[bytes, int]]:
    """Whole lines behind `start`, each with the place of its end in the unpacked file."""
    if path.suffix == ".zst":
        with open_lines(path) as lines:
            for line in lines:
                if line.whole and line.start >= start:
                    yield line.text, line.start + len(line.text) + 1
        return
    file: BinaryIO
    with path.open("rb") as file:
        file.seek(start)
        for line in read_lines(file):
            if line.whole:
                yield line.text, start + line.start + len(line.text) + 1
