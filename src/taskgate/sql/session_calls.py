"""Function calls that are statements in disguise: set_config, current_setting, pg_notify."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import settings
from taskgate.sql.nodes import constant_text
from taskgate.sql.values import Value, failing, union

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

_SYSTEM = "pg_catalog"


def read(
    reader: "Reader",
    schema: str | None,
    name: str,
    args: Sequence[pb.Node],
    values: Sequence[Value],
) -> Value | None:
    """The lineage of such a call, its actions noted; None if it is none."""
    if schema not in (None, _SYSTEM) or name not in ("set_config", "current_setting", "pg_notify"):
        return None
    if schema is None and (reader.names.blind(None) or reader.names.routines(None, name)):
        # A function of the user's goes by the same name; judged as any other call.
        return None
    first = constant_text(args[0]) if args else None
    if first is None or any(a.WhichOneof("node") == "named_arg_expr" for a in args):
        return None
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
