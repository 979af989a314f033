"""VACUUM, ANALYZE, REINDEX and kin; DO, CALL and LOAD, which run code that is not read here.

Source: PostgreSQL manual, part VI, the commands of these names.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql.calls import read_call
from taskgate.sql.naming import act, existing_relation
from taskgate.sql.nodes import constant_text, strings
from taskgate.sql.outcome import NOTHING, Outcome, Session
from taskgate.sql.scope import Scope

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any, Session], Outcome]


def _vacuum(reader: "Reader", stmt: pb.VacuumStmt, session: Session) -> Outcome:
    verbs = ["vacuum"] if stmt.is_vacuumcmd else ["analyze"]
    options = {n.def_elem.defname.lower() for n in stmt.options}
    if stmt.is_vacuumcmd and "analyze" in options:
        verbs.append("analyze")
    for verb in verbs:
        for node in stmt.rels:
            relation = node.vacuum_relation
            name, kind = existing_relation(reader, relation.relation)
            columns = strings(relation.va_cols) or None
            reader.findings.act(Action(verb, name, kind, True, columns))
        if not stmt.rels:
            act(reader, verb, [("?.?", "table")])
    # Expression indexes and statistics run their functions.
    reader.findings.opaque = True
    return NOTHING


def _cluster(reader: "Reader", stmt: pb.ClusterStmt, session: Session) -> Outcome:
    if stmt.HasField("relation"):
        act(reader, "cluster", [existing_relation(reader, stmt.relation)])
    else:
        act(reader, "cluster", [("?.?", "table")])
    reader.findings.opaque = True
    return NOTHING


def _reindex(reader: "Reader", stmt: pb.ReindexStmt, session: Session) -> Outcome:
    reader.findings.opaque = True
    if stmt.HasField("relation"):
        act(reader, "reindex", [existing_relation(reader, stmt.relation)])
    elif stmt.kind == pb.REINDEX_OBJECT_SCHEMA:
        act(reader, "reindex", [(spell(stmt.name), "schema")])
    else:
        act(reader, "reindex", [(spell(stmt.name) if stmt.name else "?", "database")])
    return NOTHING


def _refresh(reader: "Reader", stmt: pb.RefreshMatViewStmt, session: Session) -> Outcome:
    act(reader, "refresh", [existing_relation(reader, stmt.relation, "materialized_view")])
    reader.findings.opaque = True
    return NOTHING


def _checkpoint(reader: "Reader", stmt: pb.CheckPointStmt, session: Session) -> Outcome:
    reader.findings.act(Action("checkpoint", "checkpoint", "statement", True))
    return NOTHING


def _load(reader: "Reader", stmt: pb.LoadStmt, session: Session) -> Outcome:
    reader.findings.act(Action("load", spell(stmt.filename or "?"), "file", True))
    reader.findings.opaque = reader.findings.may_change_resolution = True
    return NOTHING


def _do(reader: "Reader", stmt: pb.DoStmt, session: Session) -> Outcome:
    language = "plpgsql"
    for node in stmt.args:
        if node.def_elem.defname == "language":
            language = constant_text(node.def_elem.arg) or "?"
    reader.findings.act(Action("do", spell(language), "language", True))
    reader.findings.opaque = reader.findings.may_change_resolution = True
    return NOTHING


def _call(reader: "Reader", stmt: pb.CallStmt, session: Session) -> Outcome:
    reader.findings.compare(read_call(reader, stmt.funccall, Scope()))
    reader.findings.opaque = reader.findings.may_change_resolution = True
    # Its output parameters come back as one row.
    return Outcome(None, True)


HANDLERS: dict[str, Handler] = {
    "vacuum_stmt": _vacuum,
    "cluster_stmt": _cluster,
    "reindex_stmt": _reindex,
    "refresh_mat_view_stmt": _refresh,
    "check_point_stmt": _checkpoint,
    "load_stmt": _load,
    "do_stmt": _do,
    "call_stmt": _call,
}
