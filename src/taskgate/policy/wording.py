"""How decisions are said to people: plain words, and nothing of a name that could deceive."""

import unicodedata
from collections.abc import Iterable

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand
from taskgate.policy.units import spell_duration

_MAX_SHOWN_CHARS = 200
_MAX_COLUMNS_SHOWN = 8
# Kinds of object that follow their verb without a word between.
_PLAIN_OBJECTS = frozenset({"command", "program", "path", "tree", "variable", "endpoint", "tier"})


def plain(text: str) -> str:
    """A name from a request, for messages: controls and direction marks escaped, cut if long."""
    shown = "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c
        for c in text[: _MAX_SHOWN_CHARS + 1]
    )
    return shown if len(text) <= _MAX_SHOWN_CHARS else shown[:_MAX_SHOWN_CHARS] + "..."


def said_action(action: Action) -> str:
    """`delete on sales.orders (through sales.order_view)`, or `run systemctl status web`."""
    said = plain(action.verb)
    if action.object:
        said += f" {plain(action.object)}" if action.kind in _PLAIN_OBJECTS else _on(action)
    if action.via:
        said += f" (through {plain(action.via)})"
    return said


def _on(action: Action) -> str:
    return f" on {plain(action.object)}"


def said_columns(columns: Iterable[str]) -> str:
    """`column email`, `columns email, phone`; empty where they cannot be told."""
    listed = sorted(columns)
    if not listed:
        return "all of its columns"
    shown = ", ".join(plain(column) for column in listed[:_MAX_COLUMNS_SHOWN])
    more = len(listed) - _MAX_COLUMNS_SHOWN
    if more > 0:
        shown += f" and {more} more"
    return f"column{'s' if len(listed) > 1 else ''} {shown}"


def approvers(demands: Iterable[ApprovalDemand]) -> str:
    """`1 of data-leads within 15m`, joined by `and`."""
    return " and ".join(
        f"{demand.people} of {', '.join(sorted(demand.groups) + sorted(demand.subjects))}"
        f" within {spell_duration(demand.within_s)}"
        for demand in demands
    )


def denied_hint(task: str) -> str:
    """What to do after a refusal."""
    return (
        f'"taskgate policy explain --task {task}" shows every rule; "taskgate tasks" lists what'
        ' you may take up, and "taskgate request TASK --reason WHY" asks for it'
    )


def held_hint(demands: Iterable[ApprovalDemand]) -> str:
    """What happens next with a held request."""
    return f'waiting for {approvers(demands)}; they see it with "taskgate approvals"'
