"""Command tags: what a statement is called in records and refusals.

Source: PostgreSQL's `tcop/utility.c` (CreateCommandTag) and `tcop/cmdtaglist.h`.
"""

from postgast import pg_query_pb2 as pb

from taskgate.sql.nodes import Node, opened

_FIXED = {
    "select_stmt": "SELECT",
    "insert_stmt": "INSERT",
    "update_stmt": "UPDATE",
    "delete_stmt": "DELETE",
    "merge_stmt": "MERGE",
    "explain_stmt": "EXPLAIN",
    "prepare_stmt": "PREPARE",
    "execute_stmt": "EXECUTE",
    "deallocate_stmt": "DEALLOCATE",
    "declare_cursor_stmt": "DECLARE",
    "close_portal_stmt": "CLOSE",
    "copy_stmt": "COPY",
    "do_stmt": "DO",
    "call_stmt": "CALL",
    "variable_show_stmt": "SHOW",
    "discard_stmt": "DISCARD",
    "listen_stmt": "LISTEN",
    "unlisten_stmt": "UNLISTEN",
    "notify_stmt": "NOTIFY",
    "lock_stmt": "LOCK TABLE",
    "truncate_stmt": "TRUNCATE TABLE",
    "constraints_set_stmt": "SET CONSTRAINTS",
    "comment_stmt": "COMMENT",
    "sec_label_stmt": "SECURITY LABEL",
    "refresh_mat_view_stmt": "REFRESH MATERIALIZED VIEW",
    "reindex_stmt": "REINDEX",
    "cluster_stmt": "CLUSTER",
    "check_point_stmt": "CHECKPOINT",
    "load_stmt": "LOAD",
    "create_table_as_stmt": "CREATE TABLE AS",
    "view_stmt": "CREATE VIEW",
    "index_stmt": "CREATE INDEX",
    "rule_stmt": "CREATE RULE",
    "rename_stmt": "ALTER",
    "alter_owner_stmt": "ALTER",
    "alter_object_schema_stmt": "ALTER",
    "alter_object_depends_stmt": "ALTER",
    "alter_default_privileges_stmt": "ALTER DEFAULT PRIVILEGES",
    "drop_owned_stmt": "DROP OWNED",
    "reassign_owned_stmt": "REASSIGN OWNED",
    "import_foreign_schema_stmt": "IMPORT FOREIGN SCHEMA",
}

_TRANSACTION = {
    pb.TRANS_STMT_BEGIN: "BEGIN",
    pb.TRANS_STMT_START: "START TRANSACTION",
    pb.TRANS_STMT_COMMIT: "COMMIT",
    pb.TRANS_STMT_ROLLBACK: "ROLLBACK",
    pb.TRANS_STMT_SAVEPOINT: "SAVEPOINT",
    pb.TRANS_STMT_RELEASE: "RELEASE",
    pb.TRANS_STMT_ROLLBACK_TO: "ROLLBACK",
    pb.TRANS_STMT_PREPARE: "PREPARE TRANSACTION",
    pb.TRANS_STMT_COMMIT_PREPARED: "COMMIT PREPARED",
    pb.TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
}


def tag_of(node: Node) -> str:
    """The tag of a statement (`SELECT`, `DROP TABLE`); `?` for one this table does not know."""
    which, stmt = opened(node)
    fixed = _FIXED.get(which)
    if fixed is not None:
        if which == "select_stmt" and stmt.HasField("into_clause"):
            return "SELECT INTO"
        if which == "create_table_as_stmt" and stmt.is_select_into:
            return "SELECT INTO"
        return fixed
    if which == "transaction_stmt":
        return _TRANSACTION.get(stmt.kind, "?")
    if which == "variable_set_stmt":
        return "RESET" if stmt.kind in (pb.VAR_RESET, pb.VAR_RESET_ALL) else "SET"
    if which == "fetch_stmt":
        return "MOVE" if stmt.ismove else "FETCH"
    if which == "vacuum_stmt":
        return "VACUUM" if stmt.is_vacuumcmd else "ANALYZE"
    if which in ("grant_stmt", "grant_role_stmt"):
        return "GRANT" if stmt.is_grant else "REVOKE"
    if which == "drop_stmt":
        return f"DROP {_object_words(stmt.remove_type)}"
    if which == "define_stmt":
        return f"CREATE {_object_words(stmt.kind)}"
    words = which.removesuffix("_stmt").replace("_", " ").upper()
    return words if words.split(" ", 1)[0] in ("CREATE", "ALTER", "DROP") else "?"


def _object_words(kind: pb.ObjectType) -> str:
    return str(pb.ObjectType.Name(kind)).removeprefix("OBJECT_").replace("_", " ")
