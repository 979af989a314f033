"""Statements that run others, now or later: EXPLAIN, PREPARE, EXECUTE, DECLARE, FETCH and kin.

Source: PostgreSQL manual, part VI, the commands of these names.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb
from postgast import scan

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import creating
from taskgate.sql.conclude import conclude
from taskgate.sql.facts import ColumnRef, Effects, Output, StatementFacts
from taskgate.sql.nodes import Node, opened
from taskgate.sql.operators import judge_type
from taskgate.sql.outcome import Outcome, Session, rows_outcome
from taskgate.sql.scope import Rows, Scope
from taskgate.sql.script import Script, parse_script
from taskgate.sql.tags import tag_of
from taskgate.sql.values import UNKNOWN, Value

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any, Session], Outcome]
_QUERIES = frozenset({"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})

# CURSOR_OPT_HOLD of PostgreSQL's nodes/parsenodes.h.
_WITH_HOLD = 0x0020


def read_query(reader: "Reader", node: Node) -> Outcome:
    """A statement that the planner takes."""
    rows = reader.query(node, None)
    which, stmt = opened(node)
    if which == "select_stmt":
        into = _innermost(stmt).HasField("into_clause")
        return Outcome() if into else rows_outcome(rows)
    return rows_outcome(rows) if stmt.returning_clause.exprs else Outcome()


def _innermost(select: pb.SelectStmt) -> pb.SelectStmt:
    """The first SELECT of a set operation: it is the one that may have INTO."""
    while select.op != pb.SETOP_NONE:
        select = select.larg
    return select


def _explain(reader: "Reader", stmt: pb.ExplainStmt, session: Session) -> Outcome:
    """Judged as what it explains: ANALYZE runs it. Plans quote conditions, and estimates tell of
    the columns in them."""
    inner = run_nested(reader, stmt.query, session)
    if any(option.def_elem.defname.startswith("analy") for option in stmt.options):
        _measured(reader, inner)
    compared = {
        ColumnRef(relation, column)
        for relation, columns in reader.findings.compared.items()
        for column in columns
    }
    for facts in inner.beside:
        for action in facts.actions:
            compared.update(ColumnRef(action.object, column) for column in action.compared)
    unknown = reader.findings.compares_unknown or bool(reader.findings.compares_functions)
    unknown = unknown or any(f.compares_unknown or f.compares_functions for f in inner.beside)
    unknown = unknown or (inner.returns_rows and inner.outputs is None)
    lineage = None if unknown else frozenset(compared)
    outputs = (Output("QUERY PLAN", lineage, False, at_least=frozenset(compared)),)
    return replace(inner, outputs=outputs, returns_rows=True, effects=Effects())


def _measured(reader: "Reader", inner: Outcome) -> None:
    """What a run takes (the memory of a sort, the size of an answer, whether something was put on
    disk) tells how long each value is that is read, and whether it is NULL."""
    for access in reader.findings.accesses:
        if access.columns is None:
            reader.findings.compare(UNKNOWN)
        for name in sorted(access.columns or ()):
            reader.findings.compare(access.value(name))
    for facts in inner.beside:
        for action in facts.actions:
            if action.verb == "select":
                names = ("*",) if action.columns is None else action.columns
                refs = frozenset(ColumnRef(action.object, name) for name in names)
                reader.findings.compare(Value(refs))


def run_nested(reader: "Reader", node: Node, session: Session) -> Outcome:
    """A statement within EXPLAIN or CREATE TABLE AS."""
    which, stmt = opened(node)
    if which in _QUERIES:
        return read_query(reader, node)
    handler = HANDLERS.get(which)
    if handler is not None and which in _NESTED:
        return handler(reader, stmt, session)
    if which == "refresh_mat_view_stmt":
        return reader.statement(node, session)
    reader.unclear(f"{which or 'nothing'} where a query should stand")
    return Outcome()


_NESTED = frozenset({"execute_stmt", "create_table_as_stmt", "declare_cursor_stmt"})


def _create_table_as(reader: "Reader", stmt: pb.CreateTableAsStmt, session: Session) -> Outcome:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW, from a query or EXECUTE."""
    which, inner = opened(stmt.query)
    outcome = Outcome()
    if which == "execute_stmt":
        outcome = _execute(reader, inner, session)
        # What it shows is stored where no mask reaches it.
        for one in outcome.outputs or ():
            reader.findings.compare(Value(one.at_least, unknown=one.sources is None))
        if outcome.outputs is None:
            reader.findings.compare(UNKNOWN)
        rows = Rows(())
    else:
        rows = reader.query(stmt.query, None)
    kind = "materialized_view" if stmt.objtype == pb.OBJECT_MATVIEW else "table"
    creating.note_into(reader, stmt.into, rows, kind)
    return Outcome(beside=outcome.beside)


def _prepare(reader: "Reader", stmt: pb.PrepareStmt, session: Session) -> Outcome:
    """Judged now and again at each EXECUTE: names may have come to mean something else."""
    for node in stmt.argtypes:
        judge_type(reader, node.type_name)
    inner = run_nested(reader, stmt.query, session)
    reader.findings.session_bound = True
    script = _inner_script(session.text, stmt.query)
    if script is None:
        reader.unclear("the statement within PREPARE cannot be told apart")
        return Outcome()
    return Outcome(inner.outputs, False, Effects(prepares=(stmt.name, script)))


def _inner_script(text: str, query: Node) -> Script | None:
    """The statement after PREPARE ... AS, read by itself."""
    raw = text.encode("utf-8")
    depth = 0
    for found in scan(text).tokens:
        if found.token == pb.Token.ASCII_40:
            depth += 1
        elif found.token == pb.Token.ASCII_41:
            depth -= 1
        elif found.token == pb.Token.AS and depth == 0:
            script = parse_script(raw[found.end :].decode("utf-8"))
            alike = len(script.statements) == 1 and script.statements[0].tag == tag_of(query)
            return script if alike else None
    return None


def _execute(reader: "Reader", stmt: pb.ExecuteStmt, session: Session) -> Outcome:
    values = reader.values(stmt.params, Scope())
    for value in values:
        reader.findings.compare(value)
    reader.findings.session_bound = True
    script = session.prepared_as(stmt.name)
    if script is None:
        # Prepared where this gate did not see it, or not at all: PostgreSQL will say.
        reader.findings.act(Action("execute", "?." + spell(stmt.name), "statement", True))
        reader.findings.opaque = reader.findings.may_change_resolution = True
        return Outcome(None, True)
    if len(script.statements) != 1:
        return Outcome()
    before = session.facts_of(stmt.name)
    outcome = reader.statement(script.statements[0].node, session)
    if before is not None and not _does_the_same(reader, outcome, before):
        reader.unclear(
            f"{stmt.name} was prepared when its names meant something else: DEALLOCATE it, and "
            "PREPARE it again"
        )
    return outcome


def _does_the_same(reader: "Reader", now: Outcome, before: StatementFacts) -> bool:
    """Whether a prepared statement still reads and does what it did when it was prepared."""
    if reader.names.needed:
        return True  # not known yet; the analysis is begun again
    found = {a for a in conclude(reader.findings) if a.verb != "call"}
    then = {a for a in before.actions if a.verb != "call"}
    return then <= found and now.outputs == before.outputs


def _deallocate(reader: "Reader", stmt: pb.DeallocateStmt, session: Session) -> Outcome:
    return Outcome(effects=Effects(deallocates="*" if stmt.isall else stmt.name))


def _declare(reader: "Reader", stmt: pb.DeclareCursorStmt, session: Session) -> Outcome:
    """The facts of a cursor keep its columns: FETCH shows them."""
    inner = run_nested(reader, stmt.query, session)
    reader.findings.session_bound = True
    return Outcome(
        inner.outputs,
        False,
        Effects(declares=stmt.portalname, with_hold=bool(stmt.options & _WITH_HOLD)),
    )


def _fetch(reader: "Reader", stmt: pb.FetchStmt, session: Session) -> Outcome:
    reader.findings.session_bound = True
    known = session.cursor(stmt.portalname)
    if known is None:
        # Opened by a function, or not at all.
        reader.findings.act(Action("fetch", "?." + spell(stmt.portalname), "cursor", False))
        reader.findings.opaque = True
        return Outcome(None, not stmt.ismove)
    if stmt.ismove:
        return Outcome(beside=(known,))
    return Outcome(known.outputs, True, beside=(known,))


def _close(reader: "Reader", stmt: pb.ClosePortalStmt, session: Session) -> Outcome:
    reader.findings.session_bound = True
    return Outcome(effects=Effects(closes=stmt.portalname or "*"))


HANDLERS: dict[str, Handler] = {
    "explain_stmt": _explain,
    "create_table_as_stmt": _create_table_as,
    "prepare_stmt": _prepare,
    "execute_stmt": _execute,
    "deallocate_stmt": _deallocate,
    "declare_cursor_stmt": _declare,
    "fetch_stmt": _fetch,
    "close_portal_stmt": _close,
}
