"""The gateway's standing duties, and whether it is fit for work."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from taskgate.gateway.break_glass import BreakGlasses
from taskgate.gateway.foundation import Foundation
from taskgate.gateway.indexing import Feeder
from taskgate.gateway.sessions import Sessions
from taskgate.gateway.signals import Readiness, Signals, readiness
from taskgate.gateway.tls import ListenerTls
from taskgate.identity.grants import Grants
from taskgate.model.errors import BadConfig, NotRecorded, StoreUnavailable

MARK_EVERY_S = 60.0
LAPSE_EVERY_S = 60.0
RENEW_EVERY_S = 3600.0
GAUGE_EVERY_S = 15.0
LOOK_EVERY_S = 1.0
REVIEWS_EVERY_S = 5.0
_log = structlog.get_logger(__name__)
Duty = Callable[[], Coroutine[Any, Any, None]]


class Watchman:
    """Duties that run as long as the gateway does. None of them may end."""

    def __init__(
        self,
        foundation: Foundation,
        grants: Grants,
        sessions: Sessions,
        feeder: Feeder,
        tls: tuple[ListenerTls, ...],
        signals: Signals,
        break_glasses: BreakGlasses,
    ) -> None:
        self._foundation = foundation
        self._grants = grants
        self._sessions = sessions
        self._feeder = feeder
        self._tls = tls
        self._signals = signals
        self._break_glasses = break_glasses
        self._draining = False
        self._one_look = asyncio.Lock()
        self._looked: tuple[float, Readiness] | None = None

    @property
    def duties(self) -> dict[str, Duty]:
        """Each by its name; to be run as a task."""
        return {
            "sweep sessions": self._sessions.watch,
            "mark recordings": self._mark,
            "bury what has lapsed": self._lapse,
            "follow the policy": self._foundation.policies.follow,
            "feed the index": self._feeder.follow,
            "renew certificates": self._renew,
            "look after the gauge": self._gauge,
            "look after reviews": self._reviews,
        }

    def drain(self) -> None:
        """From now on `/readyz` says no."""
        self._draining = True

    async def ready(self) -> Readiness:
        """Whether the store answers, recordings can be written, and there is a policy. At most one
        look a second, however often it is asked: anybody may ask."""
        if self._draining:
            return Readiness({"draining": "the gateway is being stopped"})
        async with self._one_look:
            at = self._foundation.state.clock.monotonic()
            if self._looked is None or at - self._looked[0] >= LOOK_EVERY_S:
                self._looked = (at, await self._look())
            return self._looked[1]

    async def _look(self) -> Readiness:
        found = await readiness(
            {
                "store": self._foundation.state.store.ready,
                "revocations": self._sighted,
                "recording": self._writable,
                "policy": self._loaded,
            }
        )
        for name, why in found.faults.items():
            _log.warning("gateway.not_ready", part=name, why=why)
        return found

    def renew(self) -> None:
        """Takes up new certificates now; a bad one is logged, and the old one serves on."""
        for tls in self._tls:
            try:
                if tls.refresh(self._foundation.state.clock.now()):
                    _log.info("tls.renewed")
            except BadConfig as error:
                _log.error("tls.not_renewed", why=error.message)

    async def _sighted(self) -> None:
        if self._grants.blind:
            raise StoreUnavailable("revocations cannot be followed")

    async def _loaded(self) -> None:
        if not self._foundation.policies.loaded:
            raise BadConfig("no policy has been applied yet")

    async def _writable(self) -> None:
        directory = self._foundation.journal.directory

        def probe() -> None:
            with tempfile.NamedTemporaryFile(dir=directory, prefix=".probe-") as file:
                file.write(b"\0" * 4096)
                file.flush()
                os.fsync(file.fileno())

        await asyncio.to_thread(probe)

    async def _gauge(self) -> None:
        while True:
            self._signals.ready.set(int((await self.ready()).ready))
            await asyncio.sleep(GAUGE_EVERY_S)

    async def _reviews(self) -> None:
        while True:
            try:
                waiting, overdue = await self._break_glasses.look()
                self._signals.reviews_open.set(waiting)
                self._signals.reviews_overdue.set(overdue)
            except StoreUnavailable as error:
                _log.warning("reviews.not_looked_at", why=error.message)
            await asyncio.sleep(REVIEWS_EVERY_S)

    async def _mark(self) -> None:
        journal, clock = self._foundation.journal, self._foundation.state.clock
        while True:
            await asyncio.sleep(MARK_EVERY_S)
            try:
                changed = journal.checkpoint(clock.now())
            except NotRecorded as error:
                self._signals.recording_errors.inc()
                _log.error("recording.not_marked", why=error.message)
                continue
            for recording in changed:
                _log.error("recording.changed", recording=recording)
                self._sessions.terminate(recording, "its recording was changed by somebody else")

    async def _lapse(self) -> None:
        while True:
            await asyncio.sleep(LAPSE_EVERY_S)
            await self.bury()

    async def bury(self) -> None:
        """Buries what has lapsed, now."""
        try:
            await self._grants.lapse()
        except StoreUnavailable as error:
            _log.warning("grants.not_lapsed", why=error.message)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            await asyncio.to_thread(self.renew)
