"""One terminal of a recording as an asciicast, version 2 (docs.asciinema.org/manual/asciicast/v2).

It is an export for players and pages, not the record: output is filtered as in a replay, and its
chain of hashes stays behind. Other events are markers.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from taskgate.model.errors import NotFound
from taskgate.model.event import EventKind
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry
from taskgate.recording.render import render_entry
from taskgate.recording.safe_text import safe_line
from taskgate.recording.terminal_filter import TerminalFilter


def asciicast(entries: Iterable[Entry], title: str, request: int | None = None) -> Iterator[str]:
    """The lines of the file, each with its LF; of the first terminal, or that of `request`.

    Raises:
        NotFound: there is none.
    """
    began: float | None = None
    chosen: object = None
    filter_ = TerminalFilter()
    for entry in entries:
        facts = entry.facts
        own = began is not None and facts.get("request") == chosen
        if began is None:
            if _is_chosen(entry, request):
                began, chosen = entry.at, facts.get("request")
                yield _line(_header(entry, title))
            continue
        at = round(max(0.0, entry.at - began), 6)
        if own and entry.kind == EventKind.TERMINAL_OUTPUT:
            if shown := filter_.filter(content_of(facts)):
                yield _line([at, "o", shown])
        elif own and entry.kind == EventKind.TERMINAL_INPUT:
            if typed := content_of(facts):
                yield _line([at, "i", safe_line(typed.decode("utf-8", "replace")) + "\r"])
        elif own and entry.kind == EventKind.TERMINAL_RESIZED:
            columns, rows = _number(facts, "columns", 80), _number(facts, "rows", 24)
            yield _line([at, "r", f"{columns}x{rows}"])
        elif entry.kind not in _NO_MARKERS:
            yield _line([at, "m", render_entry(entry)[0]])
            if own and entry.kind == EventKind.REQUEST_FINISHED:
                return
    if began is None:
        raise NotFound("no terminal is in this recording")


_NO_MARKERS = frozenset(
    {
        EventKind.FILE_CONTENT.value,
        EventKind.TERMINAL_STARTED.value,
        EventKind.TERMINAL_OUTPUT.value,
        EventKind.TERMINAL_INPUT.value,
        EventKind.TERMINAL_RESIZED.value,
    }
)


def _is_chosen(entry: Entry, request: int | None) -> bool:
    return entry.kind == EventKind.TERMINAL_STARTED and (
        request is None or entry.facts.get("request") == request
    )


def _header(entry: Entry, title: str) -> dict[str, Any]:
    header: dict[str, Any] = {
        "version": 2,
        "width": _number(entry.facts, "columns", 80),
        "height": _number(entry.facts, "rows", 24),
        "timestamp": int(entry.at),
        "title": safe_line(title),
    }
    if term := entry.facts.get("term"):
        header["env"] = {"TERM": safe_line(str(term))}
    return header


def _number(facts: dict[str, Any], name: str, default: int) -> int:
    value = facts.get(name)
    return value if isinstance(value, int) and value > 0 else default


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
