"""Expressions: the lineage of each kind, in a closed table. What it does not hold is refused.

Every column named is noted as read. Where evaluating a part may fail, or is decided by another
part, the columns that could be guessed by it are noted as compared.

Source: PostgreSQL's `parser/parse_expr.c` (transformExprRecurse) for the kinds there are; manual
section 4.2 for what they mean.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.sql import json_expressions
from taskgate.sql.calls import call_by_name, read_call
from taskgate.sql.columns import read_column, read_indirection
from taskgate.sql.nodes import Node, is_set, opened, strings
from taskgate.sql.operators import apply_operator, cast, judge_type
from taskgate.sql.scope import Scope
from taskgate.sql.values import CONSTANT, Value, failing, not_plain, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any, Scope], Value]


def read(reader: "Reader", node: Node, scope: Scope) -> Value:
    """The lineage of one expression. One of no known kind makes the statement incomplete."""
    which, inner = opened(node)
    handler = _HANDLERS.get(which)
    if handler is None:
        reader.unclear(f"an expression that is not known here ({which or 'empty'})")
        return Value(unknown=True, fails=True)
    return handler(reader, inner, scope)


def _constant(reader: "Reader", node: Any, scope: Scope) -> Value:
    return CONSTANT


def _parameter(reader: "Reader", node: Any, scope: Scope) -> Value:
    # Of any type that the client says.
    reader.findings.makers.add("$")
    return CONSTANT


def _operator_expression(reader: "Reader", node: pb.A_Expr, scope: Scope) -> Value:
    """Chains such as `a || b || c` lean left; they are read in a loop, however long."""
    chain = [node]
    while True:
        left = chain[-1].lexpr
        if left.WhichOneof("node") != "a_expr":
            break
        chain.append(left.a_expr)
    innermost = chain[-1].lexpr
    value = reader.value(innermost, scope) if is_set(innermost) else None
    for one in reversed(chain):
        value = _one_operator(reader, one, value, scope)
    return value if value is not None else CONSTANT


# Kinds whose name is not the operator that they use.
_NAMED_KINDS = {
    pb.AEXPR_DISTINCT: ("=",),
    pb.AEXPR_NOT_DISTINCT: ("=",),
    pb.AEXPR_NULLIF: ("=",),
    pb.AEXPR_BETWEEN: (">=", "<="),
    pb.AEXPR_NOT_BETWEEN: ("<", ">"),
    pb.AEXPR_BETWEEN_SYM: (">=", "<="),
    pb.AEXPR_NOT_BETWEEN_SYM: ("<", ">"),
}
# Kinds that use the operator for each element of what stands on the right.
_BY_ELEMENT = frozenset({pb.AEXPR_OP_ANY, pb.AEXPR_OP_ALL})
_OWN_NAME_KINDS = frozenset(
    {
        pb.AEXPR_OP,
        pb.AEXPR_OP_ANY,
        pb.AEXPR_OP_ALL,
        pb.AEXPR_IN,
        pb.AEXPR_LIKE,
        pb.AEXPR_ILIKE,
        pb.AEXPR_SIMILAR,
    }
)


def _one_operator(reader: "Reader", node: pb.A_Expr, left: Value | None, scope: Scope) -> Value:
    operands = [] if left is None else [left]
    if is_set(node.rexpr):
        operands.append(union(_listed(reader, node.rexpr, scope)))
    named = _NAMED_KINDS.get(node.kind)
    if named is not None:
        # An equality shows nothing of its own about failing; the operator's functions may run.
        found = union(apply_operator(reader, (name,), operands) for name in named)
        return replace(found, strict=False)
    if node.kind not in _OWN_NAME_KINDS:
        reader.unclear(f"an operator expression of an unknown kind ({node.kind})")
    if node.kind in _BY_ELEMENT:
        operands[-1] = replace(operands[-1], nested=False)
    pattern = node.rexpr.a_const.sval.sval if node.rexpr.a_const.HasField("sval") else None
    found = apply_operator(reader, strings(node.name), operands, pattern=pattern)
    # Of a list some may be NULL, and be looked at only where no other is equal.
    several = node.kind in _BY_ELEMENT or node.kind == pb.AEXPR_IN
    return replace(found, strict=False) if several else found


def _listed(reader: "Reader", node: Node, scope: Scope) -> list[Value]:
    """An operand that may be a list (IN, BETWEEN)."""
    if node.WhichOneof("node") == "list":
        return reader.values(node.list.items, scope)
    return [reader.value(node, scope)]


def _boolean(reader: "Reader", node: pb.BoolExpr, scope: Scope) -> Value:
    return guarded(reader, reader.values(node.args, scope))


def guarded(reader: "Reader", values: list[Value]) -> Value:
    """Of values in a row of which the first ones decide whether the later are computed (AND, OR,
    COALESCE): if those may fail, whether they did tells of the ones before."""
    if any(v.fails for v in values):
        for value in values:
            reader.findings.compare(value)
    return not_plain(union(values))


def _coalesce(reader: "Reader", node: pb.CoalesceExpr, scope: Scope) -> Value:
    return guarded(reader, reader.values(node.args, scope))


def _min_max(reader: "Reader", node: pb.MinMaxExpr, scope: Scope) -> Value:
    values = reader.values(node.args, scope)
    if any(v.fails or v.loose for v in values):
        # Only those that are not NULL are compared with each other.
        return _may_fail(reader, values)
    return not_plain(union(values))


def _case(reader: "Reader", node: pb.CaseExpr, scope: Scope) -> Value:
    steering: list[Value] = []
    shown: list[Value] = []
    if is_set(node.arg):
        steering.append(reader.value(node.arg, scope))
    for item in node.args:
        which, when = opened(item)
        if which != "case_when":
            reader.unclear("a CASE without WHEN")
            continue
        steering.append(reader.value(when.expr, scope))
        shown.append(reader.value(when.result, scope))
    if is_set(node.defresult):
        shown.append(reader.value(node.defresult, scope))
    if is_set(node.arg):
        # CASE x WHEN y compares by the operator =.
        steering.append(apply_operator(reader, ("=",), steering))
    for value in steering:
        reader.findings.compare(value)
    return not_plain(union((*steering, *shown)))


def _test(reader: "Reader", node: Any, scope: Scope) -> Value:
    return not_plain(reader.value(node.arg, scope))


def _collate(reader: "Reader", node: pb.CollateClause, scope: Scope) -> Value:
    # Two that differ make an operator or a function above them fail, where it is called.
    return replace(reader.value(node.arg, scope), fails=True)


def _cast(reader: "Reader", node: pb.TypeCast, scope: Scope) -> Value:
    return cast(reader, node.type_name, reader.value(node.arg, scope))


def _array(reader: "Reader", node: pb.A_ArrayExpr, scope: Scope) -> Value:
    values = reader.values(node.elements, scope)
    if any(v.nested for v in values):
        # Arrays within one must be of one length, and none of them NULL.
        return replace(_may_fail(reader, values), nested=True)
    return replace(union(values), plain=False, nested=True, strict=False)


def _row(reader: "Reader", node: pb.RowExpr, scope: Scope) -> Value:
    return replace(union(reader.values(node.args, scope)), plain=False, record=True, strict=False)


def _list(reader: "Reader", node: pb.List, scope: Scope) -> Value:
    return not_plain(union(reader.values(node.items, scope)))


def _named_argument(reader: "Reader", node: pb.NamedArgExpr, scope: Scope) -> Value:
    return reader.value(node.arg, scope)


def _grouping(reader: "Reader", node: pb.GroupingFunc, scope: Scope) -> Value:
    return not_plain(union(reader.values(node.args, scope)))


def _grouping_set(reader: "Reader", node: pb.GroupingSet, scope: Scope) -> Value:
    return not_plain(union(reader.values(node.content, scope)))


def _multi_assign(reader: "Reader", node: pb.MultiAssignRef, scope: Scope) -> Value:
    return reader.value(node.source, scope)


def _sub_link(reader: "Reader", node: pb.SubLink, scope: Scope) -> Value:
    """A subquery in an expression."""
    rows = reader.query(node.subselect, scope)
    inner = union(f.value for f in rows.fields)
    if rows.rest is not None:
        inner = union((inner, rows.rest))
    kind = node.sub_link_type
    # Any part of a subquery may fail, its conditions too; what those tell is noted already.
    if kind == pb.EXISTS_SUBLINK:
        return Value(fails=True)
    if kind == pb.ARRAY_SUBLINK:
        if inner.nested:
            reader.findings.compare(inner)
        return replace(failing(inner), nested=True)
    if kind == pb.EXPR_SUBLINK:
        return failing(inner)
    if kind in (pb.ANY_SUBLINK, pb.ALL_SUBLINK):
        test = reader.value(node.testexpr, scope)
        return apply_operator(reader, strings(node.oper_name) or ("=",), (test, failing(inner)))
    reader.unclear("a subquery of a kind that is not known here")
    return failing(inner)


def _xml(reader: "Reader", node: pb.XmlExpr, scope: Scope) -> Value:
    values = reader.values(node.args, scope)
    for item in node.named_args:
        which, target = opened(item)
        values.append(reader.value(target.val if which == "res_target" else item, scope))
    return _may_fail(reader, values)


def _xml_serialize(reader: "Reader", node: pb.XmlSerialize, scope: Scope) -> Value:
    return cast(reader, node.type_name, _may_fail(reader, [reader.value(node.expr, scope)]))


def _merge_action(reader: "Reader", node: Any, scope: Scope) -> Value:
    """To servers before 17 a call of a function of that name, if a user has made one."""
    names = reader.names
    if names.blind(None) or names.routines(None, "merge_action"):
        return call_by_name(reader, None, "merge_action", [])
    return CONSTANT


def _may_fail(reader: "Reader", values: Iterable[Value]) -> Value:
    found = list(values)
    for value in found:
        if not value.empty:
            reader.findings.compare(value)
    return failing(union(found))


def _default(reader: "Reader", node: Any, scope: Scope) -> Value:
    return Value(fails=True)


def _json(handler: "json_expressions.Parts") -> Handler:
    def read_json(reader: "Reader", node: Any, scope: Scope) -> Value:
        name, parts = handler(reader, node, scope)
        output = getattr(node, "output", None)
        if output is not None and output.HasField("type_name"):
            judge_type(reader, output.type_name)
        names = reader.names
        if name and (names.blind(None) or names.routines(None, name)):
            return call_by_name(reader, None, name, parts)
        return _may_fail(reader, parts)

    return read_json


def _target(reader: "Reader", node: pb.ResTarget, scope: Scope) -> Value:
    return reader.value(node.val, scope)


_HANDLERS: dict[str, Handler] = {
    "a_const": _constant,
    "param_ref": _parameter,
    "column_ref": read_column,
    "a_expr": _operator_expression,
    "bool_expr": _boolean,
    "func_call": read_call,
    "type_cast": _cast,
    "collate_clause": _collate,
    "sub_link": _sub_link,
    "case_expr": _case,
    "coalesce_expr": _coalesce,
    "min_max_expr": _min_max,
    "null_test": _test,
    "boolean_test": _test,
    "a_array_expr": _array,
    "row_expr": _row,
    "a_indirection": read_indirection,
    "named_arg_expr": _named_argument,
    "sqlvalue_function": _constant,
    "set_to_default": _default,
    "current_of_expr": _constant,
    "grouping_func": _grouping,
    "grouping_set": _grouping_set,
    "multi_assign_ref": _multi_assign,
    "merge_support_func": _merge_action,
    "list": _list,
    "res_target": _target,
    "xml_expr": _xml,
    "xml_serialize": _xml_serialize,
    **{name: _json(parts) for name, parts in json_expressions.PARTS.items()},
}

# Kinds that are no more than a list or a constant in definitions.
_PASSIVE = frozenset({"a_const", "list", "res_target", "set_to_default"})


def is_expression(which: str) -> bool:
    """Whether nodes of this kind are evaluated, wherever they stand."""
    return which in _HANDLERS and which not in _PASSIVE
