"""Alerts: what somebody should look at now. In the store, the log, the metrics, and a webhook."""

from __future__ import annotations

from typing import Final

import structlog

from taskgate.gateway.signals import Signals
from taskgate.gateway.webhook import Webhook
from taskgate.model.break_glass import Alert
from taskgate.model.break_glass_ports import AlertStore
from taskgate.model.clock import Clock
from taskgate.model.ids import new_id

SHOWN_S: Final = 30 * 86400.0
_log = structlog.get_logger(__name__)


class Alerts:
    """Raises and lists them. What each is about is recorded before, by whoever raises it."""

    def __init__(
        self, store: AlertStore, signals: Signals, clock: Clock, webhook: Webhook | None = None
    ) -> None:
        self._store = store
        self._signals = signals
        self._clock = clock
        self._webhook = webhook

    async def sound(
        self, kind: str, text: str, *, person: str, task: str, subject: str, once: bool = False
    ) -> None:
        """Raises an alert; with `once`, one for this kind and subject whatever node sees it.

        Raises: StoreUnavailable; then nobody was told.
        """
        alert_id = f"{kind}:{subject}" if once else new_id("al")
        alert = Alert(alert_id, self._clock.now(), kind, person, task, subject, text)
        if not await self._store.add(alert):
            return
        self._signals.alert(kind)
        _log.critical("alert", kind=kind, person=person, task=task, subject=subject, text=text)
        if self._webhook is not None:
            self._webhook.send(alert)

    async def recent(self, limit: int) -> tuple[Alert, ...]:
        """Of the last 30 days, newest first. Raises: StoreUnavailable."""
        return await self._store.since(self._clock.now() - SHOWN_S, limit)
