"""What names mean where no database can be asked: as written, or a built-in.

For explaining a policy from its files alone. A relation is taken for a plain table with the
columns that the statement names, so a view, a trigger or a search path may make the real verdict
stricter; it never runs anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import postgast

from taskgate.model.errors import Unreadable
from taskgate.sql.entries import (
    CatalogAnswer,
    Column,
    Entry,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)
from taskgate.sql.known import metadata_relations

NOTE: Final = (
    "explained from the files alone: each name is taken as it is written, each relation for a plain"
    " table with the columns that the statement names"
)
_BUILT_IN: Final = "pg_catalog"
_TEXT_OID: Final = 25
_FIRST_OID: Final = 100_000


def assume(names: Iterable[NeededName], text: str) -> CatalogAnswer:
    """Entries for `names`, which `text` uses. Raises: Unreadable for a table without schema."""
    columns = _columns(text)
    entries = tuple(
        (name, _entry(name, _FIRST_OID + number, columns))
        for number, name in enumerate(sorted(names, key=lambda one: (one.kind, str(one))))
    )
    return CatalogAnswer(
        entries=entries,
        schemas=(_BUILT_IN,),
        creation_schema="",
        temp_schema="",
        database="",
        user="",
        session_user="",
        server_version=180000,
        server_encoding="UTF8",
        standard_conforming_strings=True,
    )


def _entry(name: NeededName, oid: int, columns: tuple[Column, ...]) -> Entry:
    match name.kind:
        case "relation":
            schema = name.schema or _built_in_schema(name.name)
            return Entry(relation=Relation(oid, schema, name.name, "r", False, columns))
        case "function":
            # One without a schema is a built-in: there is no search path to find others by.
            if name.schema is None:
                return Entry()
            language = "internal" if name.schema == _BUILT_IN else "sql"
            return Entry(routines=(Routine(name.schema, name.name, oid, language, False),))
        case "operator":
            return Entry(operator_schemas=(name.schema or _BUILT_IN,))
        case "type":
            return Entry(type=TypeInfo(oid, name.schema or _BUILT_IN, name.name, "b"))
        case _:
            return Entry()


def _built_in_schema(name: str) -> str:
    if (_BUILT_IN, name) in metadata_relations():
        return _BUILT_IN
    raise Unreadable(
        f"without a database, {name} could be in any schema",
        hint=f"write it whole, as in sales.{name}; or leave --dir out to ask the gateway",
    )


def _columns(text: str) -> tuple[Column, ...]:
    """Every name in the statement, each taken for a column."""
    found: dict[str, None] = {}
    raw = text.encode("utf-8", "replace")
    for token in postgast.scan(text).tokens:
        word = raw[token.start : token.end].decode("utf-8", "replace")
        kind = postgast.pg_query_pb2.Token.Name(token.token)
        if kind == "IDENT" or token.keyword_kind in _USABLE:
            quoted = word.startswith('"') and word.endswith('"') and len(word) > 1
            found[word[1:-1].replace('""', '"') if quoted else word.lower()] = None
    return tuple(
        Column(number, name, _TEXT_OID, "text") for number, name in enumerate(found, start=1)
    )


# Keywords that may name a column (PostgreSQL, appendix "SQL Key Words").
_USABLE: Final = frozenset(
    (
        postgast.pg_query_pb2.UNRESERVED_KEYWORD,
        postgast.pg_query_pb2.COL_NAME_KEYWORD,
    )
)
