"""Functions, XMLTABLE and JSON_TABLE in FROM. They see the items before them, LATERAL or not.

What goes into them decides how many rows come, so all of it counts as compared.

Source: PostgreSQL manual, sections 7.2.1.4, 9.15.3 and 9.16.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.sql.json_expressions import behaviour, read_list, value_expression
from taskgate.sql.known import safe_functions
from taskgate.sql.nodes import Node, is_set, opened, strings
from taskgate.sql.operators import judge_type
from taskgate.sql.output_names import name_of
from taskgate.sql.renaming import renamed
from taskgate.sql.scope import Field, Item, Rows, Scope, Source
from taskgate.sql.spelling import SYSTEM, split_name
from taskgate.sql.values import CONSTANT, Value, failing, not_plain, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def read_function(reader: "Reader", node: pb.RangeFunction, scope: Scope) -> Item:
    """`f(...)`, `ROWS FROM (...)`, with column definitions or WITH ORDINALITY."""
    alias = node.alias.aliasname
    fields: list[Field] = []
    rest: list[Value] = []
    single = len(node.functions) == 1
    for pair in node.functions:
        items = pair.list.items if pair.WhichOneof("node") == "list" else [pair]
        if not items:
            reader.unclear("an empty function in FROM")
            continue
        definitions = [n for n in items[1:] if is_set(n)]
        definitions = _flattened(definitions) or list(node.coldeflist)
        value = not_plain(reader.value(items[0], scope))
        reader.findings.compare(value)
        columns = _columns(reader, items[0], definitions, alias if single else "")
        if columns is None:
            rest.append(value)
        else:
            fields.extend(Field(name, value) for name in columns)
    if node.ordinality:
        fields.append(Field("ordinality", CONSTANT))
    rows = Rows(tuple(fields), union(rest) if rest else None)
    rows = renamed(rows, strings(node.alias.colnames))
    name = alias or (name_of(node.functions[0].list.items[0]) if single else "")
    return Item(rows, (Source(name, rows),))


def _flattened(nodes: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        found.extend(node.list.items if node.WhichOneof("node") == "list" else [node])
    return found


def _columns(
    reader: "Reader", call: Node, definitions: Sequence[Node], alias: str
) -> tuple[str, ...] | None:
    """The columns of a function's rows; None where they cannot be told."""
    if definitions:
        for node in definitions:
            judge_type(reader, node.column_def.type_name)
        return tuple(node.column_def.colname for node in definitions)
    which, inner = opened(call)
    if which != "func_call":
        # SQL-value functions, casts and the like: one column.
        return (alias or name_of(call),)
    schema, name = split_name(strings(inner.funcname))
    safe = safe_functions().get(name) if schema in (None, SYSTEM) else None
    if safe is None or (schema is None and reader.names.routines(None, name)):
        return None
    if safe.columns:
        return safe.columns
    if safe.record and not (name == "unnest" and _scalars(inner)):
        return None
    return (alias or name,)


def _scalars(call: pb.FuncCall) -> bool:
    """Whether UNNEST's arguments are surely arrays of plain values, one column each."""
    if len(call.args) != 1:
        return False
    which, inner = opened(call.args[0])
    if which == "type_cast":
        names = strings(inner.type_name.names)
        return len(names) == 2 and names[0] == SYSTEM
    if which == "a_array_expr":
        return all(n.WhichOneof("node") in ("a_const", "param_ref") for n in inner.elements)
    return False


def read_xml_table(reader: "Reader", node: pb.RangeTableFunc, scope: Scope) -> Item:
    """XMLTABLE."""
    values = [reader.value(n, scope) for n in (node.docexpr, node.rowexpr) if is_set(n)]
    for item in node.namespaces:
        which, target = opened(item)
        values.append(reader.value(target.val if which == "res_target" else item, scope))
    names: list[str] = []
    for item in node.columns:
        column = item.range_table_func_col
        names.append(column.colname)
        if not column.for_ordinality:
            judge_type(reader, column.type_name)
        values.extend(
            reader.value(n, scope) for n in (column.colexpr, column.coldefexpr) if is_set(n)
        )
    return _table(reader, values, names, node.alias)


def read_json_table(reader: "Reader", node: pb.JsonTable, scope: Scope) -> Item:
    """JSON_TABLE: a function of that name to servers before 17, where it does not parse."""
    values = value_expression(reader, node.context_item, scope)
    values += read_list(reader, node.passing, scope)
    if node.HasField("on_error") and is_set(node.on_error.expr):
        values.append(reader.value(node.on_error.expr, scope))
    if is_set(node.pathspec.string):
        values.append(reader.value(node.pathspec.string, scope))
    names: list[str] = []
    _json_columns(reader, node.columns, scope, names, values)
    return _table(reader, values, names, node.alias)


def _json_columns(
    reader: "Reader", columns: Sequence[Node], scope: Scope, names: list[str], values: list[Value]
) -> None:
    for item in columns:
        column = item.json_table_column
        if column.coltype == pb.JTC_NESTED:
            _json_columns(reader, column.columns, scope, names, values)
            continue
        names.append(column.name)
        if column.HasField("type_name"):
            judge_type(reader, column.type_name)
        values += behaviour(reader, column, scope)


def _table(
    reader: "Reader", values: Sequence[Value], names: Sequence[str], alias: pb.Alias
) -> Item:
    value = failing(union(values))
    reader.findings.compare(value)
    rows = renamed(Rows(tuple(Field(name, value) for name in names)), strings(alias.colnames))
    return Item(rows, (Source(alias.aliasname, rows),))
