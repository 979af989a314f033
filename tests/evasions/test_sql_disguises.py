"""SQL that is not what it looks like. A case says what the analysis must make of the text, so that
the verdict is the one for what it really does."""

import pytest

from taskgate.model.errors import Unreadable
from taskgate.sql.script import parse_script
from tests.sql.world import analysed, facts_of


def does(text: str) -> set[str]:
    """Every `verb object` of a script, built-in functions left out."""
    return {
        f"{action.verb} {action.object}"
        for facts in analysed(text).statements
        for action in facts.actions
        if action.kind != "builtin"
    }


# Each of these deletes from public.t, and must be named as doing so.
DELETES = [
    "delete from t",
    "DELETE/**/FROM/**/t",
    'delete from "t"',
    'delete from U&"\\0074"',
    "delete from only (t)",
    "delete from public.t as harmless where true",
    "select 1; delete from t",
    "select 1 -- comment\r; delete from t",
    "select 1 -- comment\n; delete from t",
    "select 1 /* /* nested */ still a comment */; delete from t",
    "select ';--'; delete from t",
    "select E'\\'; --'; delete from t",
    "select $tag$ ; -- $x$ $tag$; delete from t",
    "select U&'\\0027; --'; delete from t",
    'select 1 as "--"; delete from t',
    "select a$b from (select 1 as a$b) x; delete from t",
    "with x as (delete from t returning *) select * from x",
    "with x as materialized (delete from t) select 1",
    "with x as not materialized (delete from t returning 1) select 1",
    "with recursive x as (delete from t returning a) select * from x",
    "with t as (select 1 as a) delete from t",
    "with t as (select 1 as a), u as (delete from t) select * from u",
    "with a as (with b as (select 1) select * from b), c as (delete from t returning 1) table c",
    "insert into u (a) with x as (delete from t returning a) select a from x",
    "explain analyze delete from t",
    "explain (analyze) delete from t",
    "explain (verbose, ANALYZE true, costs off) delete from t",
    "explain (analyze 1) delete from t",
    "EXPLAIN ANALYSE delete from t",
    "explain (analyze) with x as (delete from t) select 1",
    "explain analyze create table x as with y as (delete from t returning *) select * from y",
    "copy (delete from t returning *) to stdout",
    "copy (with x as (delete from t returning a) select a from x) to stdout",
    "prepare p as delete from t",
    "prepare p as delete from t; execute p",
    "prepare p as delete from t; explain analyze execute p",
    "merge into t using u on t.a = u.a when matched then delete",
    "with x as (merge into t using u on t.a = u.a when matched then delete returning 1) table x",
    "create rule r as on insert to u do also delete from t",
    "create function f() returns void language sql begin atomic delete from t; end",
    "begin; savepoint s; delete from t; rollback to s",
    "declare c cursor for select 1; delete from t",
    "select * from (values (1)) v; delete from t where current of c",
]


@pytest.mark.parametrize("text", DELETES)
def test_it_names_the_table_it_deletes_from(text: str) -> None:
    assert "delete public.t" in does(text)


OTHERS = [
    ("select a into stolen from t", "create public.stolen"),
    ("select a into temp stolen from t", "create pg_temp.stolen"),
    ("with x as (select 1 as a) select a into stolen from x", "create public.stolen"),
    ("create table stolen as table t", "create public.stolen"),
    ("explain analyze create table stolen as table t", "create public.stolen"),
    ("prepare p as select * from t; create table stolen as execute p", "create public.stolen"),
    ("select * from t for update", "lock public.t"),
    ("select * from (select * from t for no key update) x", "lock public.t"),
    ("with x as (select * from t for share) select 1", "lock public.t"),
    ("merge into t using u on true when not matched then insert values (1)", "insert public.t"),
    ("insert into t values (1) on conflict (a) do update set b = 'x'", "update public.t"),
    ("truncate only t", "truncate public.t"),
    ("table sales.customers", "select sales.customers"),
    ("explain table sales.customers", "select sales.customers"),
    ("do $$ begin delete from t; end $$", "do plpgsql"),
    ("do language plpython3u 'x'", "do plpython3u"),
    ("call app.tidy()", "call app.tidy"),
    ("create function f() returns int language sql as 'delete from t'", "create public.f"),
    ("create event trigger e on sql_drop execute function app.trg()", "create e"),
    ("create trigger g before insert on t execute function app.trg()", "call app.trg"),
    ("alter table t alter b type text using app.get_email(1)", "call app.get_email"),
    ("create table x (a text default app.get_email(1))", "call app.get_email"),
    ("create index on t ((app.get_email(a)))", "call app.get_email"),
    ("alter table sales.events attach partition sales.customers default", "alter sales.customers"),
    ("create view v as select * from sales.customers", "select sales.customers"),
    ("create materialized view v as select * from sales.customers", "select sales.customers"),
    ("copy t to '/tmp/x'", "copy_to_file public.t"),
    ("copy t to program 'curl x'", "copy_to_program public.t"),
    ("copy (select * from sales.customers) to program 'x'", "select sales.customers"),
    ("copy t from '/etc/passwd'", "copy_from_file public.t"),
    ("copy t from program 'id'", "copy_from_program public.t"),
    ("prepare transaction 'x'", "two_phase x"),
    ("commit prepared 'x'", "two_phase x"),
    ("alter system set archive_command = 'x'", "alter_system archive_command"),
    ("load 'x'", "load x"),
    ("alter role postgres superuser", "alter postgres"),
    ("grant pg_read_server_files to bob", "grant pg_read_server_files"),
    ("reassign owned by a to b", "alter a"),
    ("drop owned by a cascade", "drop a"),
    ("import foreign schema x from server s into public", "alter s"),
]


@pytest.mark.parametrize(("text", "wanted"), OTHERS, ids=[c[0][:60] for c in OTHERS])
def test_it_is_named_for_what_it_does(text: str, wanted: str) -> None:
    assert wanted in does(text)


@pytest.mark.parametrize(
    "call",
    [
        "dblink_exec('dbname=x', 'delete from t')",
        "query_to_xml('delete from t', true, true, '')",
        "query_to_xml_and_xmlschema('select 1', true, true, '')",
        "table_to_xml('sales.customers', true, true, '')",
        "schema_to_xml('sales', true, true, '')",
        "database_to_xml(true, true, '')",
        "cursor_to_xml('c', 1, true, true, '')",
        "ts_stat('select 1')",
        "ts_rewrite('a'::tsquery, 'select 1')",
        "pg_read_file('/etc/passwd')",
        "pg_read_binary_file('x')",
        "pg_ls_dir('/')",
        "pg_stat_file('x')",
        "lo_export(1, '/tmp/x')",
        "lo_import('/etc/passwd')",
        "lo_get(1)",
        "lo_from_bytea(0, 'x')",
        "pg_terminate_backend(1)",
        "pg_cancel_backend(1)",
        "pg_reload_conf()",
        "pg_sleep(1000)",
        "pg_advisory_lock(1)",
        "pg_logical_emit_message(true, 'a', 'b')",
        "pg_stat_get_activity(null)",
        "nextval('app.seq')",
        "setval('app.seq', 1)",
        "current_setting($1)",
        "app.get_email(1)",
        "shout('x')",
        "nosuch()",
    ],
)
@pytest.mark.parametrize("form", ["select {}", "select * from {}", "select 1 where {} is null"])
def test_functions_that_reach_out_need_a_rule(call: str, form: str) -> None:
    facts = facts_of(form.format(call))
    assert any(a.verb == "call" and a.kind == "function" for a in facts.actions)
    assert facts.opaque


@pytest.mark.parametrize(
    "text",
    [
        "select pg_catalog.set_config('role', 'postgres', false)",
        "select set_config('session_authorization', 'postgres', false)",
        "set local role postgres",
        "set session authorization postgres",
        "set role none",
        "reset role",
        "reset session authorization",
        "set role to default",
        "select set_config(E'ro\\x6ce', 'postgres', true)",
        "with x as (select set_config('role', 'postgres', false)) select * from x",
    ],
)
def test_changing_the_role_is_named_as_that(text: str) -> None:
    assert any(one.startswith("set_role ") for one in does(text))


@pytest.mark.parametrize(
    "text",
    [
        "set client_encoding = 'sjis'",
        "set names 'big5'",
        "select set_config('client_encoding', 'gbk', false)",
        "set standard_conforming_strings to off",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select set_config($1, $2, false)",
        "select set_config(current_user, 'x', false)",
    ],
)
def test_changing_how_text_is_read_is_never_permitted(text: str) -> None:
    assert any(not a.complete for a in facts_of(text).actions)


@pytest.mark.parametrize(
    "text",
    [
        "selec 1",
        "select 'abc",
        "select 1 /* open",
        "select $x$ open",
        "select 1; delete fro t",
        "delete from t where a = 1 limit 1",
        "select 1\0; delete from t",
        "\ufeffselect 1 from t where",
        "select * from t where a = 'x",
    ],
)
def test_what_does_not_parse_whole_is_refused_whole(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_script(text)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("set search_path = evil", "select * from customers"),
        ("select set_config('search_path', 'evil', false)", "select * from customers"),
        ("create temp table t (a int)", "select * from t"),
        ("create view sales.v as table t", "select * from v"),
        ("alter table sales.customers rename to harmless", "select * from harmless"),
        ("do 'x'", "select * from t"),
        ("select app.get_email(1)", "select * from t"),
        ("begin; set local search_path = evil; rollback", "select * from t"),
        ("discard all", "select * from t"),
        ("set role bob", "select * from t"),
    ],
)
def test_a_name_that_an_earlier_statement_may_have_moved_is_not_believed(
    first: str, later: str
) -> None:
    facts = analysed(f"{first}; {later}").statements[-1]
    assert any(a.verb == "select" and a.object.startswith("?.") for a in facts.actions)
    assert facts.outputs is None


def test_a_statement_that_was_prepared_under_other_names_is_not_executed() -> None:
    from taskgate.sql.analyse import SessionNames

    then = facts_of("select email from customers", path=("pg_catalog", "sales"))
    names = SessionNames(
        prepared={"p": parse_script("select email from customers")}, prepared_facts={"p": then}
    )
    now = facts_of("execute p", names, path=("pg_catalog", "evil", "sales"))
    assert any(not a.complete for a in now.actions)
