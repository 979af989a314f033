"""A recording as lines to read, terminals among them; where a text occurs in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from taskgate.model.event import EventKind
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry
from taskgate.recording.render import render_entry
from taskgate.recording.safe_text import safe_line
from taskgate.recording.screen_text import ScreenText


@dataclass(frozen=True, slots=True)
class Written:
    """Lines that belong together, at a time (seconds since the epoch); safe for a terminal."""

    at: float
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a text occurs: `offset_s` after the recording's first event."""

    offset_s: float
    line: str


def typed_text(facts: dict[str, Any]) -> str:
    """What a `terminal.input` tells, in a line."""
    hidden = facts.get("hidden")
    text = safe_line(content_of(facts).decode("utf-8", "replace"))
    kept = [f"typed: {text}"] if text else []
    if hidden:
        kept.append(f"({safe_line(str(hidden))} bytes typed and not shown)")
    return "  ".join(kept)


class Transcript:
    """Events as lines, in order; what terminals showed begins with `|`."""

    def __init__(self) -> None:
        self._screens: dict[str, ScreenText] = {}

    def lines(self, entry: Entry) -> list[str]:
        request = safe_line(str(entry.facts.get("request")))
        if entry.kind == EventKind.TERMINAL_OUTPUT:
            screen = self._screens.setdefault(request, ScreenText())
            return _shown(request, screen.feed(content_of(entry.facts)))
        if entry.kind == EventKind.TERMINAL_INPUT:
            return [f"    [{request}] {typed_text(entry.facts)}"]
        lines = render_entry(entry)
        if entry.kind == EventKind.REQUEST_FINISHED and request in self._screens:
            lines = [*_shown(request, self._screens.pop(request).end()), *lines]
        return lines

    def end(self) -> list[str]:
        """What was not over yet."""
        left = [line for key, one in self._screens.items() for line in _shown(key, one.end())]
        self._screens.clear()
        return left


def transcript(entries: Iterable[Entry]) -> Iterator[Written]:
    """Every event, and what terminals showed."""
    found = Transcript()
    last = 0.0
    for entry in entries:
        last = entry.at
        yield Written(entry.at, found.lines(entry))
    yield Written(last, found.end())


def _shown(request: str, lines: list[str]) -> list[str]:
    return [f"    [{request}] | {safe_line(line)}" for line in lines]


def find(entries: Iterable[Entry], text: str) -> Iterator[Moment]:
    """Where `text` occurs, in whatever case: in what was shown, typed, asked and decided."""
    wanted = text.casefold()
    began: float | None = None
    for written in transcript(entries):
        began = written.at if began is None else began
        for line in written.lines:
            if wanted in line.casefold():
                yield Moment(max(0.0, written.at - began), line.strip())
