"""The gateway's records, for whoever has the right: written, read, searched, verified.

Reading is an event itself, and comes first: what cannot be recorded is not shown.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

from taskgate.gateway.indexing import Feeder
from taskgate.model.audit import AuditEntry, AuditQuery
from taskgate.model.clock import Clock
from taskgate.model.event import Event, EventKind
from taskgate.model.identity import Identity
from taskgate.model.ports import AuditIndex
from taskgate.recording.damage import Report
from taskgate.recording.format import Entry
from taskgate.recording.journal import Journal
from taskgate.recording.opening import identity_facts
from taskgate.recording.reader import read_session
from taskgate.recording.verify import verify_dir

CATCH_UP_S = 10.0


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

    async def events(self, who: Identity, session: str, after: int, most: int) -> list[Entry]:
        """Up to `most` events of a recording of this node, behind number `after`. Each page is a
        reading of its own, and recorded: otherwise one could begin at the second.

        Raises: NotFound, Unreadable, NotRecorded.
        """
        facts = {"session": session, "after": after}
        await self.log(EventKind.RECORDING_READ, who, facts)

        def read() -> list[Entry]:
            wanted = (e for e in read_session(self.journal.directory, session) if e.number > after)
            return list(islice(wanted, most))

        return await asyncio.to_thread(read)

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
