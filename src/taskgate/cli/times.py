"""Durations and moments as people write them on a command line."""

from __future__ import annotations

import datetime
import re
import time

from taskgate.cli.exits import Exit, stop

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_SPAN_S = 366 * 86400


def seconds_of(text: str) -> float:
    """`90s`, `30m`, `1h`, `1h30m`, `2d` -> seconds. Raises: Stop."""
    compact = text.strip().lower().replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        stop(f"{text!r} is no duration", Exit.USAGE, hint="write 30m, 1h, 1h30m or 2d")
    total = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if not 0 < total <= MAX_SPAN_S:
        stop(f"{text!r} is not between 1s and 366d", Exit.USAGE)
    return total


def moment_of(text: str, now: float | None = None) -> float:
    """A moment in local time, or a while ago -> seconds since the epoch.

    `2h` (ago), `today`, `yesterday`, `tuesday` (the last one, at midnight), `2026-03-14`,
    `2026-03-14T09:30`, with an offset if wanted. Raises: Stop.
    """
    present = time.time() if now is None else now
    word = text.strip().lower()
    midnight = datetime.datetime.fromtimestamp(present).replace(  # noqa: DTZ006 - local time is meant
        hour=0, minute=0, second=0, microsecond=0
    )
    if word == "now":
        return present
    if word == "today":
        return midnight.timestamp()
    if word == "yesterday":
        return (midnight - datetime.timedelta(days=1)).timestamp()
    days = [day for day in _WEEKDAYS if len(word) >= 3 and day.startswith(word)]
    if days:
        back = (midnight.weekday() - _WEEKDAYS.index(days[0])) % 7
        return (midnight - datetime.timedelta(days=back)).timestamp()
    if _PART.match(word):
        return present - seconds_of(word)
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        stop(
            f"{text!r} is no moment",
            Exit.USAGE,
            hint="write 2h (ago), today, tuesday, 2026-03-14 or 2026-03-14T09:30",
        )


def day_of(text: str, now: float | None = None) -> tuple[float, float]:
    """The whole day in local time that holds a moment as `moment_of` reads it: its first second and
    the next day's, since the epoch. Raises: Stop."""
    moment = datetime.datetime.fromtimestamp(moment_of(text, now))  # noqa: DTZ006 - local time
    first = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    # By the calendar: a day may have 23 or 25 hours.
    return first.timestamp(), (first + datetime.timedelta(days=1)).timestamp()
