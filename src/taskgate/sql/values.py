"""What flows into an expression: the lineage of one value."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from taskgate.sql.facts import ColumnRef, Output

_NO_COLUMNS: frozenset[ColumnRef] = frozenset()
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """`sources` are the stored columns known to flow in; more may if `unknown`, or if the results
    of `functions` (user-defined, spelled) do. `plain`: one column's value, unchanged.
    `fails`: computing it may fail, which is seen by whoever can decide whether it is computed.
    `record`: rows may be in it, `nested`: arrays or documents; whether such can be compared, or
    joined, depends on what they hold. `bounded`: many of them may add up to more than their type
    holds. `strict`: it is NULL where a stored column is, and for no other value.
    """

    sources: frozenset[ColumnRef] = _NO_COLUMNS
    plain: bool = False
    unknown: bool = False
    functions: frozenset[str] = _NO_NAMES
    fails: bool = False
    record: bool = False
    nested: bool = False
    bounded: bool = False
    strict: bool = False

    @property
    def solid(self) -> bool:
        """Whether its being NULL tells nothing: a masked NULL is shown as one anyway."""
        return self.plain or self.strict or self.empty

    @property
    def loose(self) -> bool:
        """Whether comparing it with another may fail, depending on both."""
        return self.record or self.nested

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
        return replace(one, plain=False, fails=one.fails or fails, strict=one.solid)
    return Value(
        frozenset().union(*(v.sources for v in found)),
        False,
        any(v.unknown for v in found),
        frozenset().union(*(v.functions for v in found)),
        fails or any(v.fails for v in found),
        any(v.record for v in found),
        any(v.nested for v in found),
        any(v.bounded for v in found),
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
    return replace(value, plain=False, fails=True, strict=False)


def not_plain(value: Value) -> Value:
    """The same, changed on its way."""
    if not value.plain:
        return value
    return replace(value, plain=False, strict=True)


def output_of(name: str, value: Value) -> Output:
    """A result's column from its lineage."""
    if value.unknown:
        return Output(name, None, False, frozenset(), value.sources)
    if value.functions:
        return Output(name, None, False, value.functions, value.sources)
    return Output(name, value.sources, value.plain, frozenset(), value.sources)
