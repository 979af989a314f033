"""Hours of a task: `Mon-Fri 08:00-19:00 Europe/Berlin`, across midnight and clock changes.

A window is written in the wall-clock time of its zone and starts on the day that is named;
`Fri 22:00-06:00` ends on Saturday. Where clocks change, the narrower reading counts:

- a time that is skipped (spring) is the moment of the change itself, so a window that lies wholly
  inside the skipped hour does not open that day;
- a time that happens twice (autumn): a window starts at the second and ends at the first, so that
  it is never open at an hour that might be outside; one that lies wholly inside the repeated hour
  is open the first time round.

Zones are those of the IANA database (`zoneinfo`, with `tzdata` where the system has none).
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from taskgate.policy.vocabulary import nearest

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_NUMBER = {day.lower(): number for number, day in enumerate(DAYS)}
_TIMES = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})\Z")
_MINUTES_A_DAY = 24 * 60
# A weekly schedule without a gap in so many days has none at all.
_HORIZON_DAYS = 9


@dataclass(frozen=True, slots=True)
class Window:
    """One range of one line of hours: minutes from local midnight, on the days it starts.

    `end` is past `_MINUTES_A_DAY` where the window reaches into the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Hours:
    """Every window of a task; open where any of them is. `text` is as written."""

    text: tuple[str, ...]
    windows: tuple[Window, ...]

    def spans(self, now: float) -> tuple[tuple[float, float], ...]:
        """Open spans from the day before `now` on, merged and in order. Epoch seconds."""
        return _spans(self, int(now) // 3600 * 3600)


@lru_cache(maxsize=1024)
def _spans(hours: Hours, since: int) -> tuple[tuple[float, float], ...]:
    # Asked for every statement, and the same for an hour.
    found: list[tuple[float, float]] = []
    for window in hours.windows:
        today = datetime.fromtimestamp(since, window.zone).date()
        for offset in range(-2, _HORIZON_DAYS + 1):
            span = _span(window, today + timedelta(days=offset))
            if span is not None:
                found.append(span)
    merged: list[tuple[float, float]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


class Timed(Protocol):
    """Whatever has hours: a task."""

    @property
    def hours(self) -> Hours | None: ...


def open_at(task: Timed, now: float) -> bool:
    """Whether `now` (epoch seconds) lies within the task's hours. No hours are always open."""
    hours = task.hours
    if hours is None:
        return True
    # A clock that cannot be read opens nothing.
    return _readable(now) and any(start <= now < end for start, end in hours.spans(now))


def closes_at(task: Timed, now: float) -> float | None:
    """When the present window ends, epoch seconds; None where it never does.

    Outside the hours it is `now` itself: already over.
    """
    hours = task.hours
    if hours is None:
        return None
    if not _readable(now):
        return now
    for start, end in hours.spans(now):
        if start <= now < end:
            return None if end - now > (_HORIZON_DAYS - 1) * 86_400 else end
    return now


def opens_at(task: Timed, now: float) -> float | None:
    """When the hours next open: `now` where they are open; None where they do not within days."""
    hours = task.hours
    if hours is None or open_at(task, now):
        return now
    if not _readable(now):
        return None
    return next((start for start, _ in hours.spans(now) if start > now), None)


def _readable(now: float) -> bool:
    return math.isfinite(now) and 0 <= now < 250_000_000_000


def _span(window: Window, day: date) -> tuple[float, float] | None:
    """The window that starts on `day`, or None."""
    if day.weekday() not in window.days:
        return None
    first = _moment(day, window.start, window.zone, second_time=False)
    end = _moment(day, window.end, window.zone, second_time=False)
    start = _moment(day, window.start, window.zone, second_time=True)
    if start >= end:
        start = first
    return (start, end) if start < end else None


def _moment(day: date, minutes: int, zone: ZoneInfo, *, second_time: bool) -> float:
    """Epoch seconds of a wall-clock time; for one that is skipped, the change itself."""
    extra, minutes = divmod(minutes, _MINUTES_A_DAY)
    wall = datetime.combine(day + timedelta(days=extra), time(minutes // 60, minutes % 60))
    early = wall.replace(tzinfo=zone, fold=0)
    late = wall.replace(tzinfo=zone, fold=1)
    first, second = early.timestamp(), late.timestamp()
    if first <= second:
        return second if second_time else first
    # Skipped (PEP 495): fold=1 reads before the change, fold=0 after it. Find the change.
    low, high = second, first
    before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def parse_hours(texts: list[str]) -> Hours:
    """Hours from their lines: days (optional), times (optional), zone (UTC if left out).

    Raises: ValueError with what to write.
    """
    if not texts:
        raise ValueError("no hours are given, so the task would never open")
    windows: list[Window] = []
    for text in texts:
        for window in _parse_line(text):
            if window in windows:
                raise ValueError(f"{text!r} repeats hours that are given already")
            windows.append(window)
    return Hours(tuple(texts), tuple(windows))


def _parse_line(text: str) -> list[Window]:
    words = text.split()
    days = frozenset(range(7))
    if words and words[0][0].isalpha() and _looks_like_days(words[0]):
        days = _parse_days(words.pop(0))
    ranges = [(0, _MINUTES_A_DAY)]
    given = bool(words) and words[0][0].isdigit()
    if given:
        ranges = [_parse_range(part, text) for part in words.pop(0).split(",")]
    zone = _parse_zone(words.pop(0)) if words else ZoneInfo("UTC")
    if words or not text.strip() or (not given and len(days) == 7):
        raise ValueError(f"{text!r} is not understood; write Mon-Fri 08:00-19:00 Europe/Berlin")
    return [Window(days, start, end, zone) for start, end in ranges]


def _looks_like_days(word: str) -> bool:
    # Zone names have a slash or are upper case; everything else in first place is meant as days.
    return "/" not in word and word.upper() not in ("UTC", "GMT")


def _parse_days(word: str) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        start, end = _day(first), _day(last if dash else first)
        found.update((start + i) % 7 for i in range((end - start) % 7 + 1))
    return frozenset(found)


def _day(word: str) -> int:
    number = _DAY_NUMBER.get(word.lower())
    if number is None:
        raise ValueError(f"{word!r} is no day; {nearest(word[:3], DAYS)}")
    return number


def _parse_range(part: str, text: str) -> tuple[int, int]:
    match = _TIMES.match(part) if part.isascii() else None
    if match is None:
        raise ValueError(f"{part!r} in {text!r} is no time range; write 08:00-19:00")
    h1, m1, h2, m2 = (int(group) for group in match.groups())
    start, end = h1 * 60 + m1, h2 * 60 + m2
    if m1 > 59 or m2 > 59 or start >= _MINUTES_A_DAY or end > _MINUTES_A_DAY:
        raise ValueError(f"{part!r} in {text!r} is no time of day; the day ends at 24:00")
    if start == end:
        raise ValueError(f"{part!r} in {text!r} never opens; a whole day is 00:00-24:00")
    return (start, end) if start < end else (start, end + _MINUTES_A_DAY)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # `localtime` would mean another zone on every machine.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _parse_zone(word: str) -> ZoneInfo:
    known = _zones()
    if word not in known:
        raise ValueError(f"{word!r} is no time zone; {_nearest_zone(word, known)}")
    return ZoneInfo(word)


def _nearest_zone(word: str, known: frozenset[str]) -> str:
    hint = nearest(word, known)
    # All of the six hundred would be no help.
    return hint if hint.startswith("did") else "write it as Europe/Berlin or America/New_York"


def spell_moment(at: float) -> str:
    """A moment for people: UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
