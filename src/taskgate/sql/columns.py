"""Column references: which columns a name means, and whole rows.

Source: PostgreSQL's `parser/parse_expr.c` (transformColumnRef) and `parser/parse_func.c`, by which
`a.b` may also mean the function call `b(a)`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.sql import calls
from taskgate.sql.facts import ColumnRef
from taskgate.sql.nodes import strings
from taskgate.sql.scope import Scope, Source
from taskgate.sql.values import UNKNOWN, Value, not_plain, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def read_column(reader: "Reader", node: pb.ColumnRef, scope: Scope) -> Value:
    """The lineage of `column`, `alias.column`, `schema.table.column`, `alias.*` or an alias."""
    parts = ["*" if f.WhichOneof("node") == "a_star" else f.string.sval for f in node.fields]
    starred = bool(node.fields) and node.fields[-1].WhichOneof("node") == "a_star"
    if starred:
        parts.pop()
        source = find_source(scope, parts)
        if source is None:
            return _missing(scope, "")
        return whole_row(source)
    if len(parts) == 1:
        return _bare(reader, parts[0], scope)
    source = find_source(scope, parts[:-1])
    if source is None:
        return _missing(scope, parts[-1])
    return read_from(reader, source, parts[-1])


def whole_row(source: Source) -> Value:
    """The lineage of a row as one value, and the note that all of it is read."""
    return replace(source.read_all(), plain=False, record=True, strict=False)


def find_source(scope: Scope, parts: list[str]) -> Source | None:
    """The alias, `schema.table` or `database.schema.table` meant; None if there is none."""
    if not 1 <= len(parts) <= 3:
        return None
    alias = parts[-1]
    schema = parts[-2] if len(parts) > 1 else ""
    for level in scope.levels():
        for source in level.sources():
            if source.alias == alias and (not schema or source.schema == schema):
                return source
    return None


def read_from(reader: "Reader", source: Source, name: str) -> Value:
    """The lineage of `alias.name`."""
    found = source.find(name)
    if found:
        return union(f.read() for f in found) if len(found) > 1 else found[0].read()
    if source.rows.rest is not None:
        return from_rest(source, name)
    if not calls.may_be_function(reader, name):
        # PostgreSQL will say that there is no such column.
        return from_rest(source, name)
    whole = whole_row(source)
    return calls.call_by_name(reader, None, name, [whole])


def _bare(reader: "Reader", name: str, scope: Scope) -> Value:
    possible: list[Value] = []
    for level in scope.levels():
        found = [f for item in level.items for f in item.rows.fields if f.name == name]
        if not found:
            found = [f for source in level.sources() for f in source.find(name)]
            found = found[:1] if len({id(f.access) for f in found}) == 1 else found
        if found:
            if len(found) == 1 and not possible:
                return found[0].read()
            possible.extend(f.read() for f in found)
            return union(possible)
        possible.extend(
            from_rest(source, name) for source in level.sources() if source.rows.rest is not None
        )
    if possible:
        return union(possible)
    for level in scope.levels():
        for source in level.sources():
            if source.alias == name:
                return whole_row(source)
    return _missing(scope, name)


def from_rest(source: Source, name: str) -> Value:
    """A column of a source whose columns are not all known."""
    rest = source.rows.rest
    if source.access is None:
        return rest if rest is not None else UNKNOWN
    source.access.touch(name)
    return union((source.access.value(name), rest if rest is not None else UNKNOWN))


def _missing(scope: Scope, name: str) -> Value:
    """A name that means nothing here: PostgreSQL will say so. Should it know better (a column
    added a moment ago), any relation in sight may have it; an empty name means all columns."""
    refs: set[ColumnRef] = set()
    for level in scope.levels():
        for source in level.sources():
            if source.access is None:
                continue
            if name:
                source.access.touch(name)
                refs.add(ColumnRef(source.access.object, name))
            else:
                source.access.touch_all()
    return Value(frozenset(refs), unknown=True, fails=True)


def read_indirection(reader: "Reader", node: pb.A_Indirection, scope: Scope) -> Value:
    """`(expression).field`, `(expression).*`, `expression[1]`, `expression[1:2]`."""
    arg = node.arg
    names = [n for n in node.indirection if n.WhichOneof("node") == "string"]
    if arg.WhichOneof("node") == "column_ref" and names and node.indirection[0] == names[0]:
        # `(alias).column` is the column alone, as `alias.column` is.
        source = find_source(scope, list(strings(arg.column_ref.fields)))
        if source is not None and not _is_column(scope, strings(arg.column_ref.fields)):
            first = read_from(reader, source, names[0].string.sval)
            return _rest_of_indirection(reader, first, list(node.indirection[1:]), scope)
    return _rest_of_indirection(reader, reader.value(arg, scope), list(node.indirection), scope)


def _is_column(scope: Scope, parts: tuple[str, ...]) -> bool:
    """Whether a bare name is a column somewhere in sight, which then counts before an alias."""
    return len(parts) == 1 and any(
        f.name == parts[0] or item.rows.rest is not None
        for level in scope.levels()
        for item in level.items
        for f in item.rows.fields
    )


def _rest_of_indirection(
    reader: "Reader", value: Value, steps: list[pb.Node], scope: Scope
) -> Value:
    for step in steps:
        which = step.WhichOneof("node")
        if which == "string":
            # A field, or the call of a function of that name.
            routines = reader.names.routines(None, step.string.sval)
            if routines:
                value = calls.call_by_name(reader, None, step.string.sval, [value])
            value = replace(value, plain=False, strict=False)
        elif which == "a_indices":
            for bound in (step.a_indices.lidx, step.a_indices.uidx):
                reader.steer(bound, scope)
            # NULL beyond its end.
            value = replace(value, plain=False, strict=False)
        elif which == "a_star":
            value = not_plain(value)
        else:
            reader.unclear(f"{which or 'nothing'} after an expression")
    return value
