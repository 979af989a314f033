"""What flows into an expression: the lineage of one value."""

from collections.abc import Iterable
from dataclasses import dataclass

from taskgate.sql.facts import ColumnRef, Output

_NO_COLUMNS: frozenset[ColumnRef] = frozenset()
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """`sources` are the stored columns known to flow in; more may if `unknown`, or if the results
    of `functions` (user-defined, spelled) do. `plain`: one column's value, unchanged.
    `fails`: computing it may fail, which is seen by whoever can decide whether it is computed.
    """

    sources: frozenset[ColumnRef] = _NO_COLUMNS
    plain: bool = False
    unknown: bool = False
    functions: frozenset[str] = _NO_NAMES
    fails: bool = False

    @property
    def empty(self) -> bool:
        """Nothing of any table is in it."""
        return not (self.sources or self.unknown or self.functions)


CONSTANT = Value()
UNKNOWN = Value(unknown=True, fails=True)


def union(values: Iterable[Value], *, fails: bool = False) -> Value:
    """What flows into an expression over these values."""
    found = list(values)
    if not found:
        return Value(fails=True) if fails else CONSTANT
    if len(found) == 1:
        one = found[0]
        if not one.plain and one.fails >= fails:
            return one
        return Value(one.sources, False, one.unknown, one.functions, one.fails or fails)
    return Value(
        frozenset().union(*(v.sources for v in found)),
        False,
        any(v.unknown for v in found),
        frozenset().union(*(v.functions for v in found)),
        fails or any(v.fails for v in found),
    )


def merged(first: Value, second: Value) -> Value:
    """What flows into one column that shows either of two values (a set operation's)."""
    if first == second:
        return first
    return union((first, second))


def failing(value: Value) -> Value:
    """The same, of an expression that may fail."""
    if value.fails and not value.plain:
        return value
    return Value(value.sources, False, value.unknown, value.functions, True)


def not_plain(value: Value) -> Value:
    """The same, changed on its way."""
    if not value.plain:
        return value
    return Value(value.sources, False, value.unknown, value.functions, value.fails)


def output_of(name: str, value: Value) -> Output:
    """A result's column from its lineage."""
    if value.unknown:
        return Output(name, None, False, frozenset(), value.sources)
    if value.functions:
        return Output(name, None, False, value.functions, value.sources)
    return Output(name, value.sources, value.plain, frozenset(), value.sources)
