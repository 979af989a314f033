"""A session's terminals played on the terminal of whoever watches: what to write, and how long to
wait before it. Nothing waits here.

A terminal is played on an empty screen. Where the watcher's has a row to spare, the line below it
tells the time and what else happens: requests, holds, keys. All of that is listed again once the
terminal is over. Of terminals that run side by side, the one that began first is played.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from taskgate.model.event import EventKind
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry
from taskgate.recording.render import render_entry
from taskgate.recording.terminal_filter import TerminalFilter
from taskgate.recording.transcript import Transcript, typed_text

_WARNED_S = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed` times the real pace, `inf` at once; no wait above `max_idle_s`; what is earlier than
    `from_s` after the first event is shown at once."""

    speed: float = 1.0
    max_idle_s: float = 2.0
    from_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Play:
    """Wait `delay_s`, then write `text` as it is; it is safe for a terminal."""

    delay_s: float
    text: str


class Player:
    """Turns events into what is written, one after the other. `columns` and `rows` are those of the
    watcher's terminal; `request` is the one terminal to play, None for any."""

    def __init__(self, columns: int, rows: int, request: int | None = None) -> None:
        self._columns = columns
        self._rows = rows
        self._wanted = request
        self._playing: object = None
        self._filter = TerminalFilter()
        self._began: float | None = None
        self._beside = ""
        self._meanwhile: list[str] = []
        self._transcript = Transcript()
        self.small = False

    def show(self, entry: Entry) -> str:
        """What to write for the next event."""
        facts, request = entry.facts, entry.facts.get("request")
        self._began = entry.at if self._began is None else self._began
        passed = _clock(entry.at - self._began)
        self.small = False
        if entry.kind == EventKind.TERMINAL_STARTED and self._is_wanted(facts):
            return self._start(entry, passed)
        if self._playing is None:
            return "".join(f"{line}\r\n" for line in self._transcript.lines(entry))
        if request != self._playing:
            return self._note(self._transcript.lines(entry), passed)
        if entry.kind == EventKind.TERMINAL_OUTPUT:
            return self._filter.filter(content_of(facts)) + self._status(passed)
        if entry.kind == EventKind.TERMINAL_RESIZED:
            return self._resized(facts, passed)
        if entry.kind == EventKind.TERMINAL_INPUT:
            self._beside = typed_text(facts)
            return self._status(passed)
        if entry.kind == EventKind.REQUEST_FINISHED:
            return self.end() + "".join(f"{line}\r\n" for line in render_entry(entry))
        return self._note(render_entry(entry), passed)

    def end(self) -> str:
        """Leaves the watcher's terminal as it should be; tells what happened meanwhile."""
        if self._playing is None:
            return ""
        self._playing = None
        told = "".join(f"{line}\r\n" for line in self._meanwhile)
        self._meanwhile = []
        return self._filter.end() + told

    def _is_wanted(self, facts: dict[str, Any]) -> bool:
        if self._playing is not None or not isinstance(facts.get("columns"), int):
            return False
        return self._wanted is None or facts.get("request") == self._wanted

    def _start(self, entry: Entry, passed: str) -> str:
        columns, rows = _size(entry.facts)
        self.small = columns > self._columns or rows > self._rows
        lines = render_entry(entry)
        if self.small:
            lines.append(
                f"    it was {columns} by {rows}, larger than the {self._columns} by {self._rows}"
                " here: it will not look as it did"
            )
        self._playing = entry.facts.get("request")
        self._filter = TerminalFilter(rows if rows < self._rows else 0)
        self._beside = ""
        return "".join(f"{line}\r\n" for line in lines)

    def begin(self) -> str:
        """The empty screen; to be written once after a terminal has started."""
        return self._filter.begin() if self._playing is not None else ""

    @property
    def playing(self) -> bool:
        return self._playing is not None

    def _resized(self, facts: dict[str, Any], passed: str) -> str:
        _, rows = _size(facts)
        return self._filter.resize(rows if rows < self._rows else 0) + self._status(passed)

    def _note(self, lines: list[str], passed: str) -> str:
        self._meanwhile += lines
        if lines:
            self._beside = lines[0]
        return self._status(passed)

    def _status(self, passed: str) -> str:
        """The line below the screen."""
        rows = self._filter.rows
        if not rows or self._filter.cursor_kept:
            return ""
        text = f" {passed}  {self._beside} "[: self._columns].ljust(self._columns)
        return f"\x1b7\x1b[?6l\x1b[{rows + 1};1H\x1b[0;7m{text}\x1b[m\x1b8"


def play(entries: Iterable[Entry], player: Player, pace: Pace) -> Iterator[Play]:
    """The steps of a replay. Closing the iterator early leaves the terminal to `Player.end`.

    Raises:
        ValueError: the speed is not above zero, or the idle time below it.
    """
    if not pace.speed > 0 or not pace.max_idle_s >= 0:
        raise ValueError("the speed must be above zero, and the idle time not below it")
    began = before = None
    for entry in entries:
        began = entry.at if began is None else began
        passed = 0.0 if before is None else max(0.0, entry.at - before)
        before = entry.at
        waits = isfinite(pace.speed) and entry.at - began >= pace.from_s
        was_playing = player.playing
        yield Play(min(passed / pace.speed, pace.max_idle_s) if waits else 0.0, player.show(entry))
        if player.playing and not was_playing:
            # Long enough to be read, before the screen is emptied.
            yield Play(_WARNED_S if player.small and waits else 0.0, player.begin())
    yield Play(0.0, player.end())


def _size(facts: dict[str, Any]) -> tuple[int, int]:
    """Columns and rows; a client that has no terminal itself asks for one of size 0."""
    return _number(facts.get("columns"), 80), _number(facts.get("rows"), 24)


def _number(value: object, default: int) -> int:
    return min(value, 9_999) if isinstance(value, int) and value > 0 else default


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}"
