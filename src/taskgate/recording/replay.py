"""A recording as it happened: what to show, and how long to wait before it. Nothing waits here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

from taskgate.recording.format import Entry
from taskgate.recording.render import render_entry


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `delay_s`, then show `line` (without LF; safe for a terminal)."""

    delay_s: float
    line: str


def plan_replay(
    entries: Iterable[Entry], *, speed: float = 1.0, max_idle_s: float = 2.0
) -> Iterator[Step]:
    """The steps of a replay at `speed` times the real pace, no silence longer than `max_idle_s`
    (as waited). `speed` infinite shows everything at once. A clock that jumped back waits for
    nothing.

    Raises:
        ValueError: the speed is not above zero, or the idle time below it.
    """
    if not speed > 0 or not max_idle_s >= 0:
        raise ValueError("the speed must be above zero, and the idle time not below it")
    before: float | None = None
    for entry in entries:
        passed = 0.0 if before is None else max(0.0, entry.at - before)
        before = entry.at
        delay_s = min(passed / speed, max_idle_s) if isfinite(speed) else 0.0
        for position, line in enumerate(render_entry(entry)):
            yield Step(0.0 if position else delay_s, line)
