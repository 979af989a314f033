"""Events -> entries of the search index. The index is derived, and can be rebuilt.

"Who read customers.email on Tuesday" is answered from the `actions` of a request: each becomes an
entry with its object and columns, those that were reached through a view as well (`via`). What
comes later in the session (an approval, the number of rows, kinds of data found) replaces the
request's entries by fuller ones with the same key.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from taskgate.model import limits
from taskgate.model.audit import AuditEntry
from taskgate.model.errors import Unreadable
from taskgate.model.event import EventKind
from taskgate.recording import layout
from taskgate.recording.bounds import cut_text
from taskgate.recording.reader import list_recordings, read_recording

_REQUESTS = {
    EventKind.REQUEST_PERMITTED.value: "permit",
    EventKind.REQUEST_DENIED.value: "deny",
    EventKind.REQUEST_HELD.value: "hold",
}
_HOLD_ENDS = {
    EventKind.HOLD_APPROVED.value: "approved",
    EventKind.HOLD_DENIED.value: "refused",
    EventKind.HOLD_EXPIRED.value: "expired",
    EventKind.HOLD_CANCELLED.value: "cancelled",
}
# What was shown is in the recording, and too much to search here; what was typed is searched.
_NOT_INDEXED = frozenset(
    {
        EventKind.ROWS.value,
        EventKind.TERMINAL_STARTED.value,
        EventKind.TERMINAL_OUTPUT.value,
        EventKind.TERMINAL_RESIZED.value,
        EventKind.FILE_OPENED.value,
        EventKind.FILE_CONTENT.value,
        EventKind.FILE_RESIZED.value,
        EventKind.FILE_NOT_WRITTEN.value,
    }
)
_TYPED = EventKind.TERMINAL_INPUT.value
# A request that goes on (more rows fetched) so much later counts at that time as well.
_AGAIN_AFTER_S = 60.0


class Indexer:
    """The entries of one recording's events, fed in order.

    Bounded: of `limits.MAX_INDEXED_PENDING` requests the end is awaited; the end of an older one
    no longer fills its entries in.
    """

    def __init__(self, recording: str) -> None:
        self._recording = recording
        self._about = AuditEntry(recording, 0, 0, 0.0, "")
        self._pending: OrderedDict[int, tuple[AuditEntry, ...]] = OrderedDict()

    def feed(
        self, number: int, kind: str, at: float, facts: dict[str, Any]
    ) -> tuple[AuditEntry, ...]:
        """The entries that event `number` adds or replaces."""
        request = _int_or_none(facts.get("request"))
        pending = self._pending.get(request, ()) if request is not None else ()
        if kind == EventKind.SESSION_OPENED.value:
            self._about = replace(self._about, **_who(facts))
        elif kind == EventKind.REQUEST_FINISHED.value:
            return self._finished(request, pending, facts)
        elif kind in _HOLD_ENDS:
            by = _texts(facts.get("approved_by"))
            ended = tuple(replace(e, outcome=_HOLD_ENDS[kind], approved_by=by) for e in pending)
            return self._keep(request, ended)
        elif kind == EventKind.REQUEST_CONTINUED.value:
            if not pending or at - pending[0].at < _AGAIN_AFTER_S:
                return ()
            return self._keep(request, _again(pending, number, at, kind))
        elif kind in _NOT_INDEXED or (kind == _TYPED and "text" not in facts):
            return ()
        base = replace(
            self._about,
            sequence=number,
            at=at,
            event=kind,
            request=request,
            outcome=_REQUESTS.get(kind, _text(facts, "outcome")),
            rule=_text(facts, "rule"),
            reason=_text(facts, "reason"),
            policy_version=_text(facts, "policy_version"),
            text=cut_text(_text(facts, "text"), limits.MAX_INDEXED_TEXT_BYTES),
            approved_by=_texts(facts.get("approved_by")),
            **_found(facts),
        )
        if kind not in _REQUESTS:
            return (_single(base, facts),)
        if "actions" not in facts and pending:
            # Refused after all, while it was going on: the same effects, but not any more.
            return tuple(
                replace(e, outcome=base.outcome, reason=base.reason)
                for e in _again(pending, number, at, kind)
            )
        entries = tuple(
            _action_entry(base, position, action)
            for position, action in enumerate(_dicts(facts.get("actions")))
        )
        return self._keep(request, entries or (base,))

    def _keep(self, request: int | None, entries: tuple[AuditEntry, ...]) -> tuple[AuditEntry, ...]:
        if request is not None and entries:
            self._pending[request] = entries
            if len(self._pending) > limits.MAX_INDEXED_PENDING:
                self._pending.popitem(last=False)
        return entries

    def _finished(
        self, request: int | None, pending: tuple[AuditEntry, ...], facts: dict[str, Any]
    ) -> tuple[AuditEntry, ...]:
        found = _found(facts)
        kinds = found.pop("kinds")
        filled = tuple(
            replace(e, kinds=tuple(dict.fromkeys((*e.kinds, *kinds))), **found) for e in pending
        )
        if request is not None and not facts.get("suspended"):
            self._pending.pop(request, None)
            return filled
        return self._keep(request, filled)


def rebuild(directory: Path, damaged: list[Path] | None = None) -> Iterator[AuditEntry]:
    """Every entry of every recording below the audit directory, oldest day first. Of a recording
    that cannot be read to its end the readable beginning counts; its path is added to `damaged`.
    """
    for path in list_recordings(directory):
        indexer = Indexer(layout.recording_of(path))
        try:
            for entry in read_recording(path):
                yield from indexer.feed(entry.number, entry.kind, entry.at, entry.facts)
        except Unreadable:
            if damaged is not None:
                damaged.append(path)


def _again(
    entries: tuple[AuditEntry, ...], number: int, at: float, kind: str
) -> tuple[AuditEntry, ...]:
    return tuple(replace(e, sequence=number, at=at, event=kind) for e in entries)


def _who(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "identity": _text(facts, "identity"),
        "acts_for": _texts(facts.get("acts_for")),
        "task": _text(facts, "task"),
        "resource": _text(facts, "resource"),
    }


def _found(facts: dict[str, Any]) -> dict[str, Any]:
    masked, kinds = facts.get("masked"), facts.get("kinds")
    return {
        "kinds": _texts(list(kinds)) if isinstance(kinds, dict) else _texts(kinds),
        "rows": _int_or_none(facts.get("rows")),
        "masked": sum(n for n in masked.values() if isinstance(n, int))
        if isinstance(masked, dict)
        else 0,
    }


def _single(base: AuditEntry, facts: dict[str, Any]) -> AuditEntry:
    """An event without effects. One outside a session (a login, a vote) tells itself of whom."""
    told = {name: value for name, value in _who(facts).items() if value}
    target = _text(facts, "object") or _text(facts, "session") or _text(facts, "name")
    return replace(base, verb=base.event, object=target, **told)


def _action_entry(base: AuditEntry, position: int, action: dict[str, Any]) -> AuditEntry:
    columns = action.get("columns")
    return replace(
        base,
        position=position,
        verb=_text(action, "verb"),
        object=_plain(action, "object"),
        object_kind=_text(action, "kind"),
        columns=_texts(columns) if isinstance(columns, (list, tuple)) else None,
        compared=_texts(action.get("compared")),
        via=_plain(action, "via"),
    )


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _plain(action: dict[str, Any], name: str) -> str:
    """A name as search compares it: without quotes."""
    return _text(action, name).replace('"', "")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, (list, tuple)) else ()


def _dicts(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, (list, tuple)) else ()
    return [item for item in items if isinstance(item, dict)]


def _int_or_none(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
