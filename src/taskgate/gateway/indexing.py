"""Feeding the search index from the recordings, behind the traffic and never in its way.

The recordings are the truth and are read back from their files; nothing is kept for the index on
the path of a request. Between searches the feeding takes a small share of the machine; a search
first waits until the index has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
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
# Files are looked at again if they changed so shortly before the last finished round.
_OVERLAP_S = 60.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Position:
    """How far one recording has been read: `size` bytes of its unpacked file."""

    indexer: Indexer
    size: int = 0
    over: bool = False


class Feeder:
    """Follows every recording below `directory`; `mark` is a file that remembers when."""

    def __init__(self, directory: Path, index: AuditIndex, state_dir: Path) -> None:
        self._directory = directory
        self._index = index
        self._mark = state_dir / _MARK
        self._positions: dict[str, _Position] = {}
        self._one_round = asyncio.Lock()
        self._begun = False

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
            names = await asyncio.to_thread(self._changed)
            for name in names:
                await self._feed(name, share)
            await asyncio.to_thread(self._finish_round, names)

    async def rebuild(self) -> int:
        """Empties the index and feeds every recording anew; how many.

        Raises: StoreUnavailable, OSError.
        """
        async with self._one_round:
            self._positions.clear()
            await self._index.clear()
            names = await asyncio.to_thread(
                lambda: [layout.recording_of(path) for path in list_recordings(self._directory)]
            )
            for name in names:
                await self._feed(name, 1.0)
            self._begun = True
            await asyncio.to_thread(self._finish_round, names)
            return len(names)

    def _changed(self) -> list[str]:
        """Recordings that may hold what was not fed: all open ones and those followed so far;
        in the first round also those sealed since the last one of an earlier run."""
        names = dict.fromkeys(
            layout.recording_of(path) for path in layout.open_paths(self._directory)
        )
        names.update(dict.fromkeys(self._positions))
        if not self._begun:
            self._begun = True
            try:
                since = self._mark.stat().st_mtime - _OVERLAP_S
            except OSError:
                since = 0.0
            for path in layout.sealed_paths(self._directory):
                with suppress(OSError):
                    # Sealing renames the file, which shows in its change time.
                    if path.stat().st_ctime >= since:
                        names[layout.recording_of(path)] = None
        return list(names)

    def _finish_round(self, names: list[str]) -> None:
        for name in names:
            position = self._positions.get(name)
            if position is not None and position.over:
                del self._positions[name]
        with suppress(OSError):
            self._mark.touch()

    async def _feed(self, name: str, share: float) -> None:
        position = self._positions.setdefault(name, _Position(Indexer(name)))
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                entries, more = await asyncio.to_thread(self._read, name, position)
            except NotFound:
                position.over = True
                return
            try:
                await self._index.add(entries)
            except StoreUnavailable:
                # Read again from the start: feeding twice does no harm.
                del self._positions[name]
                raise
            if not more:
                return
            await asyncio.sleep((loop.time() - began) * (1.0 / share - 1.0))

    def _read(self, name: str, position: _Position) -> tuple[list[AuditEntry], bool]:
        """The entries of some more events, and whether there may be others behind them."""
        path = layout.find_recording(self._directory, name)
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
            _log.warning("index.unreadable", recording=name, why=error.message)
            position.over = True
        except FileNotFoundError as error:
            raise NotFound(f"the recording {name} was moved meanwhile") from error
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
