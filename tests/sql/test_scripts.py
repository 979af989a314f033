"""Several statements at once, and statements that refer to earlier ones by name."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest

from taskgate.sql.analyse import SessionNames, StatementFacts, analyse
from taskgate.sql.catalog import Catalog
from taskgate.sql.script import parse_script
from tests.sql.world import analysed, facts_of, lineage, said

LATER = [
    # What cannot change names leaves later statements alone.
    ("begin; select a from t", ["select public.t(a)"]),
    ("set timezone = 'UTC'; select a from t", ["select public.t(a)"]),
    ("insert into t values (1); select a from t", ["select public.t(a)"]),
    ("select 1; select a from t", ["select public.t(a)"]),
    ("begin; select 1; commit", ["transaction commit [statement]"]),
    ("select nextval('app.seq'); select a from t", ["select public.t(a)"]),
    # A new search path leaves qualified names alone, and no others.
    ("set search_path = evil; select a from t", ["select ?.t(a)"]),
    ("set search_path = evil; select a from public.t", ["select public.t(a)"]),
    ("set search_path = evil; select count(*) from public.t", ["call ?.count [function]", "select public.t()"]),
    ("set search_path = evil; select pg_catalog.count(*) from public.t", ["select public.t()"]),
    ("set search_path = evil; select 1 from public.t where a = 1", ['call ?."=" [function]', "select public.t(a) ?a"]),
    ("set search_path = evil; select 1 from public.t where a operator(pg_catalog.=) 1", ["select public.t(a) ?a"]),
    ("set search_path = evil; select 'x'::mood", ["call ?.mood [function]"]),
    ("set role bob; delete from t", ["delete ?.t"]),
    ("select set_config('search_path', 'evil', false); delete from t", ["delete ?.t"]),
    ("set search_path = evil; create table x (a int)", ["create ?.x"]),
    # What defines things, or runs code, leaves nothing sure.
    ("create table x (a int); insert into x values (1)", ["insert ?.x"]),
    ("create table x (a int); select a from x", ["select ?.x(a)"]),
    ("create or replace view sales.active as table t; select * from sales.active", ["select sales.active"]),
    ("drop table t; delete from u", ["delete ?.u"]),
    ("do 'x'; delete from sales.customers", ["delete sales.customers"]),
    ("select app.get_email(1); select * from t", ["select ?.t"]),
    ("call app.tidy(); truncate t cascade", ["truncate ?.? ", "truncate ?.t"]),
    ("create table x (a int); select relname from pg_catalog.pg_class", ["select pg_catalog.pg_class(relname) [metadata]"]),
    ("discard all; select * from t", ["select ?.t"]),
    # The end of a transaction takes back what it had changed.
    ("rollback; select a from t", ["select ?.t(a)"]),
    ("commit; select a from t", ["select ?.t(a)"]),
    ("rollback to s; select a from t", ["select ?.t(a)"]),
    ("begin; set local search_path = evil; commit; select a from t", ["select ?.t(a)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "actions"), LATER, ids=[c[0] for c in LATER])
def test_the_last_statement_of(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == [a.strip() for a in actions]
    assert not facts.unclear


def test_the_lineage_of_what_is_not_resolved_cannot_be_told() -> None:
    text = "create or replace view sales.active as table t; select * from sales.active"
    assert facts_of(text).outputs is None
    assert facts_of(text).opaque


def test_a_settled_session_may_end_its_transaction_first() -> None:
    settled = SessionNames(settled=True)
    assert said(facts_of("commit; select a from t", settled)) == ["select public.t(a)"]
    changing = "begin; create table x (a int); commit; select a from t"
    assert said(facts_of(changing, settled)) == ["select ?.t(a)"]


def test_every_statement_has_its_own_facts() -> None:
    found = analysed("begin; delete from t; select a from u; commit")
    assert [f.tag for f in found.statements] == ["BEGIN", "DELETE", "SELECT", "COMMIT"]
    assert said(found.statements[1]) == ["delete public.t"]
    assert analysed("").statements == ()


# PREPARE, EXECUTE and cursors.


def test_prepare_is_judged_as_what_it_prepares_and_execute_again() -> None:
    found = analysed(
        "prepare p (int) as select email from sales.customers where id = $1; execute p(1)"
    )
    prepare, execute = found.statements
    assert said(prepare) == said(execute) == ["select sales.customers(email id) ?id"]
    assert lineage(execute) == ["email = sales.customers.email"]
    assert execute.returns_rows
    assert not prepare.returns_rows
    assert prepare.session_bound
    assert execute.session_bound
    assert prepare.effects.prepares is not None
    name, script = prepare.effects.prepares
    assert name == "p"
    assert script.text.strip() == "select email from sales.customers where id = $1"


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("prepare p as delete from t", "delete from t"),
        ("prepare \"as\" as select 1 as as_", "select 1 as as_"),
        ("prepare p(numeric(3,2), text) as /* as */ insert into t values ($1)", "insert into t values ($1)"),
        ("PREPARE p AS WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("prepare é as select 'é', 1", "select 'é', 1"),
    ],
)  # fmt: skip
def test_the_text_within_prepare_is_told_apart(text: str, inner: str) -> None:
    prepares = facts_of(text).effects.prepares
    assert prepares is not None
    assert prepares[1].statements[0].text.removeprefix("/* as */ ") == inner


def _names(**prepared: str) -> SessionNames:
    return SessionNames(prepared={name: parse_script(text) for name, text in prepared.items()})


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("execute p", ["delete public.t"]),
        ("explain analyze execute p", ["delete public.t"]),
        ("execute q(app.get_email(1))", ["call app.get_email [function]", "select public.t(a) ?a"]),
        ("create table x as execute q(1)", ["create public.x", "select public.t(a) ?a"]),
        (
            "create table x as execute r",
            ["create public.x", "select sales.customers(email) ?email"],
        ),
        ("execute b", ["transaction begin [statement]"]),
        ("execute d", ["do plpgsql [language]"]),
        ("execute nosuch", ["execute ?.nosuch [statement]"]),
        ("explain execute nosuch", ["execute ?.nosuch [statement]"]),
        ("deallocate p; execute p", ["execute ?.p [statement]"]),
        ("deallocate all; execute p", ["execute ?.p [statement]"]),
        ("deallocate p; prepare p as select 1; execute p", []),
        ("execute e", ["delete public.t"]),
    ],
)
def test_execute_does_what_was_prepared(text: str, actions: list[str]) -> None:
    names = _names(
        p="delete from t",
        q="select a from t where a = $1",
        r="select email from sales.customers",
        b="begin",
        d="do 'x'",
        e="execute p",
    )
    facts = facts_of(text, names)
    assert said(facts) == actions
    assert facts.session_bound


def test_an_unknown_statement_may_do_and_show_anything() -> None:
    facts = facts_of("execute nosuch")
    assert facts.outputs is None
    assert facts.returns_rows
    assert facts.opaque
    assert facts.effects.may_change_resolution
    assert lineage(facts_of("explain execute nosuch")) == ["QUERY PLAN <- ?"]


def test_a_statement_that_executes_itself_is_refused() -> None:
    with pytest.raises(Exception, match="nested too deep"):
        facts_of("execute p", _names(p="execute p"))


def test_execute_is_refused_once_its_names_mean_something_else() -> None:
    script = parse_script("select email from customers")
    then = facts_of("select email from customers", path=("pg_catalog", "sales"))
    names = SessionNames(prepared={"p": script}, prepared_facts={"p": then})
    assert not facts_of("execute p", names, path=("pg_catalog", "sales")).unclear
    moved = facts_of("execute p", names, path=("pg_catalog", "evil", "sales"))
    assert moved.unclear
    assert any(not a.complete for a in moved.actions)


def test_cursors_show_what_they_were_declared_for() -> None:
    found = analysed(
        "declare c cursor with hold for select email from sales.customers where id = 1;"
        " fetch all from c; move c; close c"
    )
    declare, fetch, move, close = found.statements
    assert declare.effects.declares == "c"
    assert declare.effects.with_hold
    assert said(declare) == said(fetch) == said(move) == ["select sales.customers(email id) ?id"]
    assert lineage(fetch) == ["email = sales.customers.email"]
    assert fetch.returns_rows
    assert not move.returns_rows
    assert close.effects.closes == "c"
    assert said(close) == []


def test_a_cursor_of_the_session_is_known() -> None:
    declared = facts_of("declare c cursor for select email from sales.customers")
    names = SessionNames(cursors={"c": declared})
    assert lineage(facts_of("fetch c", names)) == ["email = sales.customers.email"]
    assert said(facts_of("close all; fetch c", names)) == ["fetch ?.c [cursor]"]
    unknown = facts_of("fetch d", names)
    assert said(unknown) == ["fetch ?.d [cursor]"]
    assert unknown.outputs is None


@pytest.mark.parametrize(
    "text",
    [
        "explain delete from t where a = 1",
        "explain analyze delete from t where a = 1",
        "EXPLAIN (ANALYZE, BUFFERS) delete from t where a = 1",
        "explain (analyze false) delete from t where a = 1",
        "explain (format json, analyse on) delete from t where a = 1",
        "explain verbose delete from t where a = 1",
    ],
)
def test_explain_is_judged_as_what_it_explains(text: str) -> None:
    facts = facts_of(text)
    assert said(facts) == ["delete public.t", "select public.t(a) ?a"]
    assert facts.returns_rows


def test_other_statements_within_explain() -> None:
    assert said(facts_of("explain analyze create table x as table t")) == [
        "create public.x",
        "select public.t(a b c) ?a b c",
    ]
    assert said(facts_of("explain analyze refresh materialized view sales.totals")) == [
        "refresh sales.totals [materialized_view]"
    ]
    assert said(facts_of("explain declare c cursor for table t")) == ["select public.t(a b c)"]
    assert facts_of("explain declare c cursor for table t").effects.declares is None


# Digests.


def _shape(text: str) -> str:
    return analysed(text).shape


def test_the_shape_leaves_constants_out_and_nothing_else() -> None:
    shape = _shape("select a from t where b = 'x' limit 1")
    assert shape == _shape("SELECT a  FROM t WHERE b = $$y$$ /* c */ LIMIT 20 -- d".lower())
    for one, other in (
        ("select a from t where b = 'x'", "select a from t where b <> 'x'"),
        ("update t set a = 1", "update t set a = 1 where true"),
        ("delete from t", "delete from u"),
        ("select a from t limit 5", "select a from t"),
        ("set role a", "set role b"),
        ("do 'x'", "do 'y'"),
        ("notify a", "notify b"),
        ("copy t to '/x'", "copy t to '/y'"),
        ("create function f() returns int language sql as 'select 1'",
         "create function f() returns int language sql as 'select 2'"),
        ("select set_config('role', 'a', false)", "select set_config('role', 'b', false)"),
        ("execute p(1)", "execute p(2)"),
    ):  # fmt: skip
        assert _shape(one) != _shape(other)


def test_the_shape_knows_what_names_resolve_to() -> None:
    text = "select id from customers"
    sales = analysed(text, path=("pg_catalog", "sales")).shape
    assert sales != analysed(text, path=("pg_catalog", "evil")).shape


def test_the_resolution_changes_with_what_names_mean() -> None:
    text = "select id from customers"
    one = analysed(text, path=("pg_catalog", "sales")).resolution
    assert one == analysed(text, path=("pg_catalog", "sales")).resolution
    assert one != analysed(text, path=("pg_catalog", "evil")).resolution
    assert len(one) == 64


def test_nothing_is_asked_for_that_is_not_named() -> None:
    assert not isinstance(
        analyse(parse_script("select 1"), Catalog(), SessionNames()), StatementFacts
    )
    found = analyse(parse_script("begin; set timezone = 'x'; commit"), Catalog(), SessionNames())
    assert hasattr(found, "statements")
