"""A recording as it happened, line by line: what to show, and how long to wait before it. Nothing
waits here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

from taskgate.recording.format import Entry
from taskgate.recording.transcript import transcript


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `delay_s`, then show `line` (without LF; safe for a terminal)."""

    delay_s: float
    line: str


def plan_replay(
    entries: Iterable[Entry], *, speed: float = 1.0, max_idle_s: float = 2.0, from_s: float = 0.0
) -> Iterator[Step]:
    """The steps of a replay at `speed` times the real pace, no silence longer than `max_idle_s`
    (as waited); what is earlier than `from_s` after the first event is shown at once. `speed`
    infinite shows everything at once. A clock that jumped back waits for nothing.

    Raises:
        ValueError: the speed is not above zero, or the idle time below it.
    """
    if not speed > 0 or not max_idle_s >= 0:
        raise ValueError("the speed must be above zero, and the idle time not below it")
    began = before = None
    for written in transcript(entries):
        if not written.lines:
            continue
        passed = 0.0 if before is None else max(0.0, written.at - before)
        before = written.at
        began = written.at if began is None else began
        waits = isfinite(speed) and written.at - began >= from_s
        delay_s = min(passed / speed, max_idle_s) if waits else 0.0
        for position, line in enumerate(written.lines):
            yield Step(0.0 if position else delay_s, line)
