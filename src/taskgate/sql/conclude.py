"""From findings to actions: what was named, then what is reached through it."""

from collections.abc import Iterator

from taskgate.model.action import Action
from taskgate.sql.accesses import Access, Findings, columns_beneath
from taskgate.sql.facts import ColumnRef
from taskgate.sql.relations import metadata_kind, relatives

# (object, kind, via) of a read.
_Key = tuple[str, str, str]


class _Reads:
    """Reads merged by what is read and through what. Columns None: they could not be told."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[_Key, set[str] | None] = {}

    def add(self, key: _Key, columns: set[str] | None) -> None:
        if columns is None:
            self._found[key] = None
            return
        known = self._found.setdefault(key, set())
        if known is not None:
            known |= columns

    def actions(self, compared: dict[str, set[str]]) -> Iterator[Action]:
        for (name, kind, via), columns in self._found.items():
            yield Action(
                "select",
                name,
                kind,
                False,
                None if columns is None else tuple(sorted(columns)),
                tuple(sorted(compared.get(name, ()))),
                via,
            )


def conclude(findings: Findings) -> tuple[Action, ...]:
    """All actions of a statement. Fills `findings.relations` and takes over what views say."""
    reads = _Reads()
    for access in findings.accesses:
        _read(access, findings, reads)
    found = dict.fromkeys(findings.actions)
    found.update(dict.fromkeys(reads.actions(findings.compared)))
    found.update(findings.unasked)
    return tuple(found)


def _read(access: Access, findings: Findings, reads: _Reads) -> None:
    reads.add((access.object, metadata_kind(access), ""), access.columns)
    findings.relations.add(access.object)
    relation = access.relation
    if relation is None:
        return
    for name in relatives(relation, descendants=not access.only):
        reads.add((name, "table", access.object), access.columns)
        findings.relations.add(name)
    if access.beneath is not None:
        _read_beneath(access, findings, reads)


def _read_beneath(access: Access, findings: Findings, reads: _Reads) -> None:
    """What a view reads: of each relation the columns that flow into those named, and those that
    decide which rows the view has."""
    if access.beneath is None:
        return
    inner = access.beneath.findings
    shown = columns_beneath(access.beneath, access.columns)
    for action in conclude(inner):
        via = action.via or access.object
        if action.verb != "select":
            if action.kind != "builtin":
                findings.act(_through(action, via))
            continue
        columns = _columns(action, shown)
        reads.add((action.object, action.kind, via), columns)
    findings.relations |= inner.relations
    findings.opaque = findings.opaque or inner.opaque
    findings.may_change_resolution |= inner.may_change_resolution
    for name, columns in inner.compared.items():
        findings.compared.setdefault(name, set()).update(columns)


def _columns(action: Action, shown: frozenset[ColumnRef] | None) -> set[str] | None:
    if action.columns is None:
        return None
    if shown is None:
        return set(action.columns)
    needed = {ref.column for ref in shown if ref.relation == action.object}
    return (needed & set(action.columns)) | set(action.compared)


def _through(action: Action, via: str) -> Action:
    return Action(
        action.verb,
        action.object,
        action.kind,
        action.write,
        action.columns,
        action.compared,
        via,
        action.complete,
    )
