"""The look-up of names at the resource: one statement, answered with one JSON text.

It runs over the client's own session, so that search path, role and temporary objects are the
client's. For the same reason everything in it is qualified with pg_catalog, operators and casts
included: the client may have put look-alikes into its search path. Works on PostgreSQL 13 to 18.

Source: PostgreSQL manual, chapter "System Catalogs"; section 5.10.6 on writing such queries.
"""

# ruff: noqa: S608 - what is put into the text are constants of this module, and quoted names

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskgate.model.errors import Unreadable
from taskgate.sql.catalog_code import (
    CASTS,
    CODE,
    CONVERSIONS,
    EQ,
    GT,
    NE,
    ROUTINE,
    ROUTINE_FROM,
    RUNS,
    cascading,
)
from taskgate.sql.entries import (
    CatalogAnswer,
    Column,
    Conversion,
    Entry,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)

# A relation with more relatives than this is cut off, and the answer says so.
MAX_RELATIVES = 4_096

# The session's own temporary schema goes by `pg_temp`, whatever its number.
_TEMP = f"""(w.schema {EQ} 'pg_temp'::pg_catalog.name
 AND n.oid {EQ} pg_catalog.pg_my_temp_schema())"""


def _relatives(start: str, end: str) -> str:
    """Inheritance relatives of `c`, all levels: from column `start` to column `end`."""
    return f"""(WITH RECURSIVE kin(o) AS (
  SELECT i.{end} FROM pg_catalog.pg_inherits i WHERE i.{start} {EQ} c.oid
  UNION SELECT i.{end} FROM pg_catalog.pg_inherits i JOIN kin ON i.{start} {EQ} kin.o)
 SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kn.nspname, k.relname))
 FROM (SELECT o FROM kin LIMIT {MAX_RELATIVES + 1}) kin
 JOIN pg_catalog.pg_class k ON k.oid {EQ} kin.o
 JOIN pg_catalog.pg_namespace kn ON kn.oid {EQ} k.relnamespace)"""


_RELATION = f"""SELECT pg_catalog.json_build_object(
 'oid', c.oid, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
 'temporary', c.relpersistence {EQ} 't'::pg_catalog."char",
 'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname,
   a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod),
   a.attinhcount {GT} 0) ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid {EQ} c.oid AND a.attnum {GT} 0 AND NOT a.attisdropped),
 'definition', CASE WHEN c.relkind {EQ} 'v'::pg_catalog."char"
   OR c.relkind {EQ} 'm'::pg_catalog."char" THEN pg_catalog.pg_get_viewdef(c.oid) END,
 'ancestors', {_relatives("inhrelid", "inhparent")},
 'descendants', {_relatives("inhparent", "inhrelid")},
 'triggers', c.relrowsecurity OR {CODE},
 'runs', {RUNS},
 'rules', c.relhasrules AND EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
   WHERE r.ev_class {EQ} c.oid AND r.ev_type {NE} '1'::pg_catalog."char"))
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid {EQ} c.relnamespace
 WHERE c.relname {EQ} w.name AND (n.nspname {EQ} w.schema OR {_TEMP}
  OR (w.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))"""

_FUNCTION = f"""SELECT pg_catalog.json_agg({ROUTINE}) FROM {ROUTINE_FROM}
 JOIN pg_catalog.pg_namespace n ON n.oid {EQ} p.pronamespace
 WHERE p.proname {EQ} w.name AND (n.nspname {EQ} w.schema OR {_TEMP} OR (w.schema IS NULL
  AND n.nspname {NE} 'pg_catalog'::pg_catalog.name
  AND pg_catalog.pg_function_is_visible(p.oid)))"""

_OPERATOR = f"""SELECT pg_catalog.json_build_object(
 'schemas', pg_catalog.json_agg(n.nspname),
 'routines', pg_catalog.json_agg({ROUTINE}))
 FROM pg_catalog.pg_operator o
 JOIN pg_catalog.pg_namespace n ON n.oid {EQ} o.oprnamespace
 JOIN {ROUTINE_FROM} ON p.oid {EQ} o.oprcode
 WHERE o.oprname {EQ} w.name AND n.nspname {NE} 'pg_catalog'::pg_catalog.name
  AND (n.nspname {EQ} w.schema OR {_TEMP}
   OR (w.schema IS NULL AND pg_catalog.pg_operator_is_visible(o.oid)))"""

_TYPE = f"""SELECT pg_catalog.json_build_object(
 'oid', t.oid, 'schema', n.nspname, 'name', t.typname, 'kind', t.typtype,
 'casts', CASE WHEN n.nspname {NE} 'pg_catalog'::pg_catalog.name THEN {CONVERSIONS} END)
 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid {EQ} t.typnamespace
 WHERE t.typname {EQ} w.name AND (n.nspname {EQ} w.schema OR {_TEMP}
  OR (w.schema IS NULL AND pg_catalog.pg_type_is_visible(t.oid)))"""

_REFERENCING = f"""SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kn.nspname, k.relname))
 FROM (WITH RECURSIVE kin(o) AS (
   SELECT c.oid FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid {EQ} c.relnamespace
    WHERE c.relname {EQ} w.name AND (n.nspname {EQ} w.schema OR {_TEMP}
     OR (w.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))
   UNION SELECT s.o FROM kin, LATERAL (
    SELECT f.conrelid FROM pg_catalog.pg_constraint f
     WHERE f.confrelid {EQ} kin.o AND f.contype {EQ} 'f'::pg_catalog."char"
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent {EQ} kin.o) s(o))
  SELECT o FROM kin LIMIT {MAX_RELATIVES + 1}) kin
 JOIN pg_catalog.pg_class k ON k.oid {EQ} kin.o
 JOIN pg_catalog.pg_namespace kn ON kn.oid {EQ} k.relnamespace"""

_CASCADING = cascading(
    f"""c.relname {EQ} w.name AND (n.nspname {EQ} w.schema OR {_TEMP}
     OR (w.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))"""
)

_ANSWERS = {
    "relation": _RELATION,
    "function": _FUNCTION,
    "operator": _OPERATOR,
    "type": _TYPE,
    "referencing": _REFERENCING,
    "cascading": _CASCADING,
    "cast": CASTS,
}

_SESSION = f"""pg_catalog.json_build_object(
 'schemas', pg_catalog.current_schemas(true),
 'creation_schema', (pg_catalog.current_schemas(false))[1],
 'temp_schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n
   WHERE n.oid {EQ} pg_catalog.pg_my_temp_schema()),
 'database', pg_catalog.current_database(), 'user', current_user, 'session_user', session_user,
 'version', pg_catalog.current_setting('server_version_num'),
 'encoding', pg_catalog.current_setting('server_encoding'),
 'strings', pg_catalog.current_setting('standard_conforming_strings'),
 'isolation', pg_catalog.current_setting('transaction_isolation'))"""


def catalog_query(names: Iterable[NeededName]) -> str:
    """One SELECT without parameters; its one row has one text column for `parse_catalog_answer`.

    Names of one kind share one subquery, so that the text grows little with their number.
    """
    by_kind: dict[str, list[NeededName]] = {}
    for name in sorted(names, key=lambda n: (n.kind, n.schema or "", n.name)):
        by_kind.setdefault(name.kind, []).append(name)
    parts = []
    for kind, wanted in by_kind.items():
        rows = ",".join(f"({_literal(n.schema)},{_literal(n.name)})" for n in wanted)
        parts.append(
            f"'{kind}',(SELECT pg_catalog.json_agg(pg_catalog.json_build_array("
            f"w.schema,w.name,({_ANSWERS[kind]}))) FROM (VALUES {rows}) w(schema,name))"
        )
    return (
        f"SELECT pg_catalog.json_build_object('session',{_SESSION}"
        + "".join("," + part for part in parts)
        + ")::pg_catalog.text"
    )


def _literal(value: str | None) -> str:
    """A name as a constant that reads the same under any setting of the session."""
    if value is None:
        return "NULL::pg_catalog.name"
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'::pg_catalog.name"


def parse_catalog_answer(text: str) -> CatalogAnswer:
    """Reads what `catalog_query`'s statement answered.

    Raises:
        Unreadable: it is not such an answer.
    """
    try:
        found = json.loads(text)
        session = found.pop("session")
        return CatalogAnswer(
            entries=tuple(
                (NeededName(kind, schema, name), _READERS[kind](value))
                for kind, rows in found.items()
                for schema, name, value in rows or ()
            ),
            schemas=tuple(session["schemas"]),
            creation_schema=session["creation_schema"] or "",
            temp_schema=session["temp_schema"] or "",
            database=session["database"],
            user=session["user"],
            session_user=session["session_user"],
            server_version=int(session["version"]),
            server_encoding=session["encoding"],
            standard_conforming_strings=session["strings"] == "on",
            isolation=session["isolation"],
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise Unreadable(
            f"the resource's catalog answered what cannot be read: {error}",
            hint="is the resource a PostgreSQL server of version 13 or later?",
        ) from None


def _read_relation(value: Mapping[str, Any] | None) -> Entry:
    if value is None:
        return Entry()
    return Entry(
        relation=Relation(
            oid=int(value["oid"]),
            schema=value["schema"],
            name=value["name"],
            kind=value["kind"],
            temporary=bool(value["temporary"]),
            columns=tuple(
                Column(number, name, int(type_oid), type_name, inherited)
                for number, name, type_oid, type_name, inherited in value["columns"] or ()
            ),
            definition=value["definition"],
            ancestors=_pairs(value["ancestors"]),
            descendants=_pairs(value["descendants"]),
            has_triggers=bool(value["triggers"]),
            has_rules=bool(value["rules"]),
            runs=value["runs"] or "",
        )
    )


def _read_operator(value: Mapping[str, Any] | None) -> Entry:
    if value is None:
        return Entry()
    return Entry(
        routines=_routines(value["routines"]),
        operator_schemas=tuple(sorted(set(value["schemas"] or ()))),
    )


def _read_type(value: Mapping[str, Any] | None) -> Entry:
    if value is None:
        return Entry()
    return Entry(
        type=TypeInfo(
            int(value["oid"]),
            value["schema"],
            value["name"],
            value["kind"],
            _routines(value["casts"]),
        )
    )


def _routines(rows: list[list[Any]] | None) -> tuple[Routine, ...]:
    """In a stable order: the server's own is none."""
    found = (Routine(schema, name, int(oid), *rest) for schema, name, oid, *rest in rows or ())
    return tuple(sorted(found, key=lambda r: r.oid))


def _conversions(rows: list[list[Any]] | None) -> tuple[Conversion, ...]:
    found = [
        Conversion(
            int(oid), source, target, explicit, _routines([routine])[0], frozenset(makers or ())
        )
        for oid, source, target, explicit, routine, makers in rows or ()
    ]
    return tuple(sorted(found, key=lambda c: (c.routine.oid, c.target)))


def _pairs(rows: list[list[str]] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((schema, name) for schema, name in rows or ()))


_READERS: Mapping[str, Callable[[Any], Entry]] = {
    "relation": _read_relation,
    "function": lambda rows: Entry(routines=_routines(rows)),
    "operator": _read_operator,
    "type": _read_type,
    "referencing": lambda rows: Entry(tables=_pairs(rows)),
    "cascading": lambda value: Entry(tables=_pairs(value["tables"]), runs_code=value["code"]),
    "cast": lambda rows: Entry(conversions=_conversions(rows)),
}
