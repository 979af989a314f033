"""FROM: tables, subqueries, functions and joins as things whose columns can be named.

Source: PostgreSQL manual, section 7.2.1; PostgreSQL's `parser/parse_clause.c`.
"""

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.sql import relations
from taskgate.sql.columns import from_rest
from taskgate.sql.from_functions import read_function, read_json_table, read_xml_table
from taskgate.sql.nodes import Node, is_set, opened, strings
from taskgate.sql.renaming import renamed
from taskgate.sql.scope import Field, Item, Rows, Scope, Source
from taskgate.sql.spelling import unresolved
from taskgate.sql.values import UNKNOWN, Value, not_plain, union
from taskgate.sql.with_queries import rows_of

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def read_from(reader: "Reader", node: Node, scope: Scope) -> Item:
    """One FROM item. `scope` has the items before it, which LATERAL ones may name."""
    which, inner = opened(node)
    if which == "range_var":
        return read_table(reader, inner, scope)
    if which == "join_expr":
        return _joins(reader, inner, scope)
    if which == "range_subselect":
        return _subquery(reader, inner, scope)
    if which == "range_function":
        return read_function(reader, inner, scope)
    if which == "range_table_func":
        return read_xml_table(reader, inner, scope)
    if which == "json_table":
        return read_json_table(reader, inner, scope)
    if which == "range_table_sample":
        return _sample(reader, inner, scope)
    reader.unclear(f"a FROM item that is not known here ({which or 'empty'})")
    return Item(Rows((), UNKNOWN), ())


def read_table(reader: "Reader", node: pb.RangeVar, scope: Scope) -> Item:
    """A table, view or WITH query by name."""
    names = strings(node.alias.colnames)
    alias = node.alias.aliasname or node.relname
    if not node.schemaname and not node.catalogname:
        cte = scope.cte(node.relname)
        if cte is not None:
            rows = renamed(rows_of(reader, cte), names)
            return Item(rows, (Source(alias, rows),))
    access = relations.open_relation(reader, node)
    rows = renamed(relations.rows_of(access), names)
    schema = ""
    if not node.alias.aliasname:
        schema = access.relation.schema if access.relation is not None else node.schemaname
    return Item(rows, (Source(alias, rows, access, schema),))


def _subquery(reader: "Reader", node: pb.RangeSubselect, scope: Scope) -> Item:
    parent = scope if node.lateral else without_items(scope)
    rows = renamed(reader.query(node.subquery, parent), strings(node.alias.colnames))
    return Item(rows, (Source(node.alias.aliasname, rows),))


def without_items(scope: Scope) -> Scope:
    """What a FROM item sees that is not LATERAL: the WITH queries and what is further out."""
    return Scope(scope.parent, ctes=scope.ctes)


def _sample(reader: "Reader", node: pb.RangeTableSample, scope: Scope) -> Item:
    item = read_from(reader, node.relation, scope)
    method = strings(node.method)
    if method and method[-1] not in ("bernoulli", "system"):
        reader.findings.act(Action("call", unresolved(method[-1]), "function", True))
        reader.findings.opaque = True
    for arg in (*node.args, node.repeatable):
        reader.steer(arg, scope)
    return item


def _joins(reader: "Reader", node: pb.JoinExpr, scope: Scope) -> Item:
    """Long joins lean left; they are read in a loop."""
    chain = [node]
    while True:
        left = chain[-1].larg
        if left.WhichOneof("node") != "join_expr":
            break
        chain.append(left.join_expr)
    item = read_from(reader, chain[-1].larg, scope)
    for one in reversed(chain):
        item = _join(reader, one, item, scope)
    return item


def _join(reader: "Reader", node: pb.JoinExpr, left: Item, scope: Scope) -> Item:
    inner = Scope(scope.parent, [*scope.items, left], scope.ctes)
    right = read_from(reader, node.rarg, inner)
    using = list(strings(node.using_clause))
    rows = Rows((*left.rows.fields, *right.rows.fields), _both(left.rows, right.rows))
    sources = (*left.sources, *right.sources)
    if node.is_natural:
        theirs = {f.name for f in right.rows.fields}
        using = [f.name for f in left.rows.fields if f.name in theirs]
        if rows.rest is not None:
            # Which columns they share cannot be told; any may be compared.
            reader.findings.compare(rows.read_all())
    if using:
        rows = _merge(reader, left, right, using)
        if node.HasField("join_using_alias"):
            shared = Rows(rows.fields[: len(using)])
            sources = (*sources, Source(node.join_using_alias.aliasname, shared))
    if is_set(node.quals):
        on = Scope(scope.parent, [*scope.items, Item(rows, sources)], scope.ctes)
        reader.steer(node.quals, on)
    if node.HasField("alias") and node.alias.aliasname:
        rows = renamed(rows, strings(node.alias.colnames))
        sources = (Source(node.alias.aliasname, rows),)
    return Item(rows, sources)


def _both(left: Rows, right: Rows) -> Value | None:
    found = [r.rest for r in (left, right) if r.rest is not None]
    return union(found) if found else None


def _merge(reader: "Reader", left: Item, right: Item, using: list[str]) -> Rows:
    """USING and NATURAL: each shared column once, first; all of them are compared."""
    fields = (*left.rows.fields, *right.rows.fields)
    shared: list[Field] = []
    for name in using:
        values = [f.read() for f in fields if f.name == name]
        for source in (*left.sources, *right.sources):
            if source.rows.rest is not None:
                values.append(from_rest(source, name))
        value = not_plain(union(values))
        reader.findings.compare(value)
        shared.append(Field(name, value))
    others = [f for f in fields if f.name not in using]
    return Rows((*shared, *others), _both(left.rows, right.rows))
