"""How objects are named in actions."""

from collections.abc import Sequence

from taskgate.model.names import spell
from taskgate.sql.entries import Relation

SYSTEM = "pg_catalog"

_KINDS = {
    "r": "table",
    "p": "table",
    "f": "table",
    "t": "table",
    "v": "view",
    "m": "materialized_view",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "type",
}


def unresolved(*parts: str) -> str:
    """A name whose schema is not known (`?.name`); one that was written with it keeps it."""
    return spell(*parts) if len(parts) > 1 else "?." + spell(*parts)


def written(schema: str | None, name: str) -> str:
    """A name that resolves to nothing, as far as it was written."""
    return unresolved(name) if schema is None else spell(schema, name)


def split_name(parts: Sequence[str]) -> tuple[str | None, str]:
    """(schema, name) of a dotted name; a database before them is left to PostgreSQL to check."""
    if len(parts) > 1:
        return parts[-2], parts[-1]
    return None, parts[-1] if parts else ""


def relation_kind(relation: Relation) -> str:
    """The word for what it is."""
    return _KINDS.get(relation.kind, "table")
