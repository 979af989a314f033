"""What SELECT reads: every relation and column it names, wherever it names them."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest

from tests.sql.world import facts_of, said

CASES = [
    # Columns, by whatever way they are named.
    ("select 1", []),
    ("select count(*) from t", ["select public.t()"]),
    ("select a from t", ["select public.t(a)"]),
    ("select * from t", ["select public.t(a b c)"]),
    ("table t", ["select public.t(a b c)"]),
    ("select t.* from t", ["select public.t(a b c)"]),
    ("select public.t.a from public.t", ["select public.t(a)"]),
    ("select public.t.* from public.t", ["select public.t(a b c)"]),
    ("select x.a from t x", ["select public.t(a)"]),
    ("select x from t as x(y, z)", ["select public.t(a b c)"]),
    ("select z from t as x(y, z)", ["select public.t(b)"]),
    ("select b from t as x(y, z)", ["select public.t(b)"]),
    ("select t from t", ["select public.t(a b c)"]),
    ("select (t).b from t", ["select public.t(b)"]),
    ("select (t.b) from t", ["select public.t(b)"]),
    ("select row(t.*) from t", ["select public.t(a b c)"]),
    ("select count(t) from t", ["select public.t(a b c)"]),
    ("select row_to_json(t) from t", ["select public.t(a b c)"]),
    ("select ctid from t", ["select public.t(ctid)"]),
    ("select t.xmin from t", ["select public.t(xmin)"]),
    ("select c[1], c[1:2] from t", ["select public.t(c)"]),
    ('select b, "ColA" from "Odd ""Name.x"', ['select public."Odd ""Name.x"(ColA b)']),
    ("select * from only sales.customers", ["select sales.customers(email id name phone region salary)"]),
    ("select * from only (t)", ["select public.t(a b c)"]),
    ("select 1 from t, u", ["select public.t()", "select public.u()"]),
    ("select d from t, u", ["select public.t()", "select public.u(d)"]),
    # A name in two tables may be either's.
    ("select a from t, u", ["select public.t(a)", "select public.u(a)"]),
    # A name that none has may be new in any.
    ("select nosuch from t", ["select public.t(nosuch)"]),
    ("select t.nosuch from t", ["select public.t(nosuch)"]),
    ("select z.a from t", ["select public.t(a)"]),
    # WHERE and kin.
    ("select 1 from t where a = 1", ["select public.t(a) ?a"]),
    ("select 1 from t order by a", ["select public.t(a) ?a"]),
    ("select 1 from t group by a having max(b) = 'x'", ["select public.t(a b) ?a b"]),
    ("select 1 from t limit (select max(a) from u)", ["select public.t()", "select public.u(a) ?a"]),
    ("select 1 from t offset 1", ["select public.t()"]),
    # Subqueries everywhere.
    ("select (select d from u where u.a = t.a) from t", ["select public.t(a) ?a", "select public.u(a d) ?a"]),
    ("select 1 from t where a in (select a from u)", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select 1 where exists (select d from u)", ["select public.u(d)"]),
    ("select array(select d from u)", ["select public.u(d)"]),
    ("select 1 from t where a = any (select a from u)", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select * from (select a from t) x", ["select public.t(a)"]),
    ("select 1 from (select a, b from t) x", ["select public.t(a b)"]),
    ("select * from t, lateral (select t.a + u.a as n from u) x", ["select public.t(a b c) ?a", "select public.u(a) ?a"]),
    ("select case when a = 1 then b end from t", ["select public.t(a b) ?a"]),
    ("select 1 from t, generate_series(1, t.a)", ["select public.t(a) ?a"]),
    ("select 1 from rows from (generate_series(1, 2), unnest(array[1]))", []),
    ("select 1 from t tablesample bernoulli (10)", ["select public.t()"]),
    ("select 1 from t tablesample public.mine (1)", ["call ?.mine [function]", "select public.t()"]),
    # Joins.
    ("select 1 from t join u on t.a = u.a", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select 1 from t join u using (a)", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select 1 from t natural join u", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select j.b from (t join u using (a)) as j", ["select public.t(a b) ?a", "select public.u(a) ?a"]),
    ("select s.a from t join u using (a) as s", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select 1 from (t cross join u) left join sales.items i on i.qty = t.a", ["select public.t(a) ?a", "select public.u()", "select sales.items(qty) ?qty"]),
    ("select 1 from (t cross join u)", ["select public.t()", "select public.u()"]),
    # Set operations.
    ("select a from t union all select a from u", ["select public.t(a)", "select public.u(a)"]),
    ("select a from t union select a from u", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("select a from t except all select a from u", ["select public.t(a) ?a", "select public.u(a) ?a"]),
    ("(select a from t order by b) union all select 1 order by 1", ["select public.t(a b) ?a b"]),
    ("select 1 from t where a in (values (1), (2))", ["select public.t(a) ?a"]),
    # WITH: scope decides what a name is.
    ("with t as (select 1 as a) select a from t", []),
    ("with t as (select * from t) select a from t", ["select public.t(a b c)"]),
    ("with x as (select a from t) select 1", ["select public.t(a)"]),
    ("with x as not materialized (select a from t) select * from x", ["select public.t(a)"]),
    ("with t as (select 1 as a) select a from public.t", ["select public.t(a)"]),
    ("with x as (with t as (select 1 as a) select a from t) select x.a, t.b from x, t", ["select public.t(b)"]),
    ("select * from (with t as (select 1 as q) select q from t) s, t", ["select public.t(a b c)"]),
    ("with recursive r(n) as (select a from t union all select n + 1 from r) select n from r", ["select public.t(a) ?a"]),
    ("with recursive x as (select * from y), y as (select a from t) select * from x", ["select public.t(a)"]),
    ("with recursive t as (select a from u) select * from t", ["select public.u(a)"]),
    # Locks.
    ("select a from t for update", ["lock public.t", "select public.t(a)"]),
    ("select a from t for no key update", ["lock public.t", "select public.t(a)"]),
    ("select 1 from t, u for share of u", ["lock public.u", "select public.t()", "select public.u()"]),
    ("select * from (select a from t) x for key share skip locked", ["lock public.t", "select public.t(a)"]),
    # SELECT INTO.
    ("select a into x from t", ["create public.x", "select public.t(a) ?a"]),
    ("select a into temp x from t", ["create pg_temp.x", "select public.t(a) ?a"]),
    # What does not resolve is named as far as it was written.
    ("select * from nosuch", ["select ?.nosuch"]),
    ("select a from nosuch", ["select ?.nosuch(a)"]),
    ("select * from sales.nosuch", ["select sales.nosuch"]),
    ("select a from t, nosuch", ["select ?.nosuch()", "select public.t(a)"]),
    ("select zz from t, nosuch", ["select ?.nosuch(zz)", "select public.t()"]),
    # Sequences and the catalog.
    ("select last_value from app.seq", ["select app.seq(last_value) [sequence]"]),
    ("select relname from pg_class", ["select pg_catalog.pg_class(relname) [metadata]"]),
    ("select * from information_schema.tables", ["select information_schema.tables(table_name table_schema) [metadata]"]),
    ("select name from pg_settings", ["select pg_catalog.pg_settings(name) [metadata]"]),
    ("select setting from pg_settings", ["select pg_catalog.pg_settings(setting) [view]"]),
    ("select rolpassword from pg_authid", ["select pg_catalog.pg_authid(rolpassword)"]),
    ("select query from pg_stat_activity", ["select pg_catalog.pg_stat_activity(query)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "actions"), CASES, ids=[c[0] for c in CASES])
def test_a_select_reads(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == actions
    assert not facts.unclear


VIEWS = [
    (
        "select id from sales.active",
        [
            "select sales.active(id) [view]",
            "select sales.customers(id region) ?region via sales.active",
        ],
    ),
    (
        "select count(*) from sales.active",
        ["select sales.active() [view]", "select sales.customers(region) ?region via sales.active"],
    ),
    (
        "select 1 from sales.active where email = 'x'",
        [
            "select sales.active(email) [view] ?email",
            "select sales.customers(email region) ?email region via sales.active",
        ],
    ),
    (
        "select mail from sales.contact",
        [
            "select sales.active(email id) [view] ?id via sales.contact",
            "select sales.contact(mail) [view]",
            "select sales.customers(email id region) ?id region via sales.active",
            "select sales.orders(customer_id) ?customer_id via sales.contact",
        ],
    ),
    (
        "select email from sales.totals",
        [
            "select sales.customers(email id) ?email id via sales.totals",
            "select sales.orders(customer_id) ?customer_id via sales.totals",
            "select sales.totals(email) [materialized_view]",
        ],
    ),
    (
        "select mail from sales.by_function",
        [
            "call app.get_email [function] via sales.by_function",
            "select sales.by_function(mail) [view]",
            "select sales.orders(id) ?id via sales.by_function",
        ],
    ),
]


@pytest.mark.parametrize(("text", "actions"), VIEWS, ids=[c[0] for c in VIEWS])
def test_a_view_is_named_and_what_is_under_it_reached(text: str, actions: list[str]) -> None:
    assert said(facts_of(text)) == actions


def test_views_under_views_are_expanded_whole() -> None:
    facts = facts_of("select total from sales.deep")
    assert facts.relations >= {
        "sales.deep", "sales.contact", "sales.active", "sales.customers", "sales.orders",
    }  # fmt: skip


FAMILIES = [
    (
        "select who from sales.events",
        [
            "select sales.events(who)",
            "select sales.events_2024(who) via sales.events",
            "select sales.events_2025(who) via sales.events",
        ],
    ),
    ("select who from only sales.events", ["select sales.events(who)"]),
    (
        "select email from app.staff",
        ["select app.people(email) via app.staff", "select app.staff(email)"],
    ),
    (
        "select 1 from sales.events_2024 where who = 'x'",
        [
            "select sales.events(who) ?who via sales.events_2024",
            "select sales.events_2024(who) ?who",
        ],
    ),
]


@pytest.mark.parametrize(("text", "actions"), FAMILIES, ids=[c[0] for c in FAMILIES])
def test_partitions_and_children_are_reached_both_ways(text: str, actions: list[str]) -> None:
    assert said(facts_of(text)) == actions


def test_the_search_path_decides() -> None:
    for path, name in (
        (("pg_catalog", "sales"), "sales.customers"),
        (("pg_catalog", "evil", "sales"), "evil.customers"),
        (("pg_catalog", "public"), "?.customers"),
    ):
        assert said(facts_of("select id from customers", path=path)) == [f"select {name}(id)"]
