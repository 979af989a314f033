"""WITH: queries under a name, recursive ones and data-modifying ones included.

Source: PostgreSQL manual, section 7.8; PostgreSQL's `parser/parse_cte.c`.
"""

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.sql.nodes import Node, is_set, opened, strings
from taskgate.sql.renaming import renamed
from taskgate.sql.scope import Cte, Field, Rows, Scope
from taskgate.sql.values import CONSTANT, UNKNOWN, Value, not_plain, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

# A recursive query's lineage grows until nothing new flows round; it does not take many rounds.
_MAX_ROUNDS = 8


def read_with(reader: "Reader", clause: pb.WithClause, scope: Scope) -> None:
    """Makes the clause's queries known in `scope`; each is read, whether it is used or not.

    Without RECURSIVE a query sees those before it only: the same name within it is the table's.
    """
    found = []
    for node in clause.ctes:
        which, query = opened(node)
        if which != "common_table_expr":
            reader.unclear("WITH something that is not a query")
            continue
        found.append(query)
    if clause.recursive:
        for query in found:
            scope.ctes[query.ctename] = _recursive(reader, query, scope)
        for query in found:
            rows_of(reader, scope.ctes[query.ctename])
        return
    for query in found:
        rows = renamed(reader.query(query.ctequery, scope), strings(query.aliascolnames))
        scope.ctes[query.ctename] = Cte(query.ctename, _with_extras(reader, query, rows))


def rows_of(reader: "Reader", cte: Cte) -> Rows:
    """The rows of a WITH query, read at its first use."""
    if cte.rows is None:
        if cte.read is None or cte.under_way:
            reader.unclear(f"WITH queries that refer to each other ({cte.name})")
            return Rows((), UNKNOWN)
        cte.rows = cte.read()
    return cte.rows


def _recursive(reader: "Reader", query: pb.CommonTableExpr, scope: Scope) -> Cte:
    cte = Cte(query.ctename)

    def read() -> Rows:
        select = _union(query.ctequery)
        names = strings(query.aliascolnames)
        if select is None or not _mentions(select.rarg, query.ctename):
            cte.under_way = True
            rows = renamed(reader.query(query.ctequery, scope), names)
            cte.under_way = False
            return _with_extras(reader, query, rows)
        inner = Scope(scope)
        if select.HasField("with_clause"):
            read_with(reader, select.with_clause, inner)
        cte.under_way = True
        start = renamed(reader.select(select.larg, inner), names)
        cte.under_way = False
        rows = _with_extras(reader, query, start)
        for _ in range(_MAX_ROUNDS):
            cte.rows = rows
            # Read whole, so that its ORDER BY, LIMIT and duplicates count too.
            again = renamed(reader.query(query.ctequery, scope), names)
            grown = _with_extras(reader, query, again)
            if grown == rows:
                return rows
            rows = grown
        return Rows((), union((rows.read_all(), UNKNOWN)))

    cte.read = read
    return cte


def _union(node: Node) -> pb.SelectStmt | None:
    which, select = opened(node)
    return select if which == "select_stmt" and select.op == pb.SETOP_UNION else None


def _mentions(select: pb.SelectStmt, name: str) -> bool:
    """Whether a bare table name occurs anywhere below; text search would be fooled by strings."""
    waiting = [select]
    while waiting:
        message = waiting.pop()
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            children = [value] if hasattr(value, "ListFields") else list(value)
            for child in children:
                if child.DESCRIPTOR.name == "RangeVar" and child.relname == name:
                    return True
                waiting.append(child)
    return False


def _with_extras(reader: "Reader", query: pb.CommonTableExpr, rows: Rows) -> Rows:
    """The columns that SEARCH and CYCLE add."""
    extra: list[Field] = []
    if query.HasField("search_clause"):
        search = query.search_clause
        value = _of_columns(rows, strings(search.search_col_list))
        extra.append(Field(search.search_seq_column, value))
    if query.HasField("cycle_clause"):
        cycle = query.cycle_clause
        value = _of_columns(rows, strings(cycle.cycle_col_list))
        reader.findings.compare(value)
        marks = [
            reader.value(n, Scope())
            for n in (cycle.cycle_mark_value, cycle.cycle_mark_default)
            if is_set(n)
        ]
        extra.append(Field(cycle.cycle_mark_column, union((value, *marks))))
        extra.append(Field(cycle.cycle_path_column, value))
    return Rows((*rows.fields, *extra), rows.rest) if extra else rows


def _of_columns(rows: Rows, names: tuple[str, ...]) -> Value:
    found = [f.value for f in rows.fields if f.name in names]
    if rows.rest is not None:
        found.append(rows.rest)
    return not_plain(union((CONSTANT, *found)))
