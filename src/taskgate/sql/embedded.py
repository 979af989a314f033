"""Expressions, queries and types inside statements that define things.

They run when the object is used, perhaps by others; who makes the object must be allowed what
they do.
"""

from typing import TYPE_CHECKING

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from taskgate.sql.expressions import is_expression
from taskgate.sql.nodes import Node, opened
from taskgate.sql.operators import judge_type
from taskgate.sql.scope import Item, Rows, Scope, Source
from taskgate.sql.values import CONSTANT

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

_QUERIES = frozenset({"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})


def loose_scope(*aliases: str) -> Scope:
    """Where any column may be named: those of a table being defined, of OLD and NEW, parameters
    of a function. Nothing is known to flow out of them."""
    rows = Rows((), CONSTANT)
    return Scope(items=[Item(rows, tuple(Source(a, rows) for a in (*aliases, "old", "new", "")))])


def read_embedded(reader: "Reader", message: Message, scope: Scope) -> None:
    """Reads all that can run in a definition. Walks in a loop: definitions may be long."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Node):
            which, inner = opened(one)
            if which in _QUERIES:
                reader.query(one, scope)
            elif is_expression(which):
                reader.value(one, scope)
            elif inner is not None:
                waiting.append(inner)
            continue
        if isinstance(one, pb.TypeName):
            judge_type(reader, one)
            continue
        for descriptor, value in one.ListFields():
            if descriptor.message_type is None:
                continue
            waiting.extend([value] if isinstance(value, Message) else value)
