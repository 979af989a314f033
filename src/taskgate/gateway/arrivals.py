"""How many connections may come in: not signed in at one time, and of one source a second."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from taskgate.model.limits import (
    MAX_CONNECTIONS_PER_SOURCE_PER_S,
    MAX_SOURCES_COUNTED,
    MAX_UNAUTHENTICATED,
)

_TELL_EVERY_S = 1.0


class TurnedAway:
    """One line in `log` for all that were refused within a second: a flood must not become one of
    lines. `event` names it."""

    def __init__(self, log: Any, event: str) -> None:
        self._log = log
        self._event = event
        self._count = 0

    def add(self, why: str) -> None:
        self._count += 1
        if self._count == 1:
            asyncio.get_running_loop().call_later(_TELL_EVERY_S, self._tell, why)

    def _tell(self, why: str) -> None:
        refused, self._count = self._count, 0
        self._log.warning(self._event, refused=refused, why=why)


class Arrivals:
    """Counts connections. A source may burst one second's worth (a token bucket)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._waiting = 0

    def enter(self, source: str) -> str:
        """Counts one connection in; the reason to refuse it, empty for none."""
        if self._waiting >= MAX_UNAUTHENTICATED:
            return f"{MAX_UNAUTHENTICATED} connections are signing in already"
        if not self._take(source):
            return (
                f"more than {MAX_CONNECTIONS_PER_SOURCE_PER_S} connections a second from one source"
            )
        self._waiting += 1
        return ""

    def leave(self) -> None:
        """It has signed in, or gone."""
        self._waiting -= 1

    def _take(self, source: str) -> bool:
        now = self._monotonic()
        most = float(MAX_CONNECTIONS_PER_SOURCE_PER_S)
        left, at = self._buckets.pop(source, (most, now))
        left = min(most, left + (now - at) * most)
        allowed = left >= 1
        self._buckets[source] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MAX_SOURCES_COUNTED:
            self._buckets.popitem(last=False)
        return allowed
