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
from taskgate.sql.entries import (
    CatalogAnswer,
    Column,
    Entry,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)

# A relation with more relatives than this is cut off, and the answer says so.
MAX_RELATIVES = 4_096

_EQ = "OPERATOR(pg_catalog.=)"
_NE = "OPERATOR(pg_catalog.<>)"
_GT = "OPERATOR(pg_catalog.>)"
# The session's own temporary schema goes by `pg_temp`, whatever its number.
_TEMP = f"""(w.schema {_EQ} 'pg_temp'::pg_catalog.name
 AND n.oid {_EQ} pg_catalog.pg_my_temp_schema())"""
_ROUTINE = f"""pg_catalog.json_build_array(pn.nspname, p.proname, p.oid, l.lanname,
 EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid {_EQ} p.oid
  AND d.classid {_EQ} 1255::pg_catalog.oid AND d.deptype {_EQ} 'e'::pg_catalog."char"),
 p.proretset, p.provolatile {_EQ} 'v'::pg_catalog."char", p.prokind,
 (p.xmin)::pg_catalog.text)"""
_ROUTINE_FROM = f"""pg_catalog.pg_proc p
 JOIN pg_catalog.pg_namespace pn ON pn.oid {_EQ} p.pronamespace
 JOIN pg_catalog.pg_language l ON l.oid {_EQ} p.prolang"""


def _relatives(start: str, end: str) -> str:
    """Inheritance relatives of `c`, all levels: from column `start` to column `end`."""
    return f"""(WITH RECURSIVE kin(o) AS (
  SELECT i.{end} FROM pg_catalog.pg_inherits i WHERE i.{start} {_EQ} c.oid
  UNION SELECT i.{end} FROM pg_catalog.pg_inherits i JOIN kin ON i.{start} {_EQ} kin.o)
 SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kn.nspname, k.relname))
 FROM (SELECT o FROM kin LIMIT {MAX_RELATIVES + 1}) kin
 JOIN pg_catalog.pg_class k ON k.oid {_EQ} kin.o
 JOIN pg_catalog.pg_namespace kn ON kn.oid {_EQ} k.relnamespace)"""


# `c` and what inherits from it, all levels: what is written to it may land there.
_BELOW = f"""(WITH RECURSIVE kin(o) AS (SELECT c.oid UNION SELECT i.inhrelid
  FROM pg_catalog.pg_inherits i JOIN kin ON i.inhparent {_EQ} kin.o) SELECT o FROM kin)"""
_IN = f"OPERATOR(pg_catalog.=) ANY {_BELOW}"
# Names none of it, but changes whenever one of the things does that run when `c` is written.
_RUNS = f"""(SELECT pg_catalog.string_agg(x.what, ' ' ORDER BY x.what) FROM (
  SELECT pg_catalog.concat('t', t.oid, '.', t.xmin, '.', p.oid, '.', p.xmin)
   FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid {_EQ} t.tgfoid
   WHERE t.tgrelid {_IN} AND NOT t.tgisinternal
  UNION ALL SELECT pg_catalog.concat('r', r.oid, '.', r.xmin) FROM pg_catalog.pg_rewrite r
   WHERE r.ev_class {_EQ} c.oid AND r.ev_type {_NE} '1'::pg_catalog."char"
  UNION ALL SELECT pg_catalog.concat('p', l.oid, '.', l.xmin) FROM pg_catalog.pg_policy l
   WHERE l.polrelid {_EQ} c.oid) x(what))"""

_RELATION = f"""SELECT pg_catalog.json_build_object(
 'oid', c.oid, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
 'temporary', c.relpersistence {_EQ} 't'::pg_catalog."char",
 'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname,
   a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod),
   a.attinhcount {_GT} 0) ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid {_EQ} c.oid AND a.attnum {_GT} 0 AND NOT a.attisdropped),
 'definition', CASE WHEN c.relkind {_EQ} 'v'::pg_catalog."char"
   OR c.relkind {_EQ} 'm'::pg_catalog."char" THEN pg_catalog.pg_get_viewdef(c.oid) END,
 'ancestors', {_relatives("inhrelid", "inhparent")},
 'descendants', {_relatives("inhparent", "inhrelid")},
 'triggers', c.relrowsecurity OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
   WHERE t.tgrelid {_IN} AND NOT t.tgisinternal),
 'runs', {_RUNS},
 'rules', c.relhasrules AND EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
   WHERE r.ev_class {_EQ} c.oid AND r.ev_type {_NE} '1'::pg_catalog."char"))
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid {_EQ} c.relnamespace
 WHERE c.relname {_EQ} w.name AND (n.nspname {_EQ} w.schema OR {_TEMP}
  OR (w.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))"""

_FUNCTION = f"""SELECT pg_catalog.json_agg({_ROUTINE}) FROM {_ROUTINE_FROM}
 JOIN pg_catalog.pg_namespace n ON n.oid {_EQ} p.pronamespace
 WHERE p.proname {_EQ} w.name AND (n.nspname {_EQ} w.schema OR {_TEMP} OR (w.schema IS NULL
  AND n.nspname {_NE} 'pg_catalog'::pg_catalog.name
  AND pg_catalog.pg_function_is_visible(p.oid)))"""

_OPERATOR = f"""SELECT pg_catalog.json_build_object(
 'schemas', pg_catalog.json_agg(n.nspname),
 'routines', pg_catalog.json_agg({_ROUTINE}))
 FROM pg_catalog.pg_operator o
 JOIN pg_catalog.pg_namespace n ON n.oid {_EQ} o.oprnamespace
 JOIN {_ROUTINE_FROM} ON p.oid {_EQ} o.oprcode
 WHERE o.oprname {_EQ} w.name AND n.nspname {_NE} 'pg_catalog'::pg_catalog.name
  AND (n.nspname {_EQ} w.schema OR {_TEMP}
   OR (w.schema IS NULL AND pg_catalog.pg_operator_is_visible(o.oid)))"""

_TYPE = f"""SELECT pg_catalog.json_build_object(
 'oid', t.oid, 'schema', n.nspname, 'name', t.typname, 'kind', t.typtype,
 'casts', CASE WHEN n.nspname {_NE} 'pg_catalog'::pg_catalog.name THEN (
  SELECT pg_catalog.json_agg({_ROUTINE}) FROM pg_catalog.pg_cast k
  JOIN {_ROUTINE_FROM} ON p.oid {_EQ} k.castfunc
  WHERE k.castsource {_EQ} t.oid OR k.casttarget {_EQ} t.oid) END)
 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid {_EQ} t.typnamespace
 WHERE t.typname {_EQ} w.name AND (n.nspname {_EQ} w.schema OR {_TEMP}
  OR (w.schema IS NULL AND pg_catalog.pg_type_is_visible(t.oid)))"""

_REFERENCING = f"""SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kn.nspname, k.relname))
 FROM (WITH RECURSIVE kin(o) AS (
   SELECT c.oid FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid {_EQ} c.relnamespace
    WHERE c.relname {_EQ} w.name AND (n.nspname {_EQ} w.schema OR {_TEMP}
     OR (w.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))
   UNION SELECT s.o FROM kin, LATERAL (
    SELECT f.conrelid FROM pg_catalog.pg_constraint f
     WHERE f.confrelid {_EQ} kin.o AND f.contype {_EQ} 'f'::pg_catalog."char"
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent {_EQ} kin.o) s(o))
  SELECT o FROM kin LIMIT {MAX_RELATIVES + 1}) kin
 JOIN pg_catalog.pg_class k ON k.oid {_EQ} kin.o
 JOIN pg_catalog.pg_namespace kn ON kn.oid {_EQ} k.relnamespace"""

_ANSWERS = {
    "relation": _RELATION,
    "function": _FUNCTION,
    "operator": _OPERATOR,
    "type": _TYPE,
    "referencing": _REFERENCING,
}

_SESSION = f"""pg_catalog.json_build_object(
 'schemas', pg_catalog.current_schemas(true),
 'creation_schema', (pg_catalog.current_schemas(false))[1],
 'temp_schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n
   WHERE n.oid {_EQ} pg_catalog.pg_my_temp_schema()),
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


def _pairs(rows: list[list[str]] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((schema, name) for schema, name in rows or ()))


_READERS: Mapping[str, Callable[[Any], Entry]] = {
    "relation": _read_relation,
    "function": lambda rows: Entry(routines=_routines(rows)),
    "operator": _read_operator,
    "type": _read_type,
    "referencing": lambda rows: Entry(tables=_pairs(rows)),
}
