"""The closed table of statements: what is not in it is refused.

Source: PostgreSQL's grammar (`parser/gram.y`, rule `stmt`).
"""

from typing import TYPE_CHECKING, Any

from taskgate.model.names import spell
from taskgate.sql import changing, creating, maintenance, prepared, session_statements
from taskgate.sql.copying import read_copy
from taskgate.sql.naming import act
from taskgate.sql.nodes import Node, opened
from taskgate.sql.outcome import NOTHING, Outcome, Session

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

_QUERIES = frozenset({"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
_HANDLERS = {
    **session_statements.HANDLERS,
    **maintenance.HANDLERS,
    **prepared.HANDLERS,
    "copy_stmt": read_copy,
}


def read_statement(reader: "Reader", node: Node, session: Session) -> Outcome:
    """Reads one statement of any kind. One of no known kind is incomplete."""
    which, stmt = opened(node)
    if which in _QUERIES:
        return prepared.read_query(reader, node)
    handler = _HANDLERS.get(which)
    if handler is not None:
        return handler(reader, stmt, session)
    if which == "create_schema_stmt":
        return _create_schema(reader, stmt, session)
    if creating.create(reader, which, stmt) or changing.change(reader, which, stmt):
        return NOTHING
    reader.unclear(f"a statement of a kind that is not known here ({which or 'empty'})")
    return NOTHING


def _create_schema(reader: "Reader", stmt: Any, session: Session) -> Outcome:
    """CREATE SCHEMA may hold further statements, whose names mean the new schema first."""
    name = stmt.schemaname or stmt.authrole.rolename
    act(reader, "create", [(spell(name) if name else "?", "schema")])
    reader.findings.may_change_resolution = True
    names = reader.names
    before = names.path_changed
    names.path_changed = names.path_changed or bool(stmt.schema_elts)
    names.creating_in = name
    for element in stmt.schema_elts:
        read_statement(reader, element, session)
    names.path_changed = before
    names.creating_in = ""
    return NOTHING
