"""What one statement reads and does, as it is being found out."""

from dataclasses import dataclass, field, replace

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql.entries import Relation
from taskgate.sql.facts import ColumnRef
from taskgate.sql.values import UNKNOWN, Value


@dataclass(slots=True)
class Access:
    """One relation being read. `columns` grows with each column named; None means all of them,
    because they could not be told. `only` leaves descendants out; `beneath` is what a view reads;
    `revealing` relations show what stands elsewhere.
    """

    object: str
    kind: str
    relation: Relation | None = None
    columns: set[str] | None = field(default_factory=set)
    only: bool = False
    beneath: "Beneath | None" = None
    revealing: bool = False
    _values: dict[str, Value] = field(default_factory=dict)

    def touch(self, column: str) -> None:
        if self.columns is not None:
            self.columns.add(column)

    def touch_all(self) -> None:
        """Every column the relation has."""
        if self.relation is None:
            self.columns = None
        elif self.columns is not None:
            self.columns.update(c.name for c in self.relation.columns)

    def value(self, column: str) -> Value:
        """The lineage of one column: its own name, and the names that relatives know it by."""
        found = self._values.get(column)
        if found is None:
            found = self._values[column] = self._value(column)
        return found

    def _value(self, column: str) -> Value:
        names = {ColumnRef(self.object, column)}
        relation = self.relation
        if relation is None:
            return Value(frozenset(names), unknown=True, fails=True)
        if relation.ancestors and any(c.name == column and c.inherited for c in relation.columns):
            names.update(ColumnRef(spell(*parent), column) for parent in relation.ancestors)
        if not self.only:
            names.update(ColumnRef(spell(*child), column) for child in relation.descendants)
        if self.beneath is None:
            known = next((c for c in relation.columns if c.name == column), None)
            return Value(
                frozenset(names),
                plain=not self.revealing,
                unknown=self.revealing,
                record=known is not None and known.of_users_type,
                nested=known is not None and known.nested,
                bounded=known is not None and known.bounded,
            )
        under = self.beneath.columns.get(column, UNKNOWN)
        return replace(under, sources=under.sources | names)


@dataclass(frozen=True, slots=True)
class Beneath:
    """What lies under a view: the lineage of its columns by name, and its own findings."""

    columns: dict[str, Value]
    findings: "Findings"


@dataclass(slots=True)
class Findings:
    """Everything found in one statement, or in one view's definition.

    `compared` are columns that steer the result, by relation. `reads_constants`: a constant's
    value made a difference (`ORDER BY 2`, set_config). `makers` are the bare names of what makes
    values of some type: functions, operators, types cast to; `$` for a parameter. `unasked` are
    calls that PostgreSQL may make by itself; they are told last.
    """

    accesses: list[Access] = field(default_factory=list)
    actions: dict[Action, None] = field(default_factory=dict)
    compared: dict[str, set[str]] = field(default_factory=dict)
    compares_unknown: bool = False
    compares_functions: set[str] = field(default_factory=set)
    opaque: bool = False
    may_change_resolution: bool = False
    session_bound: bool = False
    reads_constants: bool = False
    settings: list[tuple[str, str | None]] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    relations: set[str] = field(default_factory=set)
    makers: set[str] = field(default_factory=set)
    unasked: dict[Action, None] = field(default_factory=dict)

    def act(self, action: Action) -> None:
        self.actions[action] = None

    def compare(self, value: Value) -> None:
        """Notes that `value` steers the result."""
        for ref in value.sources:
            self.compared.setdefault(ref.relation, set()).add(ref.column)
        if value.unknown:
            self.compares_unknown = True
        elif value.functions:
            self.compares_functions.update(value.functions)

    def refuse(self, verb: str, why: str) -> None:
        """Notes what could not be understood: such a statement is never permitted."""
        self.act(Action(verb, "?", "statement", True, complete=False))
        if why not in self.unclear:
            self.unclear.append(why)


def columns_beneath(beneath: Beneath, touched: set[str] | None) -> frozenset[ColumnRef] | None:
    """The columns under a view that its `touched` columns show; None if all that it reads."""
    if touched is None:
        return None
    found: set[ColumnRef] = set()
    for name in touched:
        value = beneath.columns.get(name)
        if value is None or value.unknown or value.functions:
            return None
        found.update(value.sources)
    return frozenset(found)
