"""Where things lie below the audit directory.

::

    heads.tgr              the gateway-wide chain; heads-000001.tgr ... are its full parts
    open/ID.tgr            recordings under way
    YYYY/MM/DD/ID.tgr      sealed, by the UTC day of their opening (or ID.tgr.zst)
    YYYY/MM/DD/ID.torn     what recovery had to cut off, kept as evidence
    lock                   held by the one gateway that writes here
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from taskgate.model.errors import NotFound
from taskgate.recording.format import valid_name

SUFFIX = ".tgr"
PACKED_SUFFIX = ".tgr.zst"
EVIDENCE_SUFFIX = ".torn"
OPEN_DIR = "open"
HEADS_FILE = "heads.tgr"
LOCK_FILE = "lock"
# Sealing and packing each give a recording another place, once.
MOVES = 2
_DAY = re.compile(r"\d{4}/\d{2}/\d{2}")
_HEADS_PART = re.compile(r"heads-(\d{6,})\.tgr")


def day_of(at: float) -> str:
    """Seconds since the epoch -> `YYYY/MM/DD`, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y/%m/%d")


def sealed_name(recording: str, opened_at: float) -> str:
    """Where a recording lies once it is sealed, below the audit directory; not yet packed."""
    return f"{day_of(opened_at)}/{recording}{SUFFIX}"


def open_path(directory: Path, recording: str) -> Path:
    return directory / OPEN_DIR / f"{recording}{SUFFIX}"


def packed_path(sealed: Path) -> Path:
    return sealed.with_name(sealed.name.removesuffix(SUFFIX) + PACKED_SUFFIX)


def recording_of(path: Path) -> str:
    """The id that a recording's file name claims."""
    return recording_named(path.name)


def recording_named(file_name: str) -> str:
    """The same, of the name alone."""
    return file_name.removesuffix(".zst").removesuffix(SUFFIX)


def heads_paths(directory: Path) -> list[Path]:
    """The files of the chain of heads that are there, oldest first."""
    full = sorted(
        (int(found[1]), path)
        for path in directory.glob("heads-*.tgr")
        if (found := _HEADS_PART.fullmatch(path.name))
    )
    current = directory / HEADS_FILE
    return [path for _, path in full] + ([current] if current.exists() else [])


def heads_part(directory: Path, number: int) -> Path:
    """The name that the chain's current file gets when it is full, counted from 1."""
    return directory / f"heads-{number:06}{SUFFIX}"


def open_paths(directory: Path) -> list[Path]:
    """The recordings under way (or left so by a crash), by name."""
    return sorted((directory / OPEN_DIR).glob(f"*{SUFFIX}"))


def sealed_paths(directory: Path) -> Iterator[Path]:
    """The recordings that are sealed, oldest day first, by name within a day."""
    for day in day_directories(directory):
        for path in sorted(day.iterdir()):
            if is_recording(path.name):
                yield path


def day_directories(directory: Path) -> list[Path]:
    """The days that hold recordings, oldest first."""
    return sorted(
        day
        for day in directory.glob("[0-9]*/[0-9]*/[0-9]*")
        if day.is_dir() and _DAY.fullmatch(day.relative_to(directory).as_posix())
    )


def days_from(directory: Path, since: float) -> Iterator[Path]:
    """The days from that of `since` on, newest first, and in any case the newest two; older
    folders are not even looked at."""
    first = day_of(since)
    taken = 0
    for year in _numbered(directory):
        for month in _numbered(year):
            for day in _numbered(month):
                name = day.relative_to(directory).as_posix()
                if not _DAY.fullmatch(name):
                    continue
                if taken >= 2 and name < first:
                    return
                taken += 1
                yield day


def is_recording(name: str) -> bool:
    """Whether a file of a day is a recording, by its name."""
    return name.endswith((SUFFIX, PACKED_SUFFIX))


def _numbered(directory: Path) -> list[Path]:
    """Folders whose names are numbers, the greatest first."""
    try:
        found = [path for path in directory.iterdir() if path.name.isdecimal() and path.is_dir()]
    except OSError:
        return []
    return sorted(found, reverse=True)


def find_recording(directory: Path, recording: str) -> Path:
    """The file of a recording, open or sealed.

    Raises:
        NotFound: there is none, or the id cannot be one.
    """
    if valid_name(recording):
        candidate = open_path(directory, recording)
        if candidate.exists():
            return candidate
        # Newest first: it is what people ask for.
        for day in reversed(day_directories(directory)):
            for suffix in (SUFFIX, PACKED_SUFFIX):
                candidate = day / f"{recording}{suffix}"
                if candidate.exists():
                    return candidate
        # It may have been sealed while the days were looked through.
    raise NotFound("there is no recording of that session", hint="list them: taskgate sessions")
