"""Events as text for people, in lines that are safe for a terminal.

Shown is what was recorded, and that is what the client saw: masked values stay masked.
"""

from datetime import UTC, datetime
from typing import Any

from taskgate.model.event import EventKind
from taskgate.recording.format import Entry
from taskgate.recording.safe_text import safe_line, safe_text

_MAX_CELL = 60
_MAX_LIST = 20
_VERDICTS = {
    EventKind.REQUEST_PERMITTED.value: "PERMIT",
    EventKind.REQUEST_DENIED.value: "DENY",
    EventKind.REQUEST_HELD.value: "HOLD",
}
_HOLD_ENDS = {
    EventKind.HOLD_APPROVED.value: "approved",
    EventKind.HOLD_DENIED.value: "refused",
    EventKind.HOLD_EXPIRED.value: "expired: nobody agreed in time",
    EventKind.HOLD_CANCELLED.value: "cancelled",
}
_TERMINALS = {
    EventKind.TERMINAL_STARTED.value: "terminal",
    EventKind.TERMINAL_RESIZED.value: "terminal is now",
}
_FILES = {
    EventKind.FILE_OPENED.value: "file",
    EventKind.FILE_RESIZED.value: "file has the size",
    EventKind.FILE_NOT_WRITTEN.value: "not written by the host:",
}
_OPENED = frozenset({EventKind.SESSION_OPENED.value, EventKind.RECORDING_OPENED.value})
# Facts that have a place of their own below, or say nothing to a reader.
_QUIET = frozenset(
    {"format", "heads", "text", "actions", "parameters", "columns", "cut", "digest", "shape"}
)


def render_entry(entry: Entry) -> list[str]:
    """One event as lines without LF; the first begins with its time (UTC)."""
    facts = entry.facts
    if entry.kind in _VERDICTS:
        lines = _request(_VERDICTS[entry.kind], facts)
    elif entry.kind in _HOLD_ENDS:
        lines = [_with_facts(f"hold {_HOLD_ENDS[entry.kind]}", facts)]
    elif entry.kind == EventKind.ROWS.value:
        lines = _rows(facts)
    elif entry.kind == EventKind.REQUEST_FINISHED.value:
        lines = [_finished(facts)]
    elif entry.kind in _TERMINALS:
        lines = [_terminal(_TERMINALS[entry.kind], facts)]
    elif entry.kind == EventKind.FILE_CONTENT.value:
        lines = [_file("", facts)]
    elif entry.kind in _FILES:
        lines = [_file(_FILES[entry.kind], facts)]
    elif entry.kind in _OPENED:
        lines = [safe_line(entry.kind), *_fact_lines(facts)]
    else:
        lines = [_with_facts(safe_line(entry.kind), facts)]
    lines += _cuts(facts)
    first, *others = lines
    return [f"{clock_text(entry.at)}  {first}", *(f"    {line}" for line in others)]


def clock_text(at: float) -> str:
    """Seconds since the epoch as `2026-01-01 12:00:00.000Z`."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return f"at {at}"
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _request(verdict: str, facts: dict[str, Any]) -> list[str]:
    number = facts.get("request")
    head = verdict if number is None else f"[{_inline(number)}] {verdict}"
    if rule := facts.get("rule"):
        head += f" by {_inline(rule)}"
    if reason := facts.get("reason"):
        head += f": {_inline(reason)}"
    lines = [head]
    text = facts.get("text")
    if isinstance(text, str):
        lines += [f"> {line}" for line in safe_text(text).split("\n")]
    parameters = facts.get("parameters")
    if isinstance(parameters, list) and parameters:
        lines += [
            f"${number} = {'NULL' if value is None else _quoted(value)}"
            for number, value in enumerate(parameters, start=1)
        ]
    lines += _told(facts, ("approval", "waits_for", "demands", "policy_version"))
    return lines


def _finished(facts: dict[str, Any]) -> str:
    number = facts.get("request")
    line = "finished" if number is None else f"[{_inline(number)}] finished"
    rows = facts.get("rows")
    if isinstance(rows, int):
        line += f", {rows} row{'' if rows == 1 else 's'}"
    masked = facts.get("masked")
    if isinstance(masked, dict) and masked:
        counts = ", ".join(f"{_inline(count)} by {_inline(rule)}" for rule, count in masked.items())
        line += f", masked: {counts}"
    kinds = facts.get("kinds")
    if isinstance(kinds, dict) and kinds:
        found = ", ".join(f"{_inline(count)} {_inline(kind)}" for kind, count in kinds.items())
        line += f", found: {found}"
    rest = {k: v for k, v in facts.items() if k not in ("request", "rows", "masked", "kinds")}
    return _with_facts(line, rest)


def _terminal(what: str, facts: dict[str, Any]) -> str:
    line = f"[{_inline(facts.get('request'))}] {what}"
    if "columns" in facts:
        line += f" {_inline(facts['columns'])} by {_inline(facts.get('rows'))}"
    rest = {k: v for k, v in facts.items() if k not in ("request", "columns", "rows")}
    return _with_facts(line, rest)


def _file(what: str, facts: dict[str, Any]) -> str:
    """Of content, how much and where."""
    words = [f"[{_inline(facts.get('request'))}]", what]
    if "way" in facts:
        words.append(_inline(facts["way"]))
    words += [_inline(facts[name]) for name in ("path", "size") if name in facts]
    if "bytes" in facts:
        words.append(f"{_inline(facts['bytes'])} bytes at {_inline(facts.get('offset', 0))}")
    known = ("request", "way", "path", "size", "bytes", "offset", "text", "base64")
    rest = {name: value for name, value in facts.items() if name not in known}
    return _with_facts(" ".join(word for word in words if word), rest)


def _rows(facts: dict[str, Any]) -> list[str]:
    columns, values = facts.get("columns"), facts.get("rows")
    table = [columns] if isinstance(columns, list) else []
    table += [row for row in values if isinstance(row, list)] if isinstance(values, list) else []
    number = facts.get("request")
    head = "rows" if number is None else f"[{_inline(number)}] rows"
    if not table:
        return [_with_facts(head, facts)]
    cells = [["NULL" if cell is None else _cell(cell) for cell in row] for row in table]
    widths = [
        max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells)))
    ]
    return [
        head,
        *(
            " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)).rstrip()
            for row in cells
        ),
    ]


def _with_facts(head: str, facts: dict[str, Any]) -> str:
    told = [f"{safe_line(k)}={_inline(v)}" for k, v in facts.items() if _worth_telling(k, v)]
    return f"{head}  {' '.join(told)}" if told else head


def _fact_lines(facts: dict[str, Any]) -> list[str]:
    return [f"{safe_line(k)}: {_inline(v)}" for k, v in facts.items() if _worth_telling(k, v)]


def _told(facts: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [f"{name}: {_inline(facts[name])}" for name in names if facts.get(name)]


def _worth_telling(name: str, value: Any) -> bool:
    return name not in _QUIET and value not in (None, "", [], {})


def _cuts(facts: dict[str, Any]) -> list[str]:
    cut = facts.get("cut")
    if not isinstance(cut, dict):
        return []
    return [
        f"cut: {safe_line(path)} had {_inline(note.get('bytes'))} bytes, "
        f"SHA-256 {_inline(note.get('sha256'))}"
        for path, note in list(cut.items())[:_MAX_LIST]
        if isinstance(note, dict)
    ]


def _inline(value: Any) -> str:
    if isinstance(value, str):
        return safe_line(value)
    if isinstance(value, list):
        shown = ", ".join(_inline(item) for item in value[:_MAX_LIST])
        return shown if len(value) <= _MAX_LIST else f"{shown}, ... ({len(value)})"
    if isinstance(value, dict):
        return ", ".join(f"{safe_line(str(k))}={_inline(v)}" for k, v in value.items())
    return safe_line(str(value))


def _quoted(value: Any) -> str:
    return (
        "'" + _inline(value).replace("'", "''") + "'" if isinstance(value, str) else _inline(value)
    )


def _cell(value: Any) -> str:
    text = _inline(value)
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 3] + "..."
