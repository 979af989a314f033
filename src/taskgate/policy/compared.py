"""Masked columns that could be guessed or copied instead of shown.

A masked column in WHERE, JOIN, ORDER BY and the like tells its value bit by bit. One that is read
in a request which also writes elsewhere can be stored where no mask reaches. Both count as
compared, and the mask says what then happens: deny, hold or permit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand, Outcome
from taskgate.model.masks import Compared
from taskgate.model.names import split
from taskgate.policy.matching import ANY_COLUMN, Subject, names_outright
from taskgate.policy.rules import MaskPattern, Task
from taskgate.policy.wording import plain

# Kinds of object whose columns masks are about.
_NOT_RELATIONS = frozenset({"function", "builtin", "setting", "safe_setting", "statement"})

_SAME_ROW = frozenset({"insert", "update"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a mask says of one masked column that steers or is copied."""

    outcome: Outcome
    rule: str
    source: str
    reason: str
    demand: ApprovalDemand | None = None


def comparisons(task: Task, actions: Sequence[Action], action: Action) -> list[Comparison]:
    """The word of `task`'s masks on one of a request's actions; nothing where all is well."""
    if not task.mask_patterns or action.kind in _NOT_RELATIONS:
        return []
    try:
        name = split(action.object)
    except ValueError:
        return []  # refused for its name already
    reaching = [mask for mask in task.mask_patterns if mask.relation.may_match(name)]
    # Where the relation is not known for sure, any mask that might be its own counts.
    sure = None not in name
    found = [
        _said(mask, column, "steers the result")
        for column in action.compared
        for mask in _of(reaching, column, sure)
    ]
    if not action.write and any(_stores_away(task, other, action) for other in actions):
        # Which columns are read cannot always be told; then any masked one may be.
        read = (ANY_COLUMN,) if action.columns is None else action.columns
        found += [
            _said(mask, column, "is read by a request that also writes")
            for column in read
            for mask in _of(reaching, column, sure)
        ]
    return [comparison for comparison in found if comparison.outcome is not Outcome.PERMIT]


def _of(masks: list[MaskPattern], column: str, sure: bool) -> list[MaskPattern]:
    """The mask of a column: the first that matches, as for the rows themselves."""
    if column == ANY_COLUMN:
        return masks
    found = [mask for mask in masks if mask.column.matches(column)]
    return found[:1] if sure else found


def _stores_away(task: Task, action: Action, read: Action) -> bool:
    """Whether `action` may keep what `read` reads in another place. A row that is written and
    returned stays where its mask is; what moves between its columns is compared anyhow."""
    spec = task.vocabulary.spec(action.verb)
    if spec is None:
        return action.write
    return spec.stores and (action.object != read.object or action.verb not in _SAME_ROW)


def _said(mask: MaskPattern, column: str, how: str) -> Comparison:
    outcome = {
        Compared.DENY: Outcome.DENY,
        Compared.HOLD: Outcome.HOLD if mask.demand is not None else Outcome.DENY,
        Compared.PERMIT: Outcome.PERMIT,
    }[mask.mask.compared]
    return Comparison(
        outcome,
        mask.mask.rule,
        mask.source,
        f"column {plain(column)} is masked and {how}, which could tell its value",
        mask.demand,
    )


def revealed(task: Task, subject: Subject, subjects: Sequence[Subject]) -> str:
    """Why the action would show masked columns by another relation (statistics, other sessions'
    statements); empty where it would not. A permit that names that relation outright allows it.
    """
    if not task.masks.columns or not _reveals(task, subject) or _is_named(task, subject):
        return ""
    via = subject.action.via
    if any(other.action.object == via and _reveals(task, other) for other in subjects):
        return ""  # what lies under such a relation is judged with it
    return (
        f"{subject.action.verb} on {plain(subject.action.object)}: it shows values of other"
        " relations' columns, and this task masks some; only a permit that names it allows it"
    )


def _reveals(task: Task, subject: Subject) -> bool:
    """Whether the relation is, or might turn out to be, one that shows others' values."""
    if subject.action.verb != "select" or subject.name is None or len(subject.name) != 2:
        return False
    schema, name = subject.name
    vocabulary = task.vocabulary
    if any(schema in (None, s) and name in (None, n) for s, n in vocabulary.revealing):
        return True
    return schema in vocabulary.revealing_schemas or (
        schema is None and any((name or s).startswith(s) for s in vocabulary.revealing_schemas)
    )


def _is_named(task: Task, subject: Subject) -> bool:
    """Whether a permit spells the relation out."""
    return any(names_outright(entry, subject.name) for _, entry in task.permits.of("select"))
