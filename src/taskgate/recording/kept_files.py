"""Files put together again from a recording that kept their contents: `file.*` events in, what is
to be written where out. Nothing is written here.

Requests count in the order in which they were sent, as hosts do them: of two that write one place,
the later stands.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from taskgate.model.errors import OverLimit, Unreadable
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_REBUILT_FILE_BYTES
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry

Way = Literal["read", "written"]

OF_FILES = frozenset(
    {
        EventKind.FILE_OPENED.value,
        EventKind.FILE_CONTENT.value,
        EventKind.FILE_RESIZED.value,
        EventKind.FILE_NOT_WRITTEN.value,
    }
)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What went one way through a file that was opened by `request`. `bytes` went; they are
    `sha256` (hex, empty where they did not go in order) from `first` on. `over`: it was closed."""

    request: int
    path: str
    way: Way
    bytes: int = 0
    sha256: str = ""
    first: int = 0
    over: bool = False


def list_files(entries: Iterable[Entry]) -> list[KeptFile]:
    """The files of a recording whose contents it has, in the order of their opening."""
    opened: dict[int, dict[str, Any]] = {}
    counts: dict[int, dict[Way, int]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for entry in entries:
        request = _whole(entry.facts, "request")
        if entry.kind == EventKind.FILE_OPENED:
            opened[request] = entry.facts
            counts[request] = {}
        elif request not in opened:
            continue
        elif entry.kind == EventKind.FILE_CONTENT:
            way = _way(entry.facts)
            counts[request][way] = counts[request].get(way, 0) + _whole(entry.facts, "bytes")
        elif entry.kind == EventKind.REQUEST_FINISHED:
            ended[request] = entry.facts
    return [
        _kept(request, str(facts.get("path", "")), way, count, ended.get(request))
        for request, facts in opened.items()
        for way, count in (counts[request] or _nothing(facts)).items()
    ]


def _nothing(opened: dict[str, Any]) -> dict[Way, int]:
    """A file through which nothing went: an empty one was read, or made."""
    return {"read": 0} if "read" in (opened.get("ways") or ()) else {"written": 0}


def _kept(request: int, path: str, way: Way, count: int, ended: dict[str, Any] | None) -> KeptFile:
    if ended is None:
        return KeptFile(request, path, way, count)
    hash_ = str(ended.get(f"{way}_sha256", ""))
    return KeptFile(request, path, way, count, hash_, _whole(ended, f"{way}_from"), over=True)


@dataclass(frozen=True, slots=True)
class Put:
    """These bytes belong at `offset`."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """The file has that size from here on; what it gains is zero bytes."""

    size: int


class Rebuilding:
    """One way of one file. `size` is the file's so far, `bytes` what has been put. `append`: hosts
    write at the file's end, and where that was only the client has said, if anybody."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._known = Spans()
        self.append = False
        self._emptied = False
        self.size = 0
        self.bytes = 0
        # Whether the file lost what had been written.
        self.shrunk = False
        # What the host did not take: offset and bytes.
        self.failed: list[tuple[int, int]] = []
        self._begun = False

    def feed(self, entry: Entry) -> Put | Cut | None:
        """Raises: Unreadable for an event that is none, OverLimit."""
        facts = entry.facts
        if entry.kind == EventKind.FILE_OPENED:
            self.append = bool(facts.get("append"))
            self._emptied = bool(facts.get("empty"))
        elif entry.kind == EventKind.FILE_CONTENT and _way(facts) == self._way:
            return self._content(_whole(facts, "offset"), facts)
        elif entry.kind == EventKind.FILE_RESIZED and self._way == "written":
            size = self._bounded(_whole(facts, "size"))
            self.shrunk = self.shrunk or size < self.size
            self.size, self._begun = size, True
            self._known.cut(self.size)
            return Cut(self.size)
        elif entry.kind == EventKind.FILE_NOT_WRITTEN and self._way == "written":
            self.failed.append((_whole(facts, "offset"), _whole(facts, "bytes")))
        return None

    def missing(self) -> list[tuple[int, int]]:
        """Where the file has bytes that did not pass, which are zero here: start and end. Of one
        that was empty when it was opened there are none: such places are zero at the host too."""
        return [] if self._emptied else self._known.gaps(self.size)

    def _content(self, offset: int, facts: dict[str, Any]) -> Put:
        data = content_of(facts)
        if len(data) != _whole(facts, "bytes"):
            raise Unreadable("a file's content is not whole in the recording")
        if self.append and self._way == "written" and self._begun:
            offset = self.size
        end = self._bounded(offset + len(data))
        self._begun = True
        self.bytes += len(data)
        self.size = max(self.size, end)
        self._known.add(offset, end)
        return Put(offset, data)

    def _bounded(self, end: int) -> int:
        if end > MAX_REBUILT_FILE_BYTES:
            raise OverLimit(
                f"the file goes as far as byte {end}, and more than {MAX_REBUILT_FILE_BYTES} bytes"
                " are not put together",
                hint="its pieces are in the recording: taskgate replay SESSION --json",
            )
        return end


@dataclass(slots=True)
class Spans:
    """Parts of a file, as few as there may be: starts and ends, in order, apart from each other."""

    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        # Those that touch it become one with it.
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def cut(self, size: int) -> None:
        """Nothing is left beyond `size`."""
        keep = bisect_left(self._starts, size)
        del self._starts[keep:], self._ends[keep:]
        if self._ends:
            self._ends[-1] = min(self._ends[-1], size)

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """What lies between them, up to `size`."""
        edges = [0, *(edge for pair in zip(self._starts, self._ends, strict=True) for edge in pair)]
        pairs = zip(edges[::2], [*edges[1::2], size], strict=True)
        return [(start, end) for start, end in pairs if start < end]


def of_file(entries: Iterable[Entry], request: int) -> Iterator[Entry]:
    """Those that are about one file; its end is among them, and need not be the last."""
    for entry in entries:
        if entry.facts.get("request") == request and (
            entry.kind in OF_FILES or entry.kind == EventKind.REQUEST_FINISHED
        ):
            yield entry


def without_content(entry: Entry) -> Entry:
    """Of a file's content, how much it is and where; all else as it is."""
    if entry.kind != EventKind.FILE_CONTENT:
        return entry
    facts = {name: fact for name, fact in entry.facts.items() if name not in ("text", "base64")}
    return replace(entry, facts=facts, body=b"")


def _way(facts: dict[str, Any]) -> Way:
    match facts.get("way"):
        case "read":
            return "read"
        case "written":
            return "written"
        case other:
            raise Unreadable(f"a file's content went no known way: {other!r}")


def _whole(facts: dict[str, Any], name: str) -> int:
    value = facts.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return 0
    return value
