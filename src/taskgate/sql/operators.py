"""Operators and types: the user-defined functions that stand behind them.

Source: PostgreSQL manual, sections 10.2 (how an operator is picked) and 10.4; pg_cast.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.sql.entries import Routine
from taskgate.sql.known import (
    COMPARISONS,
    LIKES,
    NULL_UNLESS_FOUND,
    TOTAL_CASTS,
    TOTAL_OPERATORS,
)
from taskgate.sql.nodes import strings
from taskgate.sql.spelling import SYSTEM, split_name, unresolved
from taskgate.sql.values import Value, failing, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

# In place of a type's name: one that is not the server's own.
UNLISTED_TYPE = "?"


def apply_operator(
    reader: "Reader",
    parts: Sequence[str],
    operands: Sequence[Value],
    *,
    pattern: str | None = None,
) -> Value:
    """The lineage of an operator's result; its actions are noted. `pattern` is what stands on the
    right of it, if that is a constant text."""
    functions = judge_operator(reader, parts)
    reader.findings.makers.add(parts[-1])
    flowing = union(operands)
    if functions:
        for value in operands:
            reader.findings.compare(value)
        return Value(
            flowing.sources, False, flowing.unknown, flowing.functions | functions, fails=True
        )
    total = 0
    if not any(v.fails for v in operands):
        total = _total(parts[-1], operands, pattern)
    for value in operands[total:]:
        if not value.empty:
            reader.findings.compare(value)
    if total < len(operands):
        return failing(flowing)
    strict = parts[-1] not in NULL_UNLESS_FOUND and all(v.solid for v in operands)
    return replace(flowing, plain=False, strict=strict)


def _total(name: str, operands: Sequence[Value], pattern: str | None) -> int:
    """Of how many operands no value makes the operator fail."""
    total = TOTAL_OPERATORS.get(name, 0)
    if name in COMPARISONS and any(v.loose for v in operands):
        # Rows are compared column by column up to the first difference: one whose type has no
        # order fails only where all before are equal.
        return 0
    if name == "||" and any(v.nested for v in operands):
        # Arrays of other lengths, objects and scalars, cannot be joined.
        return 0
    if name in LIKES and (pattern is None or _dangles(pattern)):
        # Its last character is looked at only where all before it has matched.
        return 0
    if total < len(operands) and not all(v.solid for v in operands[:total]):
        # What fails for every value is not even called for NULL.
        return 0
    return total


def _dangles(pattern: str) -> bool:
    """Whether it ends with an escape character that escapes nothing."""
    return (len(pattern) - len(pattern.rstrip("\\"))) % 2 == 1


def judge_operator(reader: "Reader", parts: Sequence[str]) -> frozenset[str]:
    """Notes the calls of user-defined functions that an operator of this name may be; which."""
    schema, name = split_name(parts)
    if schema == SYSTEM:
        return frozenset()
    if reader.names.blind(schema):
        return _unresolved_call(reader, name)
    return judge_routines(reader, reader.names.operator(schema, name).routines)


def note_sort_operator(reader: "Reader", item: pb.SortBy) -> None:
    """ORDER BY ... USING an operator of the user's runs its function."""
    if item.use_op:
        judge_operator(reader, strings(item.use_op))


def _unresolved_call(reader: "Reader", name: str) -> frozenset[str]:
    reader.findings.act(Action("call", unresolved(name), "function", True))
    reader.findings.opaque = reader.findings.may_change_resolution = True
    return frozenset({unresolved(name)})


def judge_routines(
    reader: "Reader", routines: Sequence[Routine], *, unasked: bool = False
) -> frozenset[str]:
    """Notes the calls of those of `routines` that are users' own; which."""
    noted = reader.findings.unasked if unasked else reader.findings.actions
    found: set[str] = set()
    for routine in routines:
        if routine.native:
            continue
        found.add(routine.spelled)
        noted[Action("call", routine.spelled, "function", routine.volatile)] = None
        reader.findings.opaque = True
        reader.findings.may_change_resolution = True
    return frozenset(found)


def cast(reader: "Reader", type_name: pb.TypeName, value: Value) -> Value:
    """The lineage of a cast's result; the calls of user-defined cast functions are noted."""
    parts = strings(type_name.names)
    builtin = len(parts) == 1 or parts[0] == SYSTEM
    # A domain stands for the type that it is made over.
    reader.findings.makers.update((parts[-1],) if builtin else (parts[-1], UNLISTED_TYPE))
    functions = judge_type(reader, type_name)
    if functions:
        reader.findings.compare(value)
        return Value(value.sources, False, value.unknown, value.functions | functions, fails=True)
    if builtin and parts[-1] in TOTAL_CASTS and not type_name.array_bounds:
        return replace(value, plain=False, strict=value.solid, record=False, nested=False)
    if not value.empty:
        reader.findings.compare(value)
    return failing(value)


def judge_type(reader: "Reader", type_name: pb.TypeName) -> frozenset[str]:
    """Notes the calls of user-defined functions that converting to this type may make; which."""
    schema, name = split_name(strings(type_name.names))
    if schema == SYSTEM or not name:
        return frozenset()
    if reader.names.blind(schema):
        return _unresolved_call(reader, name)
    # An array's own name begins with an underscore; its elements may have casts of their own.
    found = [reader.names.type(schema, name)]
    if name.startswith("_"):
        found.append(reader.names.type(schema, name[1:]))
    return judge_routines(reader, [r for one in found if one is not None for r in one.casts])
