"""What every other kind of statement does: definitions, maintenance, the session."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest
from postgast import pg_query_pb2 as pb

from taskgate.sql import changing, creating, expressions, from_items, statements
from taskgate.sql.accesses import Findings
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import SessionNames
from taskgate.sql.names import Names
from taskgate.sql.outcome import Session
from taskgate.sql.reader import Reader
from taskgate.sql.scope import Scope
from tests.sql.world import facts_of, said

CASES = [
    # CREATE
    ("create table x (a int)", ["create public.x"]),
    ("create table app.x (a int)", ["create app.x"]),
    ("create temp table x (a int)", ["create pg_temp.x"]),
    ("create table pg_temp.x (a int)", ["create pg_temp.x"]),
    ("create unlogged table if not exists x (a int)", ["create public.x"]),
    (
        "create table x (a int default app.get_email(1) check (app.same(b, 'x')), b text)",
        ["call app.get_email [function]", "call app.same [function]", "create public.x"],
    ),
    ("create table x (a int references sales.customers (id))", ["create public.x", "references sales.customers(id)"]),
    ("create table x (a int, foreign key (a) references t)", ["create public.x", "references public.t"]),
    ("create table x (like sales.customers including all)", ["create public.x", "select sales.customers()"]),
    ("create table x () inherits (sales.customers)", ["alter sales.customers", "create public.x"]),
    ("create table x partition of sales.events default", ["alter sales.events", "create public.x"]),
    ("create table x (a int) partition by range (app.get_email(a))", ["call app.get_email [function]", "create public.x"]),
    ("create foreign table x (a int) server s", ["alter s [server]", "create public.x"]),
    ("create table x as select email from sales.customers", ["create public.x", "select sales.customers(email) ?email"]),
    ("create view v as select email from sales.customers", ["create public.v [view]", "select sales.customers(email)"]),
    ("create or replace temp view v as table t", ["create pg_temp.v [view]", "select public.t(a b c)"]),
    ("create materialized view v as table t", ["create public.v [materialized_view]", "select public.t(a b c) ?a b c"]),
    ("create index on t (b)", ["alter public.t", "create public.t [index]"]),
    ("create index concurrently i on t (app.same(b, 'x')) where app.get_email(a) = ''", ["alter public.t", "call app.get_email [function]", "call app.same [function]", "create public.i [index]"]),
    ("create rule r as on insert to t do instead delete from u", ["alter public.t", "create public.t [rule]", "delete public.u"]),
    ("create rule r as on update to t where old.a = 1 do also (insert into u values (new.a, new.b); notify ch)", ["alter public.t", "create public.t [rule]", "insert public.u(a d)", "notify ch [channel]"]),
    ("create trigger g after update on t for each row when (old.a = 1) execute function app.trg()", ["alter public.t", "call app.trg [function]", "create public.t [trigger]"]),
    ("create event trigger e on ddl_command_start execute function app.trg()", ["call app.trg [function]", "create e [event_trigger]"]),
    ("create policy p on t using (app.same(b, current_user)) with check (a in (select a from u))", ["alter public.t", "call app.same [function]", "create public.t [policy]", "select public.u(a) ?a"]),
    ("create function f() returns int language sql as 'select 1'", ["create public.f [function]"]),
    ("create procedure app.f() language plpgsql as 'begin end'", ["create app.f [function]"]),
    ("create function f(i int = app.get_email(1)) returns int language sql as 'x'", ["call app.get_email [function]", "create public.f [function]"]),
    ("create function f(i int) returns text language sql begin atomic select email from sales.customers where id = i; delete from t; end", ["create public.f [function]", "delete public.t", "select sales.customers(email id) ?id"]),
    ("create function f(i int) returns text language sql return app.get_email(i)", ["call app.get_email [function]", "create public.f [function]"]),
    ("create aggregate f(text) (sfunc = app.same, stype = text)", ["call app.same [function]", "create public.f [function]"]),
    ("create operator ==> (leftarg = text, rightarg = text, function = app.same)", ["call app.same [function]", 'create public."==>" [operator]']),
    ("create type x (input = app.same, output = app.tidy)", ["call app.same [function]", "call app.tidy [function]", "create public.x [type]"]),
    ("create type x as (a int, b app.pair)", ["call app.pair_text [function]", "create public.x [type]"]),
    ("create type x as enum ('a')", ["create public.x [type]"]),
    ("create type x as range (subtype = int, subtype_diff = app.same)", ["call app.same [function]", "create public.x [type]"]),
    ("create domain x as text check (app.same(value, 'x'))", ["call app.same [function]", "create public.x [type]"]),
    ("create cast (app.pair as text) with function app.pair_text(app.pair)", ["call app.pair_text [function]", 'create "pair to text" [cast]']),
    ("create operator class x for type int using btree as function 1 app.same(text, text)", ["call app.same [function]", "create public.x [operator_class]"]),
    ("create conversion x for 'UTF8' to 'LATIN1' from app.same", ["call app.same [function]", "create public.x [conversion]"]),
    ("create language x handler app.same", ["call app.same [function]", "create x [language]"]),
    ("create access method x type index handler app.same", ["call app.same [function]", "create x [access_method]"]),
    ("create collation x from \"C\"", ["create public.x [collation]"]),
    ("create text search configuration x (copy = english)", ["create public.x [text_search]"]),
    ("create sequence x owned by sales.customers.id", ["alter sales.customers", "create public.x [sequence]"]),
    ("create statistics x on a, b from t", ["alter public.t", "create public.t [statistics]"]),
    ("create extension dblink", ["create dblink [extension]"]),
    ("create role x superuser", ["create x [role]"]),
    ("create user x", ["create x [role]"]),
    ("create database x", ["create x [database]"]),
    ("create tablespace x location '/x'", ["create x [tablespace]"]),
    ("create server x foreign data wrapper y", ["create x [server]"]),
    ("create foreign data wrapper x handler app.same", ["call app.same [function]", "create x [foreign_data_wrapper]"]),
    ("create user mapping for bob server s", ["create s [user_mapping]"]),
    ("create subscription x connection 'y' publication z", ["create x [subscription]"]),
    ("create publication x for table t (a) where (app.same(b, 'x'))", ["call app.same [function]", "create x [publication]", "select public.t"]),
    ("create publication x for all tables", ["create x [publication]"]),
    ("create schema x", ["create x [schema]"]),
    ("create schema x create table y (a int) create view z as select * from sales.customers", ["create x [schema]", "create x.y", "create x.z [view]", "select sales.customers(email id name phone region salary)"]),
    # ALTER
    ("alter table t add column x text default app.get_email(1)", ["alter public.t", "call app.get_email [function]"]),
    ("alter table t alter column b type text using app.same(b, 'x')", ["alter public.t", "call app.same [function]"]),
    ("alter table t add foreign key (a) references sales.customers (id)", ["alter public.t", "references sales.customers(id)"]),
    ("alter table sales.events attach partition t default", ["alter public.t", "alter sales.events"]),
    ("alter table t inherit sales.customers", ["alter public.t", "alter sales.customers"]),
    ("alter table t drop column a cascade", ["alter public.t", "drop ?.? [dependent]"]),
    ("alter table sales.customers rename to x", ["alter sales.customers", "create sales.x"]),
    ("alter table sales.customers rename column email to x", ["alter sales.customers"]),
    ("alter table sales.customers set schema public", ["alter sales.customers", "create public.customers"]),
    ('alter table "Odd ""Name.x" set schema app', ['alter public."Odd ""Name.x"', 'create app."Odd ""Name.x"']),
    ("alter view sales.active owner to bob", ["alter sales.active [view]"]),
    ("alter function public.shout(text) set search_path = x", ["alter public.shout [function]"]),
    ("alter function app.get_email(int) rename to shout", ["alter app.get_email [function]", "create app.shout [function]"]),
    ("alter type app.mood add value 'x'", ["alter app.mood [type]"]),
    ("alter type app.mood rename value 'a' to 'b'", ["alter app.mood [type]"]),
    ("alter domain app.short add check (app.same(value, 'x'))", ["alter app.short [type]", "call app.same [function]"]),
    ("alter sequence app.seq restart", ["alter app.seq [sequence]"]),
    ("alter policy p on t using (app.same(b, 'x'))", ["alter public.t", "call app.same [function]"]),
    ("alter role bob password 'x'", ["alter bob [role]"]),
    ("alter role current_user set search_path = x", ["alter current_user [role]"]),
    ("alter database d set x = 1", ["alter d [database]"]),
    ("alter system set x = 1", ["alter_system x [setting]"]),
    ("alter schema sales rename to x", ["alter sales [schema]", "create x [schema]"]),
    ("alter default privileges in schema app grant select on tables to bob", ["grant app.?"]),
    ("alter extension e add table t", ["alter e [extension]", "alter public.t"]),
    ("alter publication p add table sales.customers", ["alter p [publication]", "select sales.customers"]),
    ("alter subscription s disable", ["alter s [subscription]"]),
    ("alter event trigger e disable", ["alter e [event_trigger]"]),
    ("alter server s options (set x 'y')", ["alter s [server]"]),
    ("alter operator ===(text, text) set (restrict = app.same)", ['alter ?."===" [operator]', "call app.same [function]"]),
    # DROP and TRUNCATE
    ("drop table t, sales.customers", ["drop public.t", "drop sales.customers"]),
    ("drop table t cascade", ["drop ?.? [dependent]", "drop public.t"]),
    ("drop table if exists nosuch", ["drop ?.nosuch"]),
    ("drop view sales.active", ["drop sales.active [view]"]),
    ("drop schema sales", ["drop sales [schema]"]),
    ("drop function public.shout(text)", ["drop public.shout [function]"]),
    ("drop trigger g on app.logged", ["drop app.logged [trigger]"]),
    ("drop policy p on t", ["drop public.t [policy]"]),
    ("drop type app.mood", ["drop app.mood [type]"]),
    ("drop cast (app.pair as text)", ['drop "pair to text" [cast]']),
    ("drop operator app.=== (text, text)", ['drop app."===" [operator]']),
    ("drop role bob, current_user", ["drop bob [role]", "drop current_user [role]"]),
    ("drop owned by bob", ["drop bob [owned]"]),
    ("reassign owned by a to b", ["alter a [owned]"]),
    ("drop database d", ["drop d [database]"]),
    ("drop extension e", ["drop e [extension]"]),
    ("drop server s", ["drop s [server]"]),
    ("drop subscription s", ["drop s [subscription]"]),
    # GRANT, COMMENT, labels
    ("grant select on t, u to bob", ["grant public.t", "grant public.u"]),
    ("grant select (email) on sales.customers to bob", ["grant sales.customers"]),
    ("grant all on all tables in schema sales to bob", ["grant sales.?"]),
    ("grant usage on schema sales to bob", ["grant sales [schema]"]),
    ("grant execute on function public.shout(text) to bob", ["grant public.shout [function]"]),
    ("grant admins to bob", ["grant admins [role]"]),
    ("revoke all on sales.customers from bob cascade", ["grant ?.? [dependent]", "grant sales.customers"]),
    ("comment on column sales.customers.email is 'x'", ["comment sales.customers [column]"]),
    ("comment on table t is null", ["comment public.t"]),
    ("comment on function public.shout(text) is 'x'", ["comment public.shout [function]"]),
    ("comment on database d is 'x'", ["comment d [database]"]),
    ("comment on constraint k on domain app.short is 'x'", ["comment app.short [type]"]),
    ("comment on large object 1 is 'x'", ['comment "1" [large_object]']),
    ("security label on role bob is 'x'", ["security_label bob [role]"]),
    # Maintenance and code
    ("vacuum", ["vacuum ?.?"]),
    ("vacuum (full, analyze) t (a)", ["analyze public.t(a)", "vacuum public.t(a)"]),
    ("analyze sales.customers (email)", ["analyze sales.customers(email)"]),
    ("cluster t", ["cluster public.t"]),
    ("reindex (verbose) table t", ["reindex public.t"]),
    ("reindex schema sales", ["reindex sales [schema]"]),
    ("reindex system d", ["reindex d [database]"]),
    ("refresh materialized view sales.totals", ["refresh sales.totals [materialized_view]"]),
    ("checkpoint", ["checkpoint checkpoint [statement]"]),
    ("load 'x'", ["load x [file]"]),
    ("do 'begin end'", ["do plpgsql [language]"]),
    ("do $$ x $$ language plpython3u", ["do plpython3u [language]"]),
    ("call app.tidy()", ["call app.tidy [function]"]),
    ("import foreign schema x from server s into public", ["alter s [server]", "create public.?"]),
    # The session
    ("begin", ["transaction begin [statement]"]),
    ("start transaction read only", ["transaction begin [statement]"]),
    ("end", ["transaction commit [statement]"]),
    ("abort", ["transaction rollback [statement]"]),
    ("savepoint s", ["transaction savepoint [statement]"]),
    ("release s", ["transaction release [statement]"]),
    ("rollback to s", ["transaction rollback_to [statement]"]),
    ("prepare transaction 'x'", ["two_phase x [transaction]"]),
    ("commit prepared 'x'", ["two_phase x [transaction]"]),
    ("rollback prepared 'x'", ["two_phase x [transaction]"]),
    ("set transaction isolation level serializable", ["transaction set_transaction [statement]"]),
    ("set constraints all deferred", ["transaction set_constraints [statement]"]),
    ("discard all", ["discard all [statement]"]),
    ("discard plans", ["discard plans [statement]"]),
    ("listen ch", ["listen ch [channel]"]),
    ('listen "Ch"', ['listen "Ch" [channel]']),
    ("notify ch, 'x'", ["notify ch [channel]"]),
    ("unlisten *", []),
    ("lock table t", ["lock public.t"]),
    ("lock t, u in share mode nowait", ["lock public.t", "lock public.u"]),
    ("lock sales.events", ["lock sales.events", "lock sales.events_2024 via sales.events", "lock sales.events_2025 via sales.events"]),
    ("lock table t in access share mode", ["select public.t()"]),
    ("close all", []),
    ("deallocate all", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "actions"), CASES, ids=[c[0][:60] for c in CASES])
def test_a_statement_does(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == actions
    assert not facts.unclear


@pytest.mark.parametrize(
    "text",
    [
        "create table x (a int)",
        "drop view sales.active",
        "alter table t rename to x",
        "set search_path = x",
        "select set_config('search_path', 'x', false)",
        "set role bob",
        "reset all",
        "discard all",
        "discard temp",
        "do 'x'",
        "call app.tidy()",
        "select app.get_email(1)",
        "select 'x' === 'y'",
        "grant select on t to bob",
        "load 'x'",
        "select 1 into x",
        "update pg_settings set setting = 'x'",
        "select mail from sales.by_function",
    ],
)
def test_what_may_change_the_meaning_of_names_says_so(text: str) -> None:
    assert facts_of(text).effects.may_change_resolution


@pytest.mark.parametrize(
    "text",
    [
        "select lower('x')",
        "insert into t values (1)",
        "begin",
        "commit",
        "set timezone = 'UTC'",
        "select nextval('app.seq')",
        "select set_config('timezone', 'UTC', false)",
        "show all",
        "listen ch",
        "vacuum",
    ],
)
def test_what_leaves_the_meaning_of_names_alone_says_so(text: str) -> None:
    assert not facts_of(text).effects.may_change_resolution


def test_transactions_say_what_they_do() -> None:
    assert facts_of("savepoint s").effects.savepoint == "s"
    assert facts_of("commit and chain").effects.chain
    assert facts_of("prepare transaction 'x'").effects.transaction == "two_phase"
    assert facts_of("rollback to s").effects.transaction == "rollback_to"


# The closed tables.

# Kinds that the grammar never gives as a statement of its own, only inside others.
_INNER = {
    "set_operation_stmt",  # of analysed queries
    "return_stmt",  # of SQL functions
    "plassign_stmt",  # of PL/pgSQL
    "replica_identity_stmt",  # of ALTER TABLE
}


def _reader() -> Reader:
    return Reader(Names(Catalog()), "select")


def _statement_kinds() -> list[str]:
    names = [f.name for f in pb.Node.DESCRIPTOR.fields]
    return [n for n in names if n.endswith("_stmt") and n not in _INNER | {"raw_stmt"}]


def test_every_statement_of_the_grammar_is_in_the_table() -> None:
    known = (
        statements._QUERIES
        | set(statements._HANDLERS)
        | set(creating._HANDLERS)
        | set(changing._HANDLERS)
        | {"create_schema_stmt"}
    )
    assert set(_statement_kinds()) == known


@pytest.mark.parametrize("kind", sorted(_INNER))
def test_a_statement_of_no_known_kind_is_incomplete(kind: str) -> None:
    reader = _reader()
    node = pb.Node()
    getattr(node, kind).SetInParent()
    reader.statement(node, Session(SessionNames()))
    _assert_refused(reader.findings)


@pytest.mark.parametrize(
    "kind",
    sorted(
        f.name
        for f in pb.Node.DESCRIPTOR.fields
        if f.name not in expressions._HANDLERS and not f.name.endswith("_stmt")
    ),
)
def test_an_expression_of_no_known_kind_is_incomplete(kind: str) -> None:
    reader = _reader()
    node = pb.Node()
    getattr(node, kind).SetInParent()
    value = reader.value(node, Scope())
    assert value.unknown
    _assert_refused(reader.findings)


def test_an_empty_expression_is_incomplete() -> None:
    reader = _reader()
    reader.value(pb.Node(), Scope())
    _assert_refused(reader.findings)


@pytest.mark.parametrize("kind", ["column_ref", "func_call", "select_stmt", "from_expr"])
def test_a_from_item_of_no_known_kind_is_incomplete(kind: str) -> None:
    reader = _reader()
    node = pb.Node()
    getattr(node, kind).SetInParent()
    from_items.read_from(reader, node, Scope())
    _assert_refused(reader.findings)


def _assert_refused(findings: Findings) -> None:
    assert findings.unclear
    assert any(not action.complete for action in findings.actions)
