"""A recording's events, in order, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

from taskgate.model.errors import NotFound, Unreadable
from taskgate.model.limits import MAX_EVENT_BYTES
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
    chain = _Chain(layout.recording_of(path))
    try:
        with open_lines(path) as lines:
            for line in lines:
                if not line.whole or is_trailer(line.text):
                    return
                yield chain.take(line.text)
    except FileNotFoundError as error:
        raise NotFound(f"there is no recording {chain.name}") from error
    except OSError as error:
        raise Unreadable(f"the recording {chain.name} cannot be read: {error.strerror}") from error


class Follower:
    """A recording that is still being written, read as far as it goes. Its file may be moved
    meanwhile, as sealing does."""

    def __init__(self, path: Path) -> None:
        """Raises: NotFound, Unreadable."""
        self._chain = _Chain(layout.recording_of(path))
        self._rest = b""
        self.sealed = False
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"there is no recording {self._chain.name}") from error
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from error

    def read(self) -> list[Entry]:
        """What came since, of about a megabyte at a time. Raises: Unreadable."""
        try:
            data = self._rest + (self._file.read(MAX_EVENT_BYTES) or b"")
        except OSError as error:
            raise Unreadable(f"{self._chain.name} cannot be read: {error.strerror}") from error
        *lines, self._rest = data.split(b"\n")
        found: list[Entry] = []
        for line in lines:
            if is_trailer(line):
                self.sealed = True
                break
            found.append(self._chain.take(line))
        return found

    def close(self) -> None:
        self._file.close()


class _Chain:
    """Each line follows the one before it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._previous: bytes | None = None
        self._number = 0

    def take(self, line: bytes) -> Entry:
        """Raises: Unreadable."""
        entry = parse_line(line)
        if self._previous is None:
            self._previous = genesis(str(entry.facts.get("gateway", "")), self.name)
        self._number += 1
        # A recording whose very first line was lost names no gateway to begin with.
        begun = self._number > 1 or "gateway" in entry.facts
        if entry.number != self._number or (
            begun and link(self._previous, entry.body) != entry.hash
        ):
            raise Unreadable(
                f"entry {self._number} of the recording {self.name} was changed, or is missing",
                hint=_HINT,
            )
        self._previous = entry.hash
        return entry


def read_session(directory: Path, recording: str) -> Iterator[Entry]:
    """The entries of the recording with this id, wherever it lies below the audit directory, and
    though it is moved between the look and the opening.

    Raises:
        NotFound: there is none.
        Unreadable: as `read_recording`.
    """
    moved = 0
    while True:
        path = layout.find_recording(directory, recording)
        try:
            # Only its opening can find nothing: an open file stays what it is.
            yield from read_recording(path)
            return
        except NotFound:
            moved += 1
            if moved > layout.MOVES:
                raise


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
