"""Function calls that are statements in disguise: set_config, current_setting, pg_notify."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import settings
from taskgate.sql.nodes import constant_text, opened, strings
from taskgate.sql.scope import Scope
from taskgate.sql.values import Value, failing, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

_SYSTEM = "pg_catalog"


def read(
    reader: "Reader",
    function: tuple[str | None, str],
    args: Sequence[pb.Node],
    values: Sequence[Value],
    scope: Scope,
) -> Value | None:
    """The lineage of such a call, its actions noted; None if it is none."""
    schema, name = function
    if schema not in (None, _SYSTEM) or name not in ("set_config", "current_setting", "pg_notify"):
        return None
    if schema is None and (reader.names.blind(None) or reader.names.routines(None, name)):
        # A function of the user's goes by the same name; judged as any other call.
        return None
    first = (constant_text(args[0]) or _pinned_name(args[0], scope)) if args else None
    if first is None or any(a.WhichOneof("node") == "named_arg_expr" for a in args):
        if name == "set_config":
            reader.unclear(
                "set_config of a setting that is not spelled out: it might change how SQL is read"
            )
        return None
    reader.findings.reads_constants = True
    for value in values:
        if not value.empty:
            reader.findings.compare(value)
    if name == "current_setting":
        settings.note_show(reader.findings, first)
    elif name == "pg_notify":
        reader.findings.act(Action("notify", spell(first), "channel", True))
    else:
        second = args[1] if len(args) > 1 else None
        settings.note_set(
            reader.findings,
            first,
            None if second is None else constant_text(second),
            told=second is None or constant_text(second) is not None,
        )
    return failing(union(values))


def _pinned_name(node: pb.Node, scope: Scope) -> str | None:
    """The one value that the column `name` can have in `... FROM pg_settings WHERE name = 'x'`,
    which is how pg_dump sets what older servers do not know; None in all other cases."""
    if not _is_name(node) or len(scope.items) != 1 or scope.where is None:
        return None
    access = scope.items[0].sources[0].access if len(scope.items[0].sources) == 1 else None
    relation = None if access is None else access.relation
    if relation is None or (relation.schema, relation.name) != (_SYSTEM, "pg_settings"):
        return None
    which, test = opened(scope.where)
    if which != "a_expr" or test.kind != pb.AEXPR_OP or strings(test.name) != ("=",):
        return None
    return constant_text(test.rexpr) if _is_name(test.lexpr) else None


def _is_name(node: pb.Node) -> bool:
    which, inner = opened(node)
    return which == "column_ref" and strings(inner.fields) == ("name",)
