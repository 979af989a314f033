"""SQL/JSON expressions: grammar in newer servers, plain calls of functions in older ones.

A server that does not know `JSON_SCALAR(x)` as grammar calls a function `json_scalar`, if a user
has made one. So each is judged as a call of the function of its name.

Source: PostgreSQL manual, section 9.16; `parser/parse_expr.c` (transformJson...).
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.sql.calls import read_window
from taskgate.sql.nodes import Node, is_set, opened
from taskgate.sql.scope import Scope
from taskgate.sql.values import Value

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Parts = Callable[["Reader", Any, Scope], tuple[str, list[Value]]]

_FUNCTION_NAMES = {
    pb.JSON_EXISTS_OP: "json_exists",
    pb.JSON_QUERY_OP: "json_query",
    pb.JSON_VALUE_OP: "json_value",
    pb.JSON_TABLE_OP: "json_table",
}


def value_expression(reader: "Reader", node: pb.JsonValueExpr, scope: Scope) -> list[Value]:
    """The values in an argument with FORMAT JSON and the like."""
    return [reader.value(n, scope) for n in (node.raw_expr, node.formatted_expr) if is_set(n)]


def read_list(reader: "Reader", nodes: Iterable[Node], scope: Scope) -> list[Value]:
    """The values in a list of arguments, whatever they are wrapped in."""
    found: list[Value] = []
    for node in nodes:
        which, inner = opened(node)
        if which == "json_value_expr":
            found += value_expression(reader, inner, scope)
        elif which == "json_key_value":
            found.append(reader.value(inner.key, scope))
            found += value_expression(reader, inner.value, scope)
        elif which == "json_argument":
            found += value_expression(reader, inner.val, scope)
        else:
            found.append(reader.value(node, scope))
    return found


def behaviour(reader: "Reader", holder: Any, scope: Scope) -> list[Value]:
    """DEFAULT expressions ON EMPTY and ON ERROR."""
    return [
        reader.value(getattr(holder, name).expr, scope)
        for name in ("on_empty", "on_error")
        if holder.HasField(name) and is_set(getattr(holder, name).expr)
    ]


def _object(
    reader: "Reader", node: pb.JsonObjectConstructor, scope: Scope
) -> tuple[str, list[Value]]:
    return "json_object", read_list(reader, node.exprs, scope)


def _array(
    reader: "Reader", node: pb.JsonArrayConstructor, scope: Scope
) -> tuple[str, list[Value]]:
    return "json_array", read_list(reader, node.exprs, scope)


def _array_query(
    reader: "Reader", node: pb.JsonArrayQueryConstructor, scope: Scope
) -> tuple[str, list[Value]]:
    rows = reader.query(node.query, scope)
    values = [f.value for f in rows.fields]
    return "json_array", values if rows.rest is None else [*values, rows.rest]


def _aggregate(
    reader: "Reader", constructor: pb.JsonAggConstructor, scope: Scope, values: list[Value]
) -> list[Value]:
    if is_set(constructor.agg_filter):
        condition = reader.value(constructor.agg_filter, scope)
        values.append(condition)
    for item in constructor.agg_order:
        values.append(reader.value(item.sort_by.node, scope))
    if constructor.HasField("over"):
        values.append(read_window(reader, constructor.over, scope))
    for value in values:
        reader.findings.compare(value)
    return values


def _object_aggregate(
    reader: "Reader", node: pb.JsonObjectAgg, scope: Scope
) -> tuple[str, list[Value]]:
    values = [reader.value(node.arg.key, scope), *value_expression(reader, node.arg.value, scope)]
    return "json_objectagg", _aggregate(reader, node.constructor, scope, values)


def _array_aggregate(
    reader: "Reader", node: pb.JsonArrayAgg, scope: Scope
) -> tuple[str, list[Value]]:
    values = value_expression(reader, node.arg, scope)
    return "json_arrayagg", _aggregate(reader, node.constructor, scope, values)


def _parse(reader: "Reader", node: pb.JsonParseExpr, scope: Scope) -> tuple[str, list[Value]]:
    return "json", value_expression(reader, node.expr, scope)


def _scalar(reader: "Reader", node: pb.JsonScalarExpr, scope: Scope) -> tuple[str, list[Value]]:
    return "json_scalar", [reader.value(node.expr, scope)]


def _serialize(
    reader: "Reader", node: pb.JsonSerializeExpr, scope: Scope
) -> tuple[str, list[Value]]:
    return "json_serialize", value_expression(reader, node.expr, scope)


def _predicate(reader: "Reader", node: pb.JsonIsPredicate, scope: Scope) -> tuple[str, list[Value]]:
    return "", [reader.value(node.expr, scope)]


def _function(reader: "Reader", node: pb.JsonFuncExpr, scope: Scope) -> tuple[str, list[Value]]:
    values = value_expression(reader, node.context_item, scope)
    if is_set(node.pathspec):
        values.append(reader.value(node.pathspec, scope))
    values += read_list(reader, node.passing, scope)
    values += behaviour(reader, node, scope)
    return _FUNCTION_NAMES.get(node.op, ""), values


def _value(reader: "Reader", node: pb.JsonValueExpr, scope: Scope) -> tuple[str, list[Value]]:
    return "", value_expression(reader, node, scope)


PARTS: dict[str, Parts] = {
    "json_object_constructor": _object,
    "json_array_constructor": _array,
    "json_array_query_constructor": _array_query,
    "json_object_agg": _object_aggregate,
    "json_array_agg": _array_aggregate,
    "json_parse_expr": _parse,
    "json_scalar_expr": _scalar,
    "json_serialize_expr": _serialize,
    "json_is_predicate": _predicate,
    "json_func_expr": _function,
    "json_value_expr": _value,
}
