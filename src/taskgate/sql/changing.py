"""ALTER, DROP, TRUNCATE, GRANT, COMMENT and kin: what they name and reach.

Source: PostgreSQL manual, part VI, the commands of these names.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql.creating import (
    functions_in,
    functions_of_class,
    owned_by,
    published,
    references,
)
from taskgate.sql.embedded import loose_scope, read_embedded
from taskgate.sql.naming import (
    act,
    cascade,
    existing_relation,
    existing_routines,
    existing_type,
    name_beside,
    name_within,
    objects_of,
)
from taskgate.sql.nodes import Node, is_set, opened, strings
from taskgate.sql.spelling import split_name, written
from taskgate.sql.writes import note_write, open_target

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any], None]


def change(reader: "Reader", which: str, stmt: Any) -> bool:
    """Notes what such a statement does; False if it is none that is known here."""
    handler = _HANDLERS.get(which)
    if handler is None:
        return False
    reader.findings.may_change_resolution = True
    handler(reader, stmt)
    return True


def _alter_table(reader: "Reader", stmt: pb.AlterTableStmt) -> None:
    act(reader, "alter", [existing_relation(reader, stmt.relation)])
    references(reader, stmt)
    for node in stmt.cmds:
        command = node.alter_table_cmd
        which, inner = opened(getattr(command, "def"))
        if which == "partition_cmd":
            # The other table becomes, or stops being, part of this one.
            act(reader, "alter", [existing_relation(reader, inner.name)])
        elif which == "range_var":
            act(reader, "alter", [existing_relation(reader, inner)])
        elif which == "constraint" and inner.indexname:
            act(reader, "alter", [(existing_relation(reader, stmt.relation)[0], "index")])
        cascade(reader, "drop", command.behavior)
    read_embedded(reader, stmt, loose_scope(stmt.relation.relname))


def _rename(reader: "Reader", stmt: pb.RenameStmt) -> None:
    holder = stmt.object
    if not is_set(holder) and not stmt.relation.relname:
        # Schemas, roles and the like are named here.
        holder = Node(string=pb.String(sval=stmt.subname))
    named = objects_of(reader, stmt.rename_type, holder, stmt.relation)
    act(reader, "alter", named)
    if stmt.rename_type not in _RENAMED_PARTS:
        act(reader, "create", [(name_beside(name, stmt.newname), kind) for name, kind in named])
    cascade(reader, "alter", stmt.behavior)


_RENAMED_PARTS = frozenset(
    {
        pb.OBJECT_COLUMN,
        pb.OBJECT_ATTRIBUTE,
        pb.OBJECT_TABCONSTRAINT,
        pb.OBJECT_DOMCONSTRAINT,
        pb.OBJECT_TRIGGER,
        pb.OBJECT_RULE,
        pb.OBJECT_POLICY,
    }
)


def _owner(reader: "Reader", stmt: pb.AlterOwnerStmt) -> None:
    act(reader, "alter", objects_of(reader, stmt.object_type, stmt.object, stmt.relation))


def _schema(reader: "Reader", stmt: pb.AlterObjectSchemaStmt) -> None:
    named = objects_of(reader, stmt.object_type, stmt.object, stmt.relation)
    act(reader, "alter", named)
    act(reader, "create", [(name_within(name, stmt.newschema), kind) for name, kind in named])


def _depends(reader: "Reader", stmt: pb.AlterObjectDependsStmt) -> None:
    act(reader, "alter", objects_of(reader, stmt.object_type, stmt.object, stmt.relation))


def _drop(reader: "Reader", stmt: pb.DropStmt) -> None:
    for node in stmt.objects:
        act(reader, "drop", objects_of(reader, stmt.remove_type, node))
    cascade(reader, "drop", stmt.behavior)


def _truncate(reader: "Reader", stmt: pb.TruncateStmt) -> None:
    for node in stmt.relations:
        note_write(reader, "truncate", open_target(reader, node.range_var), None)
        if stmt.behavior == pb.DROP_CASCADE:
            table = node.range_var
            for one in reader.names.referencing(table.schemaname or None, table.relname):
                reader.findings.act(Action("truncate", spell(*one), "table", True))
            if reader.names.blind(table.schemaname or None):
                reader.findings.act(Action("truncate", "?.?", "table", True))


def _grant(reader: "Reader", stmt: pb.GrantStmt) -> None:
    if stmt.targtype != pb.ACL_TARGET_OBJECT:
        # ALL TABLES IN SCHEMA, and default privileges.
        names = [n.string.sval for n in stmt.objects]
        act(reader, "grant", [(f"{spell(n)}.?", "table") for n in names] or [("?.?", "table")])
        return
    for node in stmt.objects:
        act(reader, "grant", objects_of(reader, stmt.objtype, node))
    cascade(reader, "grant", stmt.behavior)


def _grant_role(reader: "Reader", stmt: pb.GrantRoleStmt) -> None:
    for node in stmt.granted_roles:
        act(reader, "grant", [(spell(node.access_priv.priv_name), "role")])


def _default_privileges(reader: "Reader", stmt: pb.AlterDefaultPrivilegesStmt) -> None:
    schemas = [
        n.string.sval
        for node in stmt.options
        if node.def_elem.defname == "schemas"
        for n in node.def_elem.arg.list.items
    ]
    act(reader, "grant", [(f"{spell(s)}.?", "table") for s in schemas] or [("?.?", "table")])


def _comment(reader: "Reader", stmt: pb.CommentStmt) -> None:
    act(reader, "comment", objects_of(reader, stmt.objtype, stmt.object))


def _label(reader: "Reader", stmt: pb.SecLabelStmt) -> None:
    act(reader, "security_label", objects_of(reader, stmt.objtype, stmt.object))


def _alter_function(reader: "Reader", stmt: pb.AlterFunctionStmt) -> None:
    act(reader, "alter", existing_routines(reader, strings(stmt.func.objname)))


def _alter_type(reader: "Reader", stmt: Any) -> None:
    act(reader, "alter", [existing_type(reader, strings(stmt.type_name))])
    if isinstance(stmt, pb.AlterTypeStmt):
        functions_in(reader, stmt.options)
    read_embedded(reader, stmt, loose_scope("value"))
    if isinstance(stmt, pb.AlterDomainStmt):
        cascade(reader, "drop", stmt.behavior)


def _alter_operator(reader: "Reader", stmt: pb.AlterOperatorStmt) -> None:
    schema, name = split_name(strings(stmt.opername.objname))
    act(reader, "alter", [(written(schema, name), "operator")])
    functions_in(reader, stmt.options)


def _alter_family(reader: "Reader", stmt: pb.AlterOpFamilyStmt) -> None:
    _alter_listed("opfamilyname", "operator_family")(reader, stmt)
    functions_of_class(reader, stmt.items)


def _alter_policy(reader: "Reader", stmt: pb.AlterPolicyStmt) -> None:
    act(reader, "alter", [existing_relation(reader, stmt.table)])
    read_embedded(reader, stmt, loose_scope(stmt.table.relname))


def _alter_sequence(reader: "Reader", stmt: pb.AlterSeqStmt) -> None:
    act(reader, "alter", [existing_relation(reader, stmt.sequence, "sequence")])
    owned_by(reader, stmt.options)


def _alter_extension_contents(reader: "Reader", stmt: pb.AlterExtensionContentsStmt) -> None:
    act(reader, "alter", [(spell(stmt.extname), "extension")])
    act(reader, "alter", objects_of(reader, stmt.objtype, stmt.object))


def _alter_publication(reader: "Reader", stmt: pb.AlterPublicationStmt) -> None:
    act(reader, "alter", [(spell(stmt.pubname), "publication")])
    published(reader, stmt.pubobjects)


def _alter_wrapper(reader: "Reader", stmt: pb.AlterFdwStmt) -> None:
    act(reader, "alter", [(spell(stmt.fdwname), "foreign_data_wrapper")])
    functions_in(reader, stmt.func_options)


def _roles(verb: str, kind: str, field: str) -> Handler:
    """Statements about roles in a list."""

    def handle(reader: "Reader", stmt: Any) -> None:
        act(reader, verb, [(role_name(n), kind) for n in getattr(stmt, field)])

    return handle


def role_name(node: Node) -> str:
    """A role as it is named; CURRENT_USER and the like by their own names."""
    return _role(node.role_spec)


def _role(spec: pb.RoleSpec) -> str:
    if spec.roletype == pb.ROLESPEC_CSTRING:
        return spell(spec.rolename)
    return str(pb.RoleSpecType.Name(spec.roletype)).removeprefix("ROLESPEC_").lower()


def _alter_role(reader: "Reader", stmt: Any) -> None:
    act(reader, "alter", [(_role(stmt.role), "role")])


def _alter_listed(field: str, kind: str) -> Handler:
    """ALTER of something with a dotted name in one field."""

    def handle(reader: "Reader", stmt: Any) -> None:
        schema, name = split_name(strings(getattr(stmt, field)))
        act(reader, "alter", [(written(schema, name), kind)])

    return handle


def _named(verb: str, field: str, kind: str) -> Handler:
    """A statement about something with one name in one field."""

    def handle(reader: "Reader", stmt: Any) -> None:
        act(reader, verb, [(spell(getattr(stmt, field)), kind)])

    return handle


def _alter_system(reader: "Reader", stmt: pb.AlterSystemStmt) -> None:
    name = stmt.setstmt.name
    act(reader, "alter_system", [(spell(name) if name else "?", "setting")])


def _import_schema(reader: "Reader", stmt: pb.ImportForeignSchemaStmt) -> None:
    act(reader, "alter", [(spell(stmt.server_name), "server")])
    act(reader, "create", [(f"{spell(stmt.local_schema)}.?", "table")])


_HANDLERS: dict[str, Handler] = {
    "alter_table_stmt": _alter_table,
    "rename_stmt": _rename,
    "alter_owner_stmt": _owner,
    "alter_object_schema_stmt": _schema,
    "alter_object_depends_stmt": _depends,
    "drop_stmt": _drop,
    "truncate_stmt": _truncate,
    "grant_stmt": _grant,
    "grant_role_stmt": _grant_role,
    "alter_default_privileges_stmt": _default_privileges,
    "comment_stmt": _comment,
    "sec_label_stmt": _label,
    "alter_function_stmt": _alter_function,
    "alter_domain_stmt": _alter_type,
    "alter_type_stmt": _alter_type,
    "alter_enum_stmt": _alter_type,
    "alter_operator_stmt": _alter_operator,
    "alter_op_family_stmt": _alter_family,
    "alter_policy_stmt": _alter_policy,
    "alter_seq_stmt": _alter_sequence,
    "alter_stats_stmt": _alter_listed("defnames", "statistics"),
    "alter_collation_stmt": _alter_listed("collname", "collation"),
    "alter_tsdictionary_stmt": _alter_listed("dictname", "text_search"),
    "alter_tsconfiguration_stmt": _alter_listed("cfgname", "text_search"),
    "alter_extension_stmt": _named("alter", "extname", "extension"),
    "alter_extension_contents_stmt": _alter_extension_contents,
    "alter_publication_stmt": _alter_publication,
    "alter_subscription_stmt": _named("alter", "subname", "subscription"),
    "alter_event_trig_stmt": _named("alter", "trigname", "event_trigger"),
    "alter_fdw_stmt": _alter_wrapper,
    "alter_foreign_server_stmt": _named("alter", "servername", "server"),
    "alter_user_mapping_stmt": _named("alter", "servername", "user_mapping"),
    "alter_role_stmt": _alter_role,
    "alter_role_set_stmt": _alter_role,
    "alter_database_stmt": _named("alter", "dbname", "database"),
    "alter_database_set_stmt": _named("alter", "dbname", "database"),
    "alter_database_refresh_coll_stmt": _named("alter", "dbname", "database"),
    "alter_table_space_options_stmt": _named("alter", "tablespacename", "tablespace"),
    "alter_table_move_all_stmt": _named("alter", "orig_tablespacename", "tablespace"),
    "alter_system_stmt": _alter_system,
    "drop_role_stmt": _roles("drop", "role", "roles"),
    "drop_owned_stmt": _roles("drop", "owned", "roles"),
    "reassign_owned_stmt": _roles("alter", "owned", "roles"),
    "dropdb_stmt": _named("drop", "dbname", "database"),
    "drop_table_space_stmt": _named("drop", "tablespacename", "tablespace"),
    "drop_subscription_stmt": _named("drop", "subname", "subscription"),
    "drop_user_mapping_stmt": _named("drop", "servername", "user_mapping"),
    "import_foreign_schema_stmt": _import_schema,
}
