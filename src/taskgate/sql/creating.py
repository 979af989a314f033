"""CREATE: what is made where, and what it refers to.

Whatever an object will run or read for others (a view's query, a trigger's function) is judged
when it is made, as if it ran now.

Source: PostgreSQL manual, part VI, the CREATE commands.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql.calls import judge_name
from taskgate.sql.embedded import loose_scope, read_embedded
from taskgate.sql.naming import (
    Named,
    act,
    existing_relation,
    existing_type,
    name_beside,
    new_object,
    new_relation,
)
from taskgate.sql.nodes import Node, opened, strings
from taskgate.sql.scope import Rows
from taskgate.sql.spelling import split_name

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any], None]


def create(reader: "Reader", which: str, stmt: Any) -> bool:
    """Notes what a CREATE does; False if it is none that is known here."""
    handler = _HANDLERS.get(which)
    if handler is None:
        return False
    reader.findings.may_change_resolution = True
    handler(reader, stmt)
    return True


def note_into(reader: "Reader", into: pb.IntoClause, rows: Rows, kind: str = "table") -> None:
    """SELECT INTO and CREATE TABLE AS: the rows go where no mask reaches them."""
    reader.findings.may_change_resolution = True
    act(reader, "create", [new_relation(reader, into.rel, kind)])
    reader.compare_all(rows)


def uses_function(reader: "Reader", parts: Sequence[str]) -> None:
    """A function that the new object will call."""
    schema, name = split_name(parts)
    judge_name(reader, schema, name)


def _table(reader: "Reader", stmt: pb.CreateStmt) -> None:
    act(reader, "create", [new_relation(reader, stmt.relation)])
    for node in stmt.inh_relations:
        # A partition or child becomes part of what its parent shows.
        act(reader, "alter", [existing_relation(reader, node.range_var)])
    for node in stmt.table_elts:
        which, inner = opened(node)
        if which == "table_like_clause":
            name, kind = existing_relation(reader, inner.relation)
            reader.findings.act(Action("select", name, kind, False, ()))
    references(reader, stmt)
    if stmt.HasField("of_typename"):
        act(reader, "alter", [existing_type(reader, strings(stmt.of_typename.names))])
    read_embedded(reader, stmt, loose_scope(stmt.relation.relname))


def references(reader: "Reader", stmt: Any) -> None:
    """Foreign keys: writing one tells which keys the other table has."""
    waiting = [stmt]
    while waiting:
        one = waiting.pop()
        if isinstance(one, pb.Constraint):
            if one.HasField("pktable"):
                name, kind = existing_relation(reader, one.pktable)
                columns = strings(one.pk_attrs) or None
                reader.findings.act(Action("references", name, kind, True, columns))
            continue
        for descriptor, value in one.ListFields():
            if descriptor.message_type is not None:
                waiting.extend([value] if hasattr(value, "ListFields") else value)


def _foreign_table(reader: "Reader", stmt: pb.CreateForeignTableStmt) -> None:
    _table(reader, stmt.base_stmt)
    act(reader, "alter", [(spell(stmt.servername), "server")])


def _view(reader: "Reader", stmt: pb.ViewStmt) -> None:
    act(reader, "create", [new_relation(reader, stmt.view, "view")])
    reader.query(stmt.query, None)


def _index(reader: "Reader", stmt: pb.IndexStmt) -> None:
    name, kind = existing_relation(reader, stmt.relation)
    made = name_beside(name, stmt.idxname) if stmt.idxname else name
    act(reader, "create", [(made, "index")])
    act(reader, "alter", [(name, kind)])
    read_embedded(reader, stmt, loose_scope(stmt.relation.relname))


def _on_table(reader: "Reader", table: pb.RangeVar, kind: str) -> None:
    """Something made on a table is named after it, and changes it."""
    name, own = existing_relation(reader, table)
    act(reader, "create", [(name, kind)])
    act(reader, "alter", [(name, own)])


def _rule(reader: "Reader", stmt: pb.RuleStmt) -> None:
    _on_table(reader, stmt.relation, "rule")
    scope = loose_scope(stmt.relation.relname)
    reader.steer(stmt.where_clause, scope)
    for node in stmt.actions:
        which, inner = opened(node)
        if which == "notify_stmt":
            act(reader, "notify", [(spell(inner.conditionname), "channel")])
        else:
            reader.query(node, scope)


def _trigger(reader: "Reader", stmt: pb.CreateTrigStmt) -> None:
    _on_table(reader, stmt.relation, "trigger")
    uses_function(reader, strings(stmt.funcname))
    read_embedded(reader, stmt.when_clause, loose_scope(stmt.relation.relname))


def _event_trigger(reader: "Reader", stmt: pb.CreateEventTrigStmt) -> None:
    act(reader, "create", [(spell(stmt.trigname), "event_trigger")])
    uses_function(reader, strings(stmt.funcname))


def _policy(reader: "Reader", stmt: pb.CreatePolicyStmt) -> None:
    _on_table(reader, stmt.table, "policy")
    read_embedded(reader, stmt, loose_scope(stmt.table.relname))


def _function(reader: "Reader", stmt: pb.CreateFunctionStmt) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.funcname), "function")])
    # A body given as a string cannot be read here; whoever may create functions may do anything
    # that they are then allowed to call.
    reader.findings.opaque = True
    read_embedded(reader, stmt, loose_scope(strings(stmt.funcname)[-1]))


# Definitions of aggregates, operators and types name functions as if they were types.
_NO_FUNCTIONS = frozenset(
    {
        "stype",
        "mstype",
        "basetype",
        "leftarg",
        "rightarg",
        "commutator",
        "negator",
        "sortop",
        "element",
        "like",
        "subtype",
        "subtype_opclass",
        "collation",
        "collatable",
        "storage",
        "alignment",
        "category",
        "preferred",
        "delimiter",
        "parallel",
        "passedbyvalue",
        "internallength",
        "hypothetical",
        "default",
        "initcond",
        "minitcond",
        "finalfunc_modify",
        "mfinalfunc_modify",
        "finalfunc_extra",
        "mfinalfunc_extra",
        "sspace",
        "msspace",
        "hashes",
        "merges",
        "multirange_type_name",
        "template",
        "parser",
        "copy",
        "locale",
        "lc_collate",
        "lc_ctype",
        "provider",
        "deterministic",
        "rules",
        "version",
        "from",
    }
)
_DEFINED = {
    pb.OBJECT_AGGREGATE: "function",
    pb.OBJECT_OPERATOR: "operator",
    pb.OBJECT_TYPE: "type",
    pb.OBJECT_TSPARSER: "text_search",
    pb.OBJECT_TSDICTIONARY: "text_search",
    pb.OBJECT_TSTEMPLATE: "text_search",
    pb.OBJECT_TSCONFIGURATION: "text_search",
    pb.OBJECT_COLLATION: "collation",
}


def _define(reader: "Reader", stmt: pb.DefineStmt) -> None:
    kind = _DEFINED.get(stmt.kind)
    if kind is None:
        reader.unclear("CREATE of a kind that is not known here")
        return
    act(reader, "create", [new_object(reader, strings(stmt.defnames), kind)])
    functions_in(reader, stmt.definition)
    read_embedded(reader, stmt, loose_scope())


def functions_in(reader: "Reader", definition: Sequence[Node]) -> None:
    """The functions that a list of `name = value` gives."""
    for node in definition:
        element = node.def_elem
        if element.defname in _NO_FUNCTIONS:
            continue
        which, inner = opened(element.arg)
        if which == "type_name":
            uses_function(reader, strings(inner.names))
        elif which == "list":
            uses_function(reader, strings(inner.items))


def _type(reader: "Reader", stmt: Any) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.type_name), "type")])
    if isinstance(stmt, pb.CreateRangeStmt):
        functions_in(reader, stmt.params)
    read_embedded(reader, stmt, loose_scope())


def _composite(reader: "Reader", stmt: pb.CompositeTypeStmt) -> None:
    act(reader, "create", [new_relation(reader, stmt.typevar, "type")])
    read_embedded(reader, stmt, loose_scope())


def _domain(reader: "Reader", stmt: pb.CreateDomainStmt) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.domainname), "type")])
    read_embedded(reader, stmt, loose_scope("value"))


def _cast(reader: "Reader", stmt: pb.CreateCastStmt) -> None:
    ends = [strings(t.names) for t in (stmt.sourcetype, stmt.targettype)]
    act(reader, "create", [(spell(f"{ends[0][-1]} to {ends[1][-1]}"), "cast")])
    if stmt.HasField("func"):
        uses_function(reader, strings(stmt.func.objname))


def _transform(reader: "Reader", stmt: pb.CreateTransformStmt) -> None:
    name = strings(stmt.type_name.names)[-1]
    act(reader, "create", [(spell(f"{name} to {stmt.lang}"), "transform")])
    for function in (stmt.fromsql, stmt.tosql):
        if function.objname:
            uses_function(reader, strings(function.objname))


def _operator_class(reader: "Reader", stmt: pb.CreateOpClassStmt) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.opclassname), "operator_class")])
    functions_of_class(reader, stmt.items)


def functions_of_class(reader: "Reader", items: Sequence[Node]) -> None:
    """Support functions of an operator class or family."""
    for node in items:
        item = node.create_op_class_item
        # OPCLASS_ITEM_FUNCTION of PostgreSQL's nodes/parsenodes.h.
        if item.itemtype == 2 and item.name.objname:
            uses_function(reader, strings(item.name.objname))


def _operator_family(reader: "Reader", stmt: pb.CreateOpFamilyStmt) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.opfamilyname), "operator_family")])


def _conversion(reader: "Reader", stmt: pb.CreateConversionStmt) -> None:
    act(reader, "create", [new_object(reader, strings(stmt.conversion_name), "conversion")])
    uses_function(reader, strings(stmt.func_name))


def _language(reader: "Reader", stmt: pb.CreatePLangStmt) -> None:
    act(reader, "create", [(spell(stmt.plname), "language")])
    for names in (stmt.plhandler, stmt.plinline, stmt.plvalidator):
        if names:
            uses_function(reader, strings(names))


def _access_method(reader: "Reader", stmt: pb.CreateAmStmt) -> None:
    act(reader, "create", [(spell(stmt.amname), "access_method")])
    uses_function(reader, strings(stmt.handler_name))


def _wrapper(reader: "Reader", stmt: pb.CreateFdwStmt) -> None:
    act(reader, "create", [(spell(stmt.fdwname), "foreign_data_wrapper")])
    functions_in(reader, stmt.func_options)


def _server(reader: "Reader", stmt: pb.CreateForeignServerStmt) -> None:
    act(reader, "create", [(spell(stmt.servername), "server")])


def _user_mapping(reader: "Reader", stmt: pb.CreateUserMappingStmt) -> None:
    act(reader, "create", [(spell(stmt.servername), "user_mapping")])


def _sequence(reader: "Reader", stmt: pb.CreateSeqStmt) -> None:
    act(reader, "create", [new_relation(reader, stmt.sequence, "sequence")])
    owned_by(reader, stmt.options)
    read_embedded(reader, stmt, loose_scope())


def owned_by(reader: "Reader", options: Sequence[Node]) -> None:
    """OWNED BY ties the sequence to a table, which it is then dropped with."""
    for node in options:
        element = node.def_elem
        parts = strings(element.arg.list.items) if element.defname == "owned_by" else ()
        if len(parts) > 1:
            table = pb.RangeVar(relname=parts[-2], schemaname=parts[-3] if len(parts) > 2 else "")
            act(reader, "alter", [existing_relation(reader, table)])


def _statistics(reader: "Reader", stmt: pb.CreateStatsStmt) -> None:
    for node in stmt.relations:
        name, kind = existing_relation(reader, node.range_var)
        act(reader, "create", [(name, "statistics")])
        act(reader, "alter", [(name, kind)])
    read_embedded(reader, stmt, loose_scope())


def _named(field: str, kind: str) -> Handler:
    """CREATE of something with one name in one field, and nothing else of interest."""

    def handle(reader: "Reader", stmt: Any) -> None:
        named: list[Named] = [(spell(getattr(stmt, field)), kind)]
        act(reader, "create", named)

    return handle


def _publication(reader: "Reader", stmt: pb.CreatePublicationStmt) -> None:
    act(reader, "create", [(spell(stmt.pubname), "publication")])
    published(reader, stmt.pubobjects)


def published(reader: "Reader", objects: Sequence[Node]) -> None:
    """A publication shows the rows of its tables to subscribers."""
    for node in objects:
        spec = node.publication_obj_spec
        if spec.HasField("pubtable"):
            name, kind = existing_relation(reader, spec.pubtable.relation)
            reader.findings.act(Action("select", name, kind, False))
            read_embedded(
                reader, spec.pubtable.where_clause, loose_scope(spec.pubtable.relation.relname)
            )


_HANDLERS: dict[str, Handler] = {
    "create_stmt": _table,
    "create_foreign_table_stmt": _foreign_table,
    "view_stmt": _view,
    "index_stmt": _index,
    "rule_stmt": _rule,
    "create_trig_stmt": _trigger,
    "create_event_trig_stmt": _event_trigger,
    "create_policy_stmt": _policy,
    "create_function_stmt": _function,
    "define_stmt": _define,
    "create_enum_stmt": _type,
    "create_range_stmt": _type,
    "composite_type_stmt": _composite,
    "create_domain_stmt": _domain,
    "create_cast_stmt": _cast,
    "create_transform_stmt": _transform,
    "create_op_class_stmt": _operator_class,
    "create_op_family_stmt": _operator_family,
    "create_conversion_stmt": _conversion,
    "create_plang_stmt": _language,
    "create_am_stmt": _access_method,
    "create_fdw_stmt": _wrapper,
    "create_foreign_server_stmt": _server,
    "create_user_mapping_stmt": _user_mapping,
    "create_seq_stmt": _sequence,
    "create_stats_stmt": _statistics,
    "create_publication_stmt": _publication,
    "create_subscription_stmt": _named("subname", "subscription"),
    "create_extension_stmt": _named("extname", "extension"),
    "create_role_stmt": _named("role", "role"),
    "createdb_stmt": _named("dbname", "database"),
    "create_table_space_stmt": _named("tablespacename", "tablespace"),
}
