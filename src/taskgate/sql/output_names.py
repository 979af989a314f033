"""The name that PostgreSQL gives a column of a result that was given none.

Source: PostgreSQL's `parser/parse_target.c` (FigureColname).
"""

from postgast import pg_query_pb2 as pb

from taskgate.sql.nodes import Node, opened, strings

UNNAMED = "?column?"

_FIXED = {
    "a_array_expr": "array",
    "row_expr": "row",
    "coalesce_expr": "coalesce",
    "grouping_func": "grouping",
    "merge_support_func": "merge_action",
    "xml_serialize": "xmlserialize",
    "json_parse_expr": "json",
    "json_scalar_expr": "json_scalar",
    "json_serialize_expr": "json_serialize",
    "json_object_constructor": "json_object",
    "json_array_constructor": "json_array",
    "json_array_query_constructor": "json_array",
    "json_object_agg": "json_objectagg",
    "json_array_agg": "json_arrayagg",
}
_SQL_VALUES = {
    pb.SVFOP_CURRENT_DATE: "current_date",
    pb.SVFOP_CURRENT_TIME: "current_time",
    pb.SVFOP_CURRENT_TIME_N: "current_time",
    pb.SVFOP_CURRENT_TIMESTAMP: "current_timestamp",
    pb.SVFOP_CURRENT_TIMESTAMP_N: "current_timestamp",
    pb.SVFOP_LOCALTIME: "localtime",
    pb.SVFOP_LOCALTIME_N: "localtime",
    pb.SVFOP_LOCALTIMESTAMP: "localtimestamp",
    pb.SVFOP_LOCALTIMESTAMP_N: "localtimestamp",
    pb.SVFOP_CURRENT_ROLE: "current_role",
    pb.SVFOP_CURRENT_USER: "current_user",
    pb.SVFOP_USER: "user",
    pb.SVFOP_SESSION_USER: "session_user",
    pb.SVFOP_CURRENT_CATALOG: "current_catalog",
    pb.SVFOP_CURRENT_SCHEMA: "current_schema",
}
_XML = {
    pb.IS_XMLCONCAT: "xmlconcat",
    pb.IS_XMLELEMENT: "xmlelement",
    pb.IS_XMLFOREST: "xmlforest",
    pb.IS_XMLPARSE: "xmlparse",
    pb.IS_XMLPI: "xmlpi",
    pb.IS_XMLROOT: "xmlroot",
}
_JSON_FUNCTIONS = {
    pb.JSON_EXISTS_OP: "json_exists",
    pb.JSON_QUERY_OP: "json_query",
    pb.JSON_VALUE_OP: "json_value",
}


def name_of(node: Node) -> str:
    """The name of an unnamed output with this expression."""
    return _figure(node)[0] or UNNAMED


def _figure(node: Node) -> tuple[str, int]:
    """(name, strength): 0 nothing, 1 a fallback, 2 a good name."""
    which, inner = opened(node)
    fixed = _FIXED.get(which)
    if fixed is not None:
        return fixed, 2
    if which == "column_ref":
        names = [f.string.sval for f in inner.fields if f.WhichOneof("node") == "string"]
        return (names[-1], 2) if names else ("", 0)
    if which == "a_indirection":
        names = [f.string.sval for f in inner.indirection if f.WhichOneof("node") == "string"]
        return (names[-1], 2) if names else _figure(inner.arg)
    if which == "func_call":
        return strings(inner.funcname)[-1], 2
    if which == "a_expr":
        return ("nullif", 2) if inner.kind == pb.AEXPR_NULLIF else ("", 0)
    if which == "type_cast":
        found = _figure(inner.arg)
        if found[1] <= 1 and inner.type_name.names:
            return strings(inner.type_name.names)[-1], 1
        return found
    if which == "collate_clause":
        return _figure(inner.arg)
    if which == "case_expr":
        found = _figure(inner.defresult)
        return found if found[1] > 1 else ("case", 1)
    if which == "min_max_expr":
        return ("greatest" if inner.op == pb.IS_GREATEST else "least"), 2
    if which == "sqlvalue_function":
        return _SQL_VALUES.get(inner.op, ""), 2
    if which == "xml_expr":
        return _XML.get(inner.op, ""), 2
    if which == "json_func_expr":
        return _JSON_FUNCTIONS.get(inner.op, ""), 2
    if which == "sub_link":
        return _sub_link(inner)
    return "", 0


def _sub_link(link: pb.SubLink) -> tuple[str, int]:
    if link.sub_link_type == pb.EXISTS_SUBLINK:
        return "exists", 2
    if link.sub_link_type == pb.ARRAY_SUBLINK:
        return "array", 2
    if link.sub_link_type != pb.EXPR_SUBLINK:
        return "", 0
    select = link.subselect.select_stmt
    while select.op != pb.SETOP_NONE:
        select = select.larg
    if select.values_lists:
        return "column1", 2
    if not select.target_list:
        return "", 0
    target = select.target_list[0].res_target
    return (target.name, 2) if target.name else _figure(target.val)
