"""The look-up on real servers: it says what is there, whatever a hostile session put in its way."""

import dataclasses

import psycopg
import pytest

from taskgate.sql.catalog import (
    CatalogAnswer,
    Entry,
    NeededName,
    Relation,
    catalog_query,
    parse_catalog_answer,
)
from tests.sql.conftest import LiveWorld
from tests.sql.world import RELATIONS, answer, facts_of, said

NAMES = [
    *(
        NeededName("relation", r.schema, r.name)
        for r in RELATIONS
        if r.schema not in ("pg_catalog", "information_schema")
    ),
    NeededName("relation", None, "t"),
    NeededName("relation", None, "nosuch"),
    NeededName("relation", "sales", "nosuch"),
    NeededName("function", None, "shout"),
    NeededName("function", None, "lower"),
    NeededName("function", None, "count"),
    NeededName("function", "evil", "count"),
    NeededName("function", "app", "rows"),
    NeededName("operator", None, "="),
    NeededName("operator", None, "==="),
    NeededName("operator", "app", "==="),
    NeededName("type", None, "text"),
    NeededName("type", "app", "mood"),
    NeededName("type", "app", "short"),
    NeededName("type", "app", "pair"),
    NeededName("referencing", "sales", "customers"),
    NeededName("referencing", "sales", "items"),
]


def _ask(connection: "psycopg.Connection[tuple[object, ...]]", *names: NeededName) -> CatalogAnswer:
    row = connection.execute(catalog_query(names).encode()).fetchone()
    assert row is not None
    return parse_catalog_answer(str(row[0]))


def _comparable(entry: Entry) -> tuple[object, ...]:
    """What the world's own entries say: OIDs, versions and the spelling of definitions aside."""
    relation = entry.relation
    routines = sorted((r.schema, r.name, r.language, r.returns_set) for r in entry.routines)
    kind = entry.type and (entry.type.schema, entry.type.name, entry.type.kind)
    casts = entry.type and [r.spelled for r in entry.type.casts]
    return (_relation(relation), routines, kind, casts, sorted(entry.tables))


def _relation(relation: Relation | None) -> tuple[object, ...] | None:
    if relation is None:
        return None
    names = [c.name for c in relation.columns]
    if relation.name == 'Odd "Name.x':
        names = ["ColA", "b"]
    inherited = [c.inherited for c in relation.columns]
    return (
        relation.spelled, relation.kind, relation.temporary, names, inherited,
        relation.ancestors, relation.descendants, relation.has_triggers, relation.has_rules,
        relation.definition is None,
    )  # fmt: skip


def test_the_world_of_the_pure_tests_is_the_real_one(live: LiveWorld) -> None:
    real = dict(_ask(live.connection, *NAMES).entries)
    assert len(real) == len(NAMES)
    for name, entry in answer(NAMES).entries:
        if name == NeededName("referencing", "sales", "items"):
            continue
        assert _comparable(real[name]) == _comparable(entry), name


def test_the_session_is_told(live: LiveWorld) -> None:
    found = _ask(live.connection)
    assert found.entries == ()
    assert found.schemas == ("pg_catalog", "public")
    assert found.creation_schema == "public"
    assert found.database == live.database
    assert found.user == found.session_user == "tg_super"
    assert found.server_version // 10_000 == live.server.major
    assert found.server_encoding == "UTF8"
    assert found.standard_conforming_strings
    assert not found.has_temporary


@pytest.mark.parametrize("strings", ["on", "off"])
def test_names_with_quotes_and_backslashes_are_found(live: LiveWorld, strings: str) -> None:
    odd = "a'b\\c\"d $é"
    with (
        live.server.connect(live.database) as connection,
        connection.transaction(force_rollback=True),
    ):
        quoted = '"' + odd.replace('"', '""') + '"'
        connection.execute(f"create table {quoted} (a int)".encode())
        connection.execute(f"set local standard_conforming_strings = {strings}".encode())
        found = _ask(connection, NeededName("relation", None, odd))
        relation = found.entries[0][1].relation
        assert relation is not None
        assert relation.name == odd
        assert found.standard_conforming_strings is (strings == "on")


def test_temporary_relations_come_first_and_go_by_one_name(live: LiveWorld) -> None:
    with live.server.connect(live.database) as connection:
        connection.execute("create temp table t (z int)")
        connection.execute("create function pg_temp.f() returns int language sql as 'select 1'")
        found = _ask(
            connection,
            NeededName("relation", None, "t"),
            NeededName("relation", "pg_temp", "t"),
            NeededName("relation", "public", "t"),
            NeededName("function", "pg_temp", "f"),
        )
        assert found.has_temporary
        spelled = [e.relation.spelled for _, e in found.entries if e.relation is not None]
        assert spelled == ["pg_temp.t", "pg_temp.t", "public.t"]
        assert found.entries[0][1].routines[0].spelled == "pg_temp.f"
        live_facts = live.analysed("select z from t", connection).statements[0]
        assert said(live_facts) == ["select pg_temp.t(z)"]
        connection.execute("set search_path = public")
        assert said(live.analysed("select z from t", connection).statements[0]) == [
            "select pg_temp.t(z)"
        ]


HOSTILE = """
create schema mask;
create table mask.pg_class (oid oid, relname name, relnamespace oid, relkind "char");
create table mask.pg_namespace (oid oid, nspname name);
create function mask.current_schemas(bool) returns name[] language sql as $$select array['sales'::name]$$;
create function mask.json_build_object(variadic text[]) returns json language sql as $$select '{}'::json$$;
create function mask.json_agg(anyelement) returns json language sql as $$select '[]'::json$$;
create function mask.pg_table_is_visible(oid) returns bool language sql as 'select true';
create function mask.pg_get_viewdef(oid) returns text language sql as $$select 'select 1'$$;
create function mask.never(name, name) returns bool language sql as 'select false';
create function mask.never(oid, oid) returns bool language sql as 'select false';
create function mask.never(text, text) returns bool language sql as 'select false';
create operator mask.= (leftarg = name, rightarg = name, function = mask.never);
create operator mask.= (leftarg = oid, rightarg = oid, function = mask.never);
create operator mask.= (leftarg = text, rightarg = text, function = mask.never);
create domain mask.text as pg_catalog.text check (false);
create domain mask.name as pg_catalog.name check (false);
create domain mask.oid as pg_catalog.oid check (false);
set search_path = mask, pg_catalog, public;
"""  # noqa: E501 - one object a line


def test_look_alikes_in_the_search_path_change_nothing(live: LiveWorld) -> None:
    with (
        live.server.connect(live.database) as connection,
        connection.transaction(force_rollback=True),
    ):
        before = dict(_ask(connection, *NAMES[:20]).entries)
        connection.execute(HOSTILE.encode())
        found = _ask(connection, *NAMES[:20])
        assert found.schemas == ("mask", "pg_catalog", "public")
        for name, entry in found.entries:
            was = before[name].relation
            if was is None or entry.relation is None:
                assert was is entry.relation
                continue
            assert _unspelled(entry.relation) == _unspelled(was)
        facts = live.analysed("select relname from pg_class where relname = 'x'", connection)
        assert {a.object for a in facts.statements[0].actions} >= {"mask.pg_class", "mask.never"}
        shadowed = live.analysed("select 'x'::text", connection)
        assert not shadowed.statements[0].unclear


def _unspelled(relation: Relation) -> Relation:
    """Without what the server spells by the search path: definitions, names of types."""
    columns = tuple(dataclasses.replace(c, type_name="") for c in relation.columns)
    return dataclasses.replace(relation, columns=columns, definition=None)


def test_a_role_without_rights_can_look_names_up(live: LiveWorld) -> None:
    with (
        live.server.connect(live.database) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute("create role nobody_here")
        connection.execute("set local role nobody_here")
        found = _ask(connection, NeededName("relation", "sales", "active"))
        relation = found.entries[0][1].relation
        assert relation is not None
        assert relation.definition is not None
        assert found.user == "nobody_here"


@pytest.mark.parametrize(
    "text",
    [
        "select * from sales.deep",
        "select email from sales.totals where total > 1",
        "select mail from sales.by_function",
        "insert into sales.active (id, email) values (1, 'x')",
        "select who from sales.events where day > now()",
        "select badge, email from app.staff",
        "select b === 'x', '(1,a)'::app.pair from t",
        "select * from t natural join u",
        'select * from "Odd ""Name.x"',
    ],
)
def test_real_and_pure_analysis_agree(live: LiveWorld, text: str) -> None:
    real = said(live.analysed(text).statements[0])
    pure = said(facts_of(text))
    assert [line.replace("Col A", "ColA") for line in real] == pure
