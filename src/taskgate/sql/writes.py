"""INSERT, UPDATE, DELETE and MERGE, alone or inside WITH: what is written, read and returned.

The target is always a table or view, never a WITH query of the same name (PostgreSQL's
`parser/parse_clause.c`, setTargetTable). A value that flows into another column than its own
counts as compared: it could be read back there, where no mask reaches it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import relations
from taskgate.sql.accesses import Access
from taskgate.sql.from_items import read_from
from taskgate.sql.nodes import Node, is_set, opened
from taskgate.sql.scope import Field, Item, Rows, Scope, Source
from taskgate.sql.values import CONSTANT, UNKNOWN, Value
from taskgate.sql.with_queries import read_with

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

_NO_ROWS = Rows(())


@dataclass(frozen=True, slots=True)
class Target:
    """The relation being written. `access` is for what is read of it, if anything is; `written` is
    its name as it was written."""

    access: Access
    source: Source
    written: tuple[str | None, str] = (None, "")

    @property
    def columns(self) -> list[str] | None:
        """Its columns in order; None if they are not known."""
        relation = self.access.relation
        return None if relation is None else [c.name for c in relation.columns]


def read(reader: "Reader", which: str, stmt: Any, parent: Scope | None) -> Rows | None:
    """The rows that a data-modifying statement returns; None if it is none."""
    handler = _HANDLERS.get(which)
    if handler is None:
        return None
    scope = Scope(parent)
    if stmt.HasField("with_clause"):
        read_with(reader, stmt.with_clause, scope)
    handled: Rows = handler(reader, stmt, scope)
    return handled


def open_target(reader: "Reader", node: pb.RangeVar) -> Target:
    """The relation to be written. It counts as read only once one of its columns is."""
    accesses = reader.findings.accesses
    access = relations.open_relation(reader, node)
    accesses.pop()
    alias = node.alias.aliasname or node.relname
    rows = relations.rows_of(access)
    schema = ""
    if not node.alias.aliasname:
        schema = access.relation.schema if access.relation is not None else node.schemaname
    reader.findings.relations.add(access.object)
    if access.relation is not None:
        if access.relation.has_triggers or access.relation.has_rules or access.beneath:
            reader.findings.opaque = True
        if access.relation.schema == "pg_catalog":
            # pg_settings can be updated, and the catalogs say what names mean.
            reader.findings.opaque = reader.findings.may_change_resolution = True
    written = (node.schemaname or None, node.relname)
    return Target(access, Source(alias, rows, access, schema), written)


def note_write(
    reader: "Reader",
    verb: str,
    target: Target,
    columns: Iterable[str] | None,
    compared: Iterable[str] = (),
) -> None:
    """The write itself, and what it reaches: partitions and children, tables under a view.

    `compared` are columns whose stored values decide what the write does.
    """
    findings = reader.findings
    access = target.access
    listed = None if columns is None else tuple(sorted(set(columns)))
    findings.act(
        Action(verb, access.object, access.kind, True, listed, tuple(sorted(set(compared))))
    )
    relation = access.relation
    if relation is None:
        return
    for name in relations.relatives(relation, descendants=not access.only):
        findings.act(Action(verb, name, "table", True, listed, via=access.object))
        findings.relations.add(name)
    if access.beneath is not None:
        _write_beneath(reader, verb, access, listed)


def _write_beneath(
    reader: "Reader", verb: str, access: Access, columns: tuple[str, ...] | None
) -> None:
    """A view that can be written passes it on to a table under it; which one cannot always be
    told, so each counts."""
    beneath = access.beneath
    if beneath is None:
        return
    findings = reader.findings
    for inner in beneath.findings.accesses:
        mapped: set[str] | None = set()
        for name in columns or ():
            value = beneath.columns.get(name, UNKNOWN)
            if value.unknown or value.functions or mapped is None:
                mapped = None
                break
            mapped |= {r.column for r in value.sources if r.relation == inner.object}
        under = None if columns is None or mapped is None else tuple(sorted(mapped))
        findings.act(Action(verb, inner.object, inner.kind, True, under, via=access.object))
        findings.relations.add(inner.object)
        if inner.beneath is not None:
            _write_beneath(reader, verb, inner, under)
        relation = inner.relation
        if relation is not None:
            for name in relations.relatives(relation, descendants=True):
                findings.act(Action(verb, name, "table", True, under, via=inner.object))
                findings.relations.add(name)
    for stem in beneath.findings.actions:
        if stem.verb == "call" and stem.kind != "builtin":
            findings.act(Action("call", stem.object, stem.kind, stem.write, via=access.object))


def note_cascade(reader: "Reader", target: Target) -> None:
    """Foreign keys pass an UPDATE or DELETE on to the tables that refer to this one. Where a check
    of theirs then fails, the error shows the row."""
    found = reader.names.cascading(*target.written)
    for table in found.tables:
        reader.findings.relations.add(spell(*table))
    if found.runs_code:
        reader.findings.opaque = True


def settle(reader: "Reader", target: Target) -> None:
    """Counts the target as read if any of its columns was."""
    if target.access.columns is None or target.access.columns:
        reader.findings.accesses.append(target.access)


def returning(
    reader: "Reader",
    clause: pb.ReturningClause,
    target: Target,
    scope: Scope,
) -> Rows:
    """RETURNING sees the target as it was (OLD) and as it is (NEW); either may be renamed."""
    if not clause.exprs:
        return _NO_ROWS
    names = {pb.RETURNING_OPTION_OLD: "old", pb.RETURNING_OPTION_NEW: "new"}
    for node in clause.options:
        names[node.returning_option.option] = node.returning_option.value
    inner = Scope(scope)
    taken = {source.alias for source in scope.sources()}
    for name in names.values():
        if name not in taken:
            # Known by its alias only: a bare name is the target's own.
            inner.items.append(Item(_NO_ROWS, (Source(name, target.source.rows, target.access),)))
    inner.items.extend(scope.items)
    return reader.targets(clause.exprs, inner)


def _insert(reader: "Reader", stmt: pb.InsertStmt, scope: Scope) -> Rows:
    target = open_target(reader, stmt.relation)
    rows = _NO_ROWS
    given = is_set(stmt.select_stmt)
    if given:
        rows = reader.query(stmt.select_stmt, scope)
    columns = _insert_columns(reader, stmt.cols, target, rows if given else None, scope)
    note_write(reader, "insert", target, columns, _deciding(stmt, target, columns))
    _carry(reader, target, columns, rows)
    inner = Scope(scope, [Item(target.source.rows, (target.source,))])
    if stmt.HasField("on_conflict_clause"):
        _on_conflict(reader, stmt.on_conflict_clause, target, columns, rows, scope)
    found = returning(reader, stmt.returning_clause, target, inner)
    settle(reader, target)
    return found


def _insert_columns(
    reader: "Reader", nodes: Sequence[Node], target: Target, rows: Rows | None, scope: Scope
) -> list[str] | None:
    """The columns that an INSERT gives values to; None if they cannot be told."""
    if nodes:
        named = [node.res_target for node in nodes]
        for one in named:
            subscripts(reader, one, scope)
        return [one.name for one in named]
    if rows is None:
        return []
    known = target.columns
    if known is None or rows.rest is not None:
        return known
    return known[: len(rows.fields)]


def _deciding(stmt: pb.InsertStmt, target: Target, columns: Sequence[str] | None) -> Sequence[str]:
    """The columns that decide an ON CONFLICT which names none: any that has a value, or, of a
    constraint by name, any at all."""
    if not stmt.HasField("on_conflict_clause"):
        return ()
    infer = stmt.on_conflict_clause.infer
    if infer.index_elems:
        return ()
    found = target.columns if infer.conname else columns
    return found if found is not None else ("*",)


def _carry(reader: "Reader", target: Target, columns: Sequence[str] | None, rows: Rows) -> None:
    for at, one in enumerate(rows.fields):
        name = columns[at] if columns is not None and at < len(columns) else ""
        carry(reader, target, name, one.value)
    if rows.rest is not None:
        reader.findings.compare(rows.rest)


def carry(reader: "Reader", target: Target, column: str, value: Value) -> None:
    """A value written to a column: compared, unless it comes from that same column alone."""
    if value.empty:
        return
    if column and not (value.unknown or value.functions):
        own = target.access.value(column).sources
        if value.sources <= own:
            return
    reader.findings.compare(value)


def _on_conflict(
    reader: "Reader",
    clause: pb.OnConflictClause,
    target: Target,
    columns: Sequence[str] | None,
    rows: Rows,
    scope: Scope,
) -> None:
    """What the clause names: its columns decide whether a row conflicts, which tells what is
    stored."""
    here = Scope(scope, [Item(target.source.rows, (target.source,))])
    if clause.HasField("infer") and clause.infer.index_elems:
        for node in clause.infer.index_elems:
            element = node.index_elem
            if element.name:
                target.access.touch(element.name)
                reader.findings.compare(target.access.value(element.name))
            else:
                reader.steer(element.expr, here)
        reader.steer(clause.infer.where_clause, here)
    if clause.action != pb.ONCONFLICT_UPDATE:
        return
    proposed = Source("excluded", _proposed(target, columns, rows))
    both = Scope(scope, [Item(target.source.rows, (target.source,)), Item(_NO_ROWS, (proposed,))])
    assign(reader, clause.target_list, target, both)
    reader.steer(clause.where_clause, both)


def _proposed(target: Target, columns: Sequence[str] | None, rows: Rows) -> Rows:
    """The row that was to be inserted: what was given, defaults elsewhere."""
    known = target.columns
    if known is None or columns is None or rows.rest is not None:
        return Rows((), rows.read_all() if rows.rest is not None else UNKNOWN)
    given = dict(zip(columns, rows.fields, strict=False))
    return Rows(tuple(Field(n, given[n].value if n in given else CONSTANT) for n in known))


def assign(reader: "Reader", targets: Iterable[Node], target: Target, scope: Scope) -> None:
    """The SET list of an update: notes the write and what is carried."""
    columns: list[str] = []
    for node in targets:
        which, item = opened(node)
        if which != "res_target":
            reader.unclear("a SET that is no assignment")
            continue
        columns.append(item.name)
        subscripts(reader, item, scope)
        carry(reader, target, item.name, reader.value(item.val, scope))
    note_write(reader, "update", target, columns)
    note_cascade(reader, target)


def subscripts(reader: "Reader", item: pb.ResTarget, scope: Scope) -> None:
    """`SET a[i] = ...`: the subscripts decide where it goes."""
    for step in item.indirection:
        if step.WhichOneof("node") == "a_indices":
            reader.steer(step.a_indices.lidx, scope)
            reader.steer(step.a_indices.uidx, scope)


def _update(reader: "Reader", stmt: pb.UpdateStmt, scope: Scope) -> Rows:
    target = open_target(reader, stmt.relation)
    scope.items.append(Item(target.source.rows, (target.source,)))
    for node in stmt.from_clause:
        scope.items.append(read_from(reader, node, scope))
    assign(reader, stmt.target_list, target, scope)
    reader.steer(stmt.where_clause, scope)
    found = returning(reader, stmt.returning_clause, target, scope)
    settle(reader, target)
    return found


def _delete(reader: "Reader", stmt: pb.DeleteStmt, scope: Scope) -> Rows:
    target = open_target(reader, stmt.relation)
    scope.items.append(Item(target.source.rows, (target.source,)))
    note_write(reader, "delete", target, None)
    note_cascade(reader, target)
    for node in stmt.using_clause:
        scope.items.append(read_from(reader, node, scope))
    reader.steer(stmt.where_clause, scope)
    found = returning(reader, stmt.returning_clause, target, scope)
    settle(reader, target)
    return found


def _merge(reader: "Reader", stmt: pb.MergeStmt, scope: Scope) -> Rows:
    target = open_target(reader, stmt.relation)
    source = read_from(reader, stmt.source_relation, scope)
    own = Item(target.source.rows, (target.source,))
    scope.items.extend((own, source))
    reader.steer(stmt.join_condition, scope)
    for node in stmt.merge_when_clauses:
        when = node.merge_when_clause
        reader.steer(when.condition, scope)
        if when.command_type == pb.CMD_UPDATE:
            assign(reader, when.target_list, target, scope)
        elif when.command_type == pb.CMD_DELETE:
            note_write(reader, "delete", target, None)
            note_cascade(reader, target)
        elif when.command_type == pb.CMD_INSERT:
            values = reader.values(when.values, scope)
            rows = Rows(tuple(Field("", value) for value in values))
            columns = _insert_columns(reader, when.target_list, target, rows, scope)
            note_write(reader, "insert", target, columns)
            _carry(reader, target, columns, rows)
        elif when.command_type != pb.CMD_NOTHING:
            reader.unclear("a MERGE action that is not known here")
    # RETURNING * shows the source's columns before the target's.
    scope.items[:] = [source, own]
    found = returning(reader, stmt.returning_clause, target, scope)
    settle(reader, target)
    return found


_HANDLERS = {
    "insert_stmt": _insert,
    "update_stmt": _update,
    "delete_stmt": _delete,
    "merge_stmt": _merge,
}
