"""A recording's events, in order, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

from taskgate.model.errors import NotFound, Unreadable
from taskgate.recording import layout
from taskgate.recording.format import Entry, genesis, is_trailer, link, parse_line
from taskgate.recording.lines import open_lines

_HINT = "run `taskgate audit verify` to see what is wrong"


def read_recording(path: Path) -> Iterator[Entry]:
    """The entries of one file, open or sealed. The chain is followed; signatures are
    `recording.verify`'s. A last line that is not whole is left out: it is being written, or
    was when the gateway died.

    Raises:
        NotFound: there is no such file.
        Unreadable: an entry is not the one that was written, or one is missing before it.
    """
    name = layout.recording_of(path)
    previous: bytes | None = None
    number = 0
    try:
        with open_lines(path) as lines:
            for line in lines:
                if not line.whole or is_trailer(line.text):
                    return
                entry = parse_line(line.text)
                if previous is None:
                    previous = genesis(str(entry.facts.get("gateway", "")), name)
                number += 1
                # A recording whose very first line was lost names no gateway to begin with.
                begun = number > 1 or "gateway" in entry.facts
                if entry.number != number or (begun and link(previous, entry.body) != entry.hash):
                    raise Unreadable(
                        f"entry {number} of the recording {name} was changed, or is missing",
                        hint=_HINT,
                    )
                previous = entry.hash
                yield entry
    except FileNotFoundError as error:
        raise NotFound(f"there is no recording {name}") from error
    except OSError as error:
        raise Unreadable(f"the recording {name} cannot be read: {error.strerror}") from error


def read_session(directory: Path, recording: str) -> Iterator[Entry]:
    """The entries of the recording with this id, wherever it lies below the audit directory.

    Raises:
        NotFound: there is none.
        Unreadable: as `read_recording`.
    """
    return read_recording(layout.find_recording(directory, recording))


def list_recordings(directory: Path) -> Iterator[Path]:
    """Every recording's file: the sealed ones by day, then the open ones; the gateway's own
    log among them."""
    seen: set[str] = set()
    for path in (*layout.sealed_paths(directory), *layout.open_paths(directory)):
        # Packing keeps both forms for a moment.
        name = layout.recording_of(path)
        if name not in seen:
            seen.add(name)
            yield path
