"""One table by other names: aliases, quotes, brackets, WITH, views, partitions, look-alikes."""

import pytest

from tests.sql.world import facts_of, said

# Each of these reads sales.customers.email, and must be named as doing so.
READS = [
    "select email from sales.customers",
    'select "email" from "sales"."customers"',
    'select U&"em\\0061il" from sales.U&"\\0063ustomers"',
    "SELECT EMAIL FROM SALES.CUSTOMERS",
    "select x.email from sales.customers as x",
    "select c3 from sales.customers as x(c1, c2, c3)",
    "select x from sales.customers x",
    "select x.* from sales.customers x",
    "select (x).email from sales.customers x",
    "select (x.*).email from sales.customers x",
    "select email(x) from sales.customers x",
    "select customers.email from sales.customers",
    "select sales.customers.email from sales.customers",
    "select world.sales.customers.email from world.sales.customers",
    "select * from only sales.customers",
    "select * from only (sales.customers)",
    "select j.email from (sales.customers cross join t) as j",
    "select * from (((sales.customers c cross join t) cross join u)) where c.id = 1",
    "table sales.customers",
    "select (table sales.customers limit 1) is null",
    "select email from (select * from sales.customers) x",
    "select e from (select email from sales.customers) as x(e)",
    "with customers as (select * from sales.customers) select email from customers",
    "with x as (select 1) select email from sales.customers, x",
    "with x(e) as (select email from sales.customers) select e from x",
    "select (select email from sales.customers where id = 1)",
    "select array(select email from sales.customers)",
    "select 1 where exists (select 1 from sales.customers where email = 'x')",
    "select 1 from t, lateral (select email from sales.customers) x",
    "select 1 union all select 2 from sales.customers where email = 'x'",
    "values ((select email from sales.customers limit 1))",
    "select 1 from t order by (select max(email) from sales.customers)",
    "select 1 limit (select length(email) from sales.customers limit 1)",
    "select max(a) over (order by (select max(email) from sales.customers)) from t",
    "select count(*) filter (where exists (select 1 from sales.customers where email = b)) from t",
    "insert into t (b) select email from sales.customers",
    "update t set b = c.email from sales.customers c",
    "delete from t using sales.customers c where c.email = t.b",
    "merge into t using sales.customers c on c.email = t.b when matched then delete",
    "insert into t (b) values ('x') returning (select email from sales.customers limit 1)",
    "select email from sales.customers tablesample system (10)",
    "select json_agg(c) from sales.customers c",
    "select 1 from sales.customers natural join app.people",
    "select 1 from sales.customers join app.people using (email)",
    "select email from sales.active",
    "select mail from sales.contact",
    "select mail from sales.deep",
    "select email from sales.totals",
    "copy sales.customers to stdout",
    "copy sales.customers (email) to stdout",
    "copy (select email from sales.customers) to stdout",
    "declare c cursor for select email from sales.customers",
    "explain select 1 from sales.customers where email = 'x'",
    "prepare p as select email from sales.customers",
]


@pytest.mark.parametrize("text", READS)
def test_it_reads_the_column(text: str) -> None:
    facts = facts_of(text)
    touched = {
        column
        for a in facts.actions
        if a.object == "sales.customers" and a.verb == "select"
        for column in (*(a.columns or ("email",)), *a.compared)
    }
    assert "email" in touched
    assert "sales.customers" in facts.relations


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("with customers as (select 1 as email) select email from customers", set()),
        ("select email from (select 1 as email) customers", set()),
        ("select email from evil.customers", {"select evil.customers(email)"}),
        ("with t as (select 1 as a) select a from public.t", {"select public.t(a)"}),
        ("with t as (select * from t) select a from t", {"select public.t(a b c)"}),
        ("with t as (select 1 as a) update t set a = 2", {"update public.t(a)"}),
    ],
)
def test_a_namesake_is_told_from_the_table(text: str, wanted: set[str]) -> None:
    assert set(said(facts_of(text))) == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (("pg_catalog", "sales"), "select sales.customers(email)"),
        (("pg_catalog", "evil", "sales"), "select evil.customers(email)"),
        (("pg_catalog",), "select ?.customers(email)"),
    ],
)
def test_an_unqualified_name_is_what_the_search_path_says(
    path: tuple[str, ...], wanted: str
) -> None:
    assert said(facts_of("select email from customers", path=path)) == [wanted]


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("select who from sales.events", {"sales.events_2024", "sales.events_2025"}),
        ("select who from sales.events_2024", {"sales.events"}),
        ("delete from sales.events", {"sales.events_2024", "sales.events_2025"}),
        ("select email from app.people", {"app.staff"}),
        ("select email from app.staff", {"app.people"}),
        ("update app.people set email = 'x'", {"app.staff"}),
        ("delete from sales.active", {"sales.customers"}),
        ("truncate sales.customers cascade", {"sales.orders", "sales.items", "sales.cards"}),
        ("lock sales.events", {"sales.events_2024", "sales.events_2025"}),
    ],
)
def test_relatives_are_reached_with_the_name(text: str, reached: set[str]) -> None:
    assert reached <= {a.object for a in facts_of(text).actions}


@pytest.mark.parametrize(
    "text",
    [
        "select * from pg_statistic",
        "select stavalues1 from pg_catalog.pg_statistic",
        "select query from pg_stat_activity",
        "select rolpassword from pg_authid",
        "select setting from pg_settings",
    ],
)
def test_catalogs_that_show_data_are_not_metadata(text: str) -> None:
    facts = facts_of(text)
    assert all(a.kind != "metadata" for a in facts.actions if a.verb == "select")


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("select count('x')", "evil.count"),
        ("select t.shout from t", "public.shout"),
        ("select (t).shout from t", "public.shout"),
        ("select b === 'x' from t", "app.same"),
        ("select b operator(public.===) 'x' from t", "app.same"),
        ("select b from t order by b using ===", "app.same"),
        ("select '(1,2)'::app.pair", "app.pair_text"),
        ("select 'x' = any (select b from t where b === 'y')", "app.same"),
        ("select * from json_to_record('{}') as x(p app.pair)", "app.pair_text"),
    ],
)
def test_functions_behind_notations_operators_and_casts_are_called(
    text: str, function: str
) -> None:
    facts = facts_of(text, path=("pg_catalog", "public", "evil"))
    assert any(a.verb == "call" and a.object == function for a in facts.actions)
