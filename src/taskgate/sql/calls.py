"""Function calls: what they are judged as, and what flows through them.

Source: PostgreSQL manual, sections 4.2.7 to 4.2.9 (calls, aggregates, windows) and 10.3 (how a
function is picked among those of its name).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import session_calls
from taskgate.sql.known import EVERY_ARGUMENT, SafeFunction, safe_functions
from taskgate.sql.nodes import is_set, strings
from taskgate.sql.operators import note_sort_operator
from taskgate.sql.scope import Scope
from taskgate.sql.spelling import SYSTEM, split_name, unresolved
from taskgate.sql.values import CONSTANT, Value, failing, not_plain, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

# Functions outside the safe list that certainly leave the meaning of names as it is.
_NAMES_UNCHANGED = frozenset(
    {
        "currval",
        "lastval",
        "nextval",
        "pg_advisory_lock",
        "pg_advisory_unlock",
        "pg_advisory_xact_lock",
        "pg_cancel_backend",
        "pg_notify",
        "pg_sleep",
        "pg_terminate_backend",
        "pg_try_advisory_lock",
        "pg_try_advisory_xact_lock",
        "set_config",
        "setval",
    }
)


_KNOWS_SYSTEM_USER = 160_000


def read_call(reader: "Reader", node: pb.FuncCall, scope: Scope) -> Value:
    """The lineage of a call; its actions are noted."""
    schema, name = split_name(strings(node.funcname))
    args = list(node.args)
    if node.agg_within_group:
        args.extend(s.sort_by.node for s in node.agg_order)
    values = reader.values(args, scope)
    special = session_calls.read(reader, (schema, name), args, values, scope)
    if special is not None:
        return special
    around: list[Value] = []
    if node.HasField("over"):
        # The window decides the order of rows, besides what the function makes of it.
        around.append(not_plain(_window(reader, node.over, scope)))
        reader.findings.compare(around[0])
    if not node.agg_within_group:
        around.extend(reader.value(s.sort_by.node, scope) for s in node.agg_order)
        for item in node.agg_order:
            note_sort_operator(reader, item.sort_by)
    sorted_by = [*around, *(values if node.agg_distinct else ())]
    sorting_fails = any(v.fails or v.loose for v in sorted_by)
    if is_set(node.agg_filter):
        around.append(reader.value(node.agg_filter, scope))
    if sorting_fails:
        for value in (*values, *around):
            reader.findings.compare(value)
    if schema == SYSTEM and name == "system_user":
        # Asked for so that the server's version is known.
        reader.names.routines(None, name)
        if reader.names.catalog.server_version < _KNOWS_SYSTEM_USER:
            reader.unclear("SYSTEM_USER, which this server reads as the name of a column")
    called = call_by_name(reader, schema, name, values)
    if called.fails and is_set(node.agg_filter):
        # Whether the arguments are computed, and fail, tells what the condition found.
        reader.findings.compare(around[-1])
    return union((called, *around), fails=sorting_fails)


def call_by_name(reader: "Reader", schema: str | None, name: str, args: Sequence[Value]) -> Value:
    """The lineage of a call of a function by name; its actions are noted."""
    safe = judge_name(reader, schema, name)
    reader.findings.makers.add(name)
    flowing = union(args)
    if not isinstance(safe, SafeFunction):
        for value in args:
            reader.findings.compare(value)
        return Value(flowing.sources, False, flowing.unknown, flowing.functions | safe, fails=True)
    untroubled = safe.untroubled(args)
    for at, value in enumerate(args):
        if at not in untroubled and not value.empty:
            reader.findings.compare(value)
    made = replace(
        flowing,
        plain=False,
        nested=flowing.nested or "nested" in safe.words,
        strict="strict" in safe.words and all(v.solid for v in args),
    )
    never = safe.total >= EVERY_ARGUMENT or len(args) <= safe.total
    return made if never and len(untroubled) == len(args) else failing(made)


def judge_name(reader: "Reader", schema: str | None, name: str) -> SafeFunction | frozenset[str]:
    """Notes the actions of calling whatever goes by this name. The safe function if it is
    certainly one; otherwise all that it may be, spelled."""
    names = reader.names
    findings = reader.findings
    if schema is None and names.blind(None):
        findings.act(Action("call", unresolved(name), "function", True))
        findings.opaque = findings.may_change_resolution = True
        return frozenset({unresolved(name)})
    users = names.routines(schema, name) if schema != SYSTEM else ()
    safe = safe_functions().get(name) if schema in (None, SYSTEM) else None
    if safe is not None:
        findings.act(Action("call", spell(SYSTEM, name), "builtin", False))
        if not users:
            return safe
    found = {r.spelled: r.volatile for r in users}
    if schema is not None and schema != SYSTEM and not users:
        found[spell(schema, name)] = True
    if safe is None and schema in (None, SYSTEM) and names.routines(SYSTEM, name):
        found[spell(SYSTEM, name)] = True
    if schema == SYSTEM and not found:
        found[spell(SYSTEM, name)] = True
    if not found:
        found[unresolved(name)] = True
    for spelled, volatile in found.items():
        findings.act(Action("call", spelled, "function", volatile))
    findings.opaque = True
    if users or schema not in (None, SYSTEM) or name not in _NAMES_UNCHANGED:
        findings.may_change_resolution = True
    return frozenset(found)


def may_be_function(reader: "Reader", name: str) -> bool:
    """Whether an unqualified name may be that of any function."""
    names = reader.names
    return (
        names.blind(None)
        or name in safe_functions()
        or bool(names.routines(None, name) or names.routines(SYSTEM, name))
    )


def _window(reader: "Reader", window: pb.WindowDef, scope: Scope) -> Value:
    """What decides the order and the frames of a window."""
    if window.name or window.refname:
        named = scope.windows.get(window.name or window.refname, CONSTANT)
    else:
        named = CONSTANT
    return union((named, read_window(reader, window, scope)))


def read_window(reader: "Reader", window: pb.WindowDef, scope: Scope) -> Value:
    """The values that a window definition sorts and parts by."""
    values = reader.values(window.partition_clause, scope)
    for item in window.order_clause:
        values.append(reader.value(item.sort_by.node, scope))
        note_sort_operator(reader, item.sort_by)
    for offset in (window.start_offset, window.end_offset):
        if is_set(offset):
            values.append(reader.value(offset, scope))
    return union(values)
