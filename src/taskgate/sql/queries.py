"""SELECT, VALUES and set operations: their rows, and what decides which rows come.

Source: PostgreSQL manual, "SELECT"; PostgreSQL's `parser/analyze.c` and `parser/parse_clause.c`
for what names in GROUP BY and ORDER BY mean.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.sql import creating
from taskgate.sql.calls import read_window
from taskgate.sql.columns import find_source
from taskgate.sql.from_items import read_from
from taskgate.sql.nodes import Node, is_set, opened
from taskgate.sql.operators import note_sort_operator
from taskgate.sql.output_names import name_of
from taskgate.sql.scope import Field, Item, Rows, Scope, Source
from taskgate.sql.values import CONSTANT, UNKNOWN, Value, merged, not_plain, union
from taskgate.sql.with_queries import read_with

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def read_select(reader: "Reader", select: pb.SelectStmt, parent: Scope | None) -> Rows:
    """The rows of a SELECT with everything around it."""
    scope = Scope(parent)
    if select.HasField("with_clause"):
        read_with(reader, select.with_clause, scope)
    if select.op != pb.SETOP_NONE:
        rows = _set_operation(reader, select, scope)
        _order_by_output(reader, select.sort_clause, rows, scope)
        _limits(reader, select, scope)
        if select.locking_clause:
            reader.unclear("FOR UPDATE of a set operation")
        return rows
    if select.values_lists:
        rows = _values(reader, select, scope)
        _order_by_output(reader, select.sort_clause, rows, scope)
        _limits(reader, select, scope)
        return rows
    return _simple(reader, select, scope)


def _simple(reader: "Reader", select: pb.SelectStmt, scope: Scope) -> Rows:
    findings = reader.findings
    first_access = len(findings.accesses)
    for node in select.from_clause:
        scope.items.append(read_from(reader, node, scope))
    accesses = findings.accesses[first_access:]
    reader.steer(select.where_clause, scope)
    scope.where = select.where_clause
    for node in select.window_clause:
        window = node.window_def
        value = read_window(reader, window, scope)
        if window.refname:
            value = union((value, scope.windows.get(window.refname, CONSTANT)))
        scope.windows[window.name] = value
    rows = read_targets(reader, select.target_list, scope)
    for node in select.group_clause:
        findings.compare(_group_item(reader, node, rows, select.target_list, scope))
    reader.steer(select.having_clause, scope)
    if select.distinct_clause:
        on = [n for n in select.distinct_clause if is_set(n)]
        if on:
            for node in on:
                findings.compare(_sort_item(reader, node, rows, scope))
        else:
            reader.compare_all(rows)
    for node in select.sort_clause:
        note_sort_operator(reader, node.sort_by)
        findings.compare(_sort_item(reader, node.sort_by.node, rows, scope))
    _limits(reader, select, scope)
    for node in select.locking_clause:
        _lock(reader, node.locking_clause, scope, [a.object for a in accesses])
    if select.HasField("into_clause"):
        creating.note_into(reader, select.into_clause, rows)
    return rows


def read_targets(reader: "Reader", targets: Iterable[Node], scope: Scope) -> Rows:
    """The columns of a target list (or RETURNING), stars expanded."""
    fields: list[Field] = []
    rest: list[Value] = []
    for node in targets:
        which, target = opened(node)
        if which != "res_target":
            reader.unclear(f"{which or 'nothing'} in a list of columns")
            continue
        inner = target.val
        kind = inner.WhichOneof("node")
        if kind == "column_ref" and _is_star(inner.column_ref):
            more = _star(reader, inner.column_ref, scope)
        elif kind == "a_indirection" and (
            inner.a_indirection.indirection[-1].WhichOneof("node") == "a_star"
        ):
            more = Rows((), reader.value(inner, scope))
        else:
            value = reader.value(inner, scope)
            more = Rows((Field(target.name or name_of(inner), value),))
        fields.extend(more.fields)
        if more.rest is not None:
            rest.append(more.rest)
    return Rows(tuple(fields), union(rest) if rest else None)


def _is_star(ref: pb.ColumnRef) -> bool:
    return bool(ref.fields) and ref.fields[-1].WhichOneof("node") == "a_star"


def _star(reader: "Reader", ref: pb.ColumnRef, scope: Scope) -> Rows:
    """`*` shows every FROM item, `alias.*` one."""
    parts = [f.string.sval for f in ref.fields[:-1]]
    if parts:
        source = find_source(scope, parts)
        if source is None:
            return Rows((), UNKNOWN)
        source.read_all()
        return _as_computed(source.rows)
    fields: list[Field] = []
    rest: list[Value] = []
    for item in scope.items:
        rows = _as_computed(item.rows)
        fields.extend(rows.fields)
        if rows.rest is not None:
            rest.append(rows.rest)
            for source in item.sources:
                if source.rows.rest is not None:
                    source.read_all()
    return Rows(tuple(fields), union(rest) if rest else None)


def _as_computed(rows: Rows) -> Rows:
    """The same columns as outputs: read here, and not again where they are named further out."""
    return Rows(tuple(Field(f.name, f.read()) for f in rows.fields), rows.rest)


def _sort_item(reader: "Reader", node: Node, rows: Rows, scope: Scope) -> Value:
    """ORDER BY and DISTINCT ON: an output's position, an output's name, or any expression."""
    which, inner = opened(node)
    if which == "a_const":
        return _by_position(reader, inner, rows)
    if which == "column_ref" and len(inner.fields) == 1:
        found = [f for f in rows.fields if f.name == inner.fields[0].string.sval]
        if found:
            return union(f.value for f in found)
        if rows.rest is not None:
            return union((rows.rest, reader.value(node, scope)))
    return reader.value(node, scope)


def _group_item(
    reader: "Reader", node: Node, rows: Rows, targets: Sequence[Node], scope: Scope
) -> Value:
    """GROUP BY: a position, a column of FROM, an output's name, or any expression."""
    which, inner = opened(node)
    if which == "a_const":
        return _by_position(reader, inner, rows)
    if which == "grouping_set":
        return union(_group_item(reader, n, rows, targets, scope) for n in inner.content)
    if which == "row_expr":
        return union(_group_item(reader, n, rows, targets, scope) for n in inner.args)
    if which == "column_ref" and len(inner.fields) == 1:
        name = inner.fields[0].string.sval
        here = any(f.name == name for item in scope.items for f in item.rows.fields)
        found = [f for f in rows.fields if f.name == name]
        if found and not here:
            return union(f.value for f in found)
    return reader.value(node, scope)


def _by_position(reader: "Reader", constant: pb.A_Const, rows: Rows) -> Value:
    reader.findings.reads_constants = True
    if constant.WhichOneof("val") != "ival":
        return CONSTANT
    position = int(constant.ival.ival)
    if rows.rest is not None:
        return rows.read_all()
    if 1 <= position <= len(rows.fields):
        return rows.fields[position - 1].value
    return CONSTANT


def _order_by_output(
    reader: "Reader", sort_clause: Iterable[Node], rows: Rows, scope: Scope
) -> None:
    """ORDER BY of a set operation or VALUES knows the outputs only."""
    inner = Scope(scope)
    inner.items.append(Item(rows, (Source("", rows),)))
    for node in sort_clause:
        note_sort_operator(reader, node.sort_by)
        reader.findings.compare(_sort_item(reader, node.sort_by.node, rows, inner))


def _limits(reader: "Reader", select: pb.SelectStmt, scope: Scope) -> None:
    reader.steer(select.limit_count, scope)
    reader.steer(select.limit_offset, scope)


def _set_operation(reader: "Reader", select: pb.SelectStmt, scope: Scope) -> Rows:
    """Long chains lean left; they are read in a loop."""
    chain = [select]
    while _goes_on(chain[-1].larg):
        chain.append(chain[-1].larg)
    rows = reader.select(chain[-1].larg, scope)
    for one in reversed(chain):
        rows = union_rows(rows, reader.select(one.rarg, scope))
        if not (one.op == pb.SETOP_UNION and one.all):
            reader.compare_all(rows)
    return rows


def _goes_on(left: pb.SelectStmt) -> bool:
    """Whether a set operation's left side is one too, with nothing of its own around it."""
    return left.op != pb.SETOP_NONE and not (
        left.HasField("with_clause")
        or left.sort_clause
        or left.locking_clause
        or is_set(left.limit_count)
        or is_set(left.limit_offset)
    )


def union_rows(left: Rows, right: Rows) -> Rows:
    """Position by position; names are the left side's."""
    if left.rest is None and right.rest is None and len(left.fields) == len(right.fields):
        return Rows(
            tuple(
                Field(a.name, merged(a.value, b.value))
                for a, b in zip(left.fields, right.fields, strict=True)
            )
        )
    everything = union((left.read_all(), right.read_all()))
    return Rows((), everything)


def _values(reader: "Reader", select: pb.SelectStmt, scope: Scope) -> Rows:
    columns: list[list[Value]] = []
    for row in select.values_lists:
        for at, node in enumerate(row.list.items):
            if at == len(columns):
                columns.append([])
            # A long VALUES is mostly constants: those have no lineage.
            if node.WhichOneof("node") != "a_const":
                columns[at].append(reader.value(node, scope))
    return Rows(
        tuple(
            Field(f"column{at}", _column(values, len(select.values_lists)))
            for at, values in enumerate(columns, 1)
        )
    )


def _column(values: list[Value], rows: int) -> Value:
    found = union(values)
    if found.plain and rows > 1:
        return not_plain(found)
    return found


def _lock(
    reader: "Reader", clause: pb.LockingClause, scope: Scope, everything: Iterable[str]
) -> None:
    """FOR UPDATE, FOR SHARE and kin: each relation whose rows are locked."""
    objects: list[str] = []
    if clause.locked_rels:
        for node in clause.locked_rels:
            source = find_source(scope, [node.range_var.relname])
            if source is None or source.access is None:
                objects.extend(everything)
            else:
                objects.append(source.access.object)
    else:
        objects.extend(everything)
    for name in objects:
        reader.findings.act(Action("lock", name, "table", True))
