"""The gateway's records, for whoever has the right: written, read, searched, verified.

Reading is an event itself, and comes first: what cannot be recorded is not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from taskgate.gateway.indexing import Feeder
from taskgate.model.audit import AuditEntry, AuditQuery
from taskgate.model.clock import Clock
from taskgate.model.errors import NotFound
from taskgate.model.event import Event, EventKind
from taskgate.model.identity import Identity
from taskgate.model.limits import MAX_PAGE_BYTES
from taskgate.model.ports import AuditIndex
from taskgate.recording.damage import Report
from taskgate.recording.format import Entry
from taskgate.recording.journal import Journal
from taskgate.recording.kept_files import KeptFile, list_files, of_file, without_content
from taskgate.recording.layout import PACKED_SUFFIX, find_recording
from taskgate.recording.opening import identity_facts
from taskgate.recording.reader import Follower, read_session
from taskgate.recording.verify import verify_dir

CATCH_UP_S = 10.0
FOLLOW_S = 0.2
# Events that are read at once where there may be many, and large ones.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and whether more come behind them."""

    entries: list[Entry]
    more: bool


class Records:
    """One node's journal, and the index over the journals of all nodes."""

    def __init__(self, journal: Journal, index: AuditIndex, feeder: Feeder, clock: Clock) -> None:
        self.journal = journal
        self._index = index
        self._feeder = feeder
        self._clock = clock

    async def log(self, kind: EventKind, who: Identity | None, facts: dict[str, Any]) -> None:
        """Puts one event into the gateway's own log, durably, before whatever it tells of.

        Raises: NotRecorded; then it must not happen.
        """
        whole = (identity_facts(who) if who is not None else {}) | facts
        self.journal.gateway_log.append(Event(kind, self._clock.now(), whole))
        await self.journal.gateway_log.settle()

    async def events(
        self, who: Identity, session: str, after: int, most: int, *, contents: bool = True
    ) -> Page:
        """Up to `most` events of a recording of this node, behind number `after`. Each page is a
        reading of its own, and recorded: otherwise one could begin at the second. Without
        `contents`, those of files are left out.

        Raises: NotFound, Unreadable, NotRecorded.
        """
        facts = {"session": session, "after": after}
        await self.log(EventKind.RECORDING_READ, who, facts)

        def read() -> Page:
            found: list[Entry] = []
            bytes_ = 0
            for entry in read_session(self.journal.directory, session):
                if entry.number <= after:
                    continue
                if len(found) >= most or bytes_ > MAX_PAGE_BYTES:
                    return Page(found, more=True)
                found.append(entry if contents else without_content(entry))
                bytes_ += len(found[-1].body)
            return Page(found, more=False)

        return await asyncio.to_thread(read)

    async def follow(
        self, who: Identity, session: str, after: int, go_on: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[list[Entry]]:
        """The events of a recording of this node behind number `after`, and those that come, until
        it ends. That it is followed is recorded once, before the first. Nothing new is an empty
        list, a few times a second; `go_on` says each time whether the reader may go on.

        Raises: NotFound, Unreadable, NotRecorded.
        """
        facts = {"session": session, "after": after, "live": True}
        await self.log(EventKind.RECORDING_READ, who, facts)
        follower = self._follower(session)
        if follower is None:
            sealed = read_session(self.journal.directory, session)
            while found := await asyncio.to_thread(lambda: list(islice(sealed, _AT_ONCE))):
                yield [entry for entry in found if entry.number > after]
            return
        try:
            while await go_on():
                # Asked first: what was written before the end has to be read after it.
                live = self.journal.is_live(session)
                found = await asyncio.to_thread(follower.read)
                yield [entry for entry in found if entry.number > after]
                if follower.sealed or (not found and not live):
                    return
                if not found:
                    await asyncio.sleep(FOLLOW_S)
        finally:
            follower.close()

    def _follower(self, session: str) -> Follower | None:
        """None for a recording that is packed, and so comes to nothing more. Raises: NotFound."""
        path = find_recording(self.journal.directory, session)
        while not path.name.endswith(PACKED_SUFFIX):
            try:
                return Follower(path)
            except NotFound:
                # It was sealed or packed, and so moved, at this very moment.
                moved = find_recording(self.journal.directory, session)
                if moved == path:
                    raise
                path = moved
        return None

    async def kept_files(self, who: Identity, session: str) -> list[KeptFile]:
        """The files whose contents a recording of this node has.

        Raises: NotFound, Unreadable, NotRecorded.
        """
        await self.log(EventKind.RECORDING_READ, who, {"session": session, "files": True})
        return await asyncio.to_thread(
            lambda: list_files(read_session(self.journal.directory, session))
        )

    async def kept_file(
        self, who: Identity, session: str, request: int
    ) -> AsyncGenerator[list[Entry]]:
        """The events of one file, some at a time.

        Raises: NotFound, Unreadable, NotRecorded.
        """
        await self.log(EventKind.RECORDING_READ, who, {"session": session, "file": request})
        entries = of_file(read_session(self.journal.directory, session), request)
        while found := await asyncio.to_thread(lambda: list(islice(entries, _AT_ONCE))):
            yield found

    async def search(self, who: Identity, query: AuditQuery) -> tuple[AuditEntry, ...]:
        """What the records say, everything up to now included.

        Raises: NotRecorded, StoreUnavailable, TimeoutError where the index is far behind.
        """
        asked = {
            name: value
            for name in ("who", "task", "resource", "session", "verb", "object", "kind", "text")
            if (value := getattr(query, name))
        }
        await self.log(
            EventKind.AUDIT_SEARCHED,
            who,
            {"asked": asked, "since": query.since, "until": query.until},
        )
        async with asyncio.timeout(CATCH_UP_S):
            await self._feeder.catch_up()
        return await self._index.search(query)

    async def catch_up(self, within_s: float) -> None:
        """Brings the index up to now. Raises: TimeoutError, StoreUnavailable, OSError."""
        async with asyncio.timeout(within_s):
            await self._feeder.catch_up()

    async def verify(self, who: Identity) -> Report:
        """Whether this node's recordings are what was written.

        Raises: NotRecorded, OSError.
        """
        await self.log(EventKind.RECORDING_READ, who, {"name": "all, to verify them"})
        public_key = self.journal.key.public_key()
        return await asyncio.to_thread(verify_dir, self.journal.directory, public_key)
