"""The parse tree's types, and how a node is opened.

The tree is libpg_query's protobuf form of PostgreSQL's raw parse tree (`pg_query.proto`; the
structs are those of PostgreSQL's `nodes/parsenodes.h`).
"""

from collections.abc import Iterable
from typing import Any

from postgast.pg_query_pb2 import Node

__all__ = ["Node", "constant_text", "is_set", "opened", "strings"]


def opened(node: Node) -> tuple[str, Any]:
    """The node's type name (`select_stmt`) and the message itself; ("", None) for no node."""
    which = node.WhichOneof("node")
    return ("", None) if which is None else (which, getattr(node, which))


def is_set(node: Node) -> bool:
    """Whether an optional child is there."""
    return node.WhichOneof("node") is not None


def strings(nodes: Iterable[Node]) -> tuple[str, ...]:
    """A list of String nodes (a dotted name); a star becomes `*`."""
    return tuple(n.string.sval if n.WhichOneof("node") == "string" else "*" for n in nodes)


def constant_text(node: Node) -> str | None:
    """The text of a constant, casts of constants included; None for NULL and all else."""
    which, inner = opened(node)
    while which == "type_cast":
        which, inner = opened(inner.arg)
    if which == "string":
        return str(inner.sval)
    if which == "integer":
        return str(inner.ival)
    if which == "float":
        return str(inner.fval)
    if which == "boolean":
        return "true" if inner.boolval else "false"
    if which != "a_const" or inner.isnull:
        return None
    kind = inner.WhichOneof("val")
    if kind == "sval":
        return str(inner.sval.sval)
    if kind == "ival":
        return str(inner.ival.ival)
    if kind == "fval":
        return str(inner.fval.fval)
    if kind == "boolval":
        return "true" if inner.boolval.boolval else "false"
    return None
