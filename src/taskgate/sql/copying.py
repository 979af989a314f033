"""COPY: which rows go where, and the form of the stream.

Source: PostgreSQL manual, "COPY"; `commands/copy.c` for options and their defaults.
"""

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.sql import relations
from taskgate.sql.embedded import loose_scope
from taskgate.sql.facts import CopySpec, Effects, Output
from taskgate.sql.nodes import constant_text, is_set, strings
from taskgate.sql.outcome import Outcome, Session, outputs_of
from taskgate.sql.scope import Field, Rows
from taskgate.sql.writes import note_write, open_target

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def read_copy(reader: "Reader", stmt: pb.CopyStmt, session: Session) -> Outcome:
    """COPY table or query, to or from the client, a file or a program of the server."""
    if stmt.is_from:
        return _copy_from(reader, stmt)
    if is_set(stmt.query):
        rows = reader.query(stmt.query, None)
        name, kind, columns = "?.?", "table", None
    else:
        access = relations.open_relation(reader, stmt.relation)
        # Children are left out: only the table's own rows are copied.
        access.only = True
        rows = _columns(relations.rows_of(access), strings(stmt.attlist))
        rows = Rows(tuple(Field(f.name, f.read()) for f in rows.fields), rows.rest)
        name, kind = access.object, access.kind
        columns = None if rows.rest is not None else tuple(sorted(f.name for f in rows.fields))
    if stmt.filename or stmt.is_program:
        reader.compare_all(rows)
        verb = "copy_to_program" if stmt.is_program else "copy_to_file"
        reader.findings.act(Action(verb, name, kind, True, columns))
        return Outcome()
    return Outcome(effects=Effects(copy=_spec(stmt, "to", outputs_of(rows))))


def _columns(rows: Rows, names: tuple[str, ...]) -> Rows:
    if not names:
        return rows
    by_name = {f.name: f for f in rows.fields}
    if rows.rest is not None or any(name not in by_name for name in names):
        return Rows((), Rows(rows.fields, rows.rest).read_all())
    return Rows(tuple(by_name[name] for name in names))


def _copy_from(reader: "Reader", stmt: pb.CopyStmt) -> Outcome:
    target = open_target(reader, stmt.relation)
    names = strings(stmt.attlist)
    columns = list(names) if names else target.columns
    verb = "copy_from"
    if stmt.is_program:
        verb = "copy_from_program"
    elif stmt.filename:
        verb = "copy_from_file"
    note_write(reader, verb, target, columns)
    # WHERE sees the rows that come in, which are the client's own.
    reader.steer(stmt.where_clause, loose_scope(stmt.relation.relname))
    if verb != "copy_from":
        return Outcome()
    return Outcome(effects=Effects(copy=_spec(stmt, "from", ())))


def _spec(stmt: pb.CopyStmt, direction: str, fields: tuple[Output, ...] | None) -> CopySpec:
    options: dict[str, str] = {}
    for node in stmt.options:
        element = node.def_elem
        text = constant_text(element.arg)
        options[element.defname.lower()] = "true" if text is None else text
    form = options.get("format", "text").lower()
    quote = options.get("quote", '"')
    return CopySpec(
        direction=direction,
        fields=fields,
        format=form,
        delimiter=options.get("delimiter", "," if form == "csv" else "\t"),
        null=options.get("null", "" if form == "csv" else "\\N"),
        quote=quote,
        escape=options.get("escape", quote),
        header=_header(options.get("header", "false").lower()),
        encoding=options.get("encoding", ""),
    )


def _header(text: str) -> str:
    if text == "match":
        return text
    return "true" if text in ("true", "on", "1", "yes") else "false"
