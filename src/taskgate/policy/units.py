"""Durations and sizes as people write them: `90s`, `1h30m`, `200MB`."""

import re

_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6})s)?(?:(\d{1,6})ms)?\Z"
)
_SIZES = {
    "": 1,
    "B": 1,
    "KB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "TB": 1_000_000_000_000,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}
_SIZE = re.compile(r"(\d{1,15}) ?([A-Za-z]*)\Z")
MAX_DURATION_S = 366 * 86_400.0


def parse_duration(value: object) -> float:
    """Seconds in `1h30m`; units are d, h, m, s and ms, largest first.

    Raises: ValueError with what to write.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration needs its unit: {value}s, {value}m or {value}h")
    match = _DURATION.match(value) if isinstance(value, str) and value.isascii() else None
    if match is None or not value:
        raise ValueError(f"{value!r} is no duration; write 30s, 15m, 4h or 1h30m")
    total = sum(
        int(number) * _UNITS_S[unit]
        for number, unit in zip(match.groups(), _UNITS_S, strict=True)
        if number
    )
    if not 0 < total <= MAX_DURATION_S:
        raise ValueError(f"{value!r} must be more than nothing and at most 366d")
    return total


def parse_size(value: object) -> int:
    """Bytes in `200MB` (powers of ten) or `64MiB` (powers of two); a bare number is bytes.

    Raises: ValueError with what to write.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.match(value) if isinstance(value, str) and value.isascii() else None
    factor = _SIZES.get(match.group(2).upper()) if match is not None else None
    if match is None or factor is None:
        raise ValueError(f"{value!r} is no size; write 200MB, 64MiB or a number of bytes")
    size = int(match.group(1)) * factor
    if size <= 0:
        raise ValueError("the size must be more than nothing")
    return size


def spell_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back, exact to a millisecond."""
    left = round(seconds * 1000)
    spelled = ""
    for unit, worth in _UNITS_S.items():
        count, left = divmod(left, round(worth * 1000))
        if count:
            spelled += f"{count}{unit}"
    return spelled or "0s"


def spell_size(size: int) -> str:
    """Bytes in the largest unit that keeps them whole."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size % _SIZES[unit] == 0 and size:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size} bytes"
