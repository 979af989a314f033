"""Which stored columns flow into each column of a result."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest

from tests.sql.world import facts_of, lineage

C = "sales.customers"
CASES: list[tuple[str, list[str] | None]] = [
    ("select 1, 'x' y, null", ["?column? <-", "y <-", "?column? <-"]),
    (f"select email from {C}", [f"email = {C}.email"]),
    (f"select email e from {C} c", [f"e = {C}.email"]),
    (f"select upper(email) from {C}", [f"upper <- {C}.email"]),
    (f"select email || phone as x from {C}", [f"x <- {C}.email {C}.phone"]),
    (f"select email::text from {C}", [f"email <- {C}.email"]),
    (f'select email collate "C" from {C}', [f"email = {C}.email"]),
    (f"select coalesce(email, 'none') from {C}", [f"coalesce <- {C}.email"]),
    (f"select nullif(email, 'x') from {C}", [f"nullif <- {C}.email"]),
    (f"select greatest(email, phone) from {C}", [f"greatest <- {C}.email {C}.phone"]),
    (f"select case when name = 'x' then email end from {C}", [f"case <- {C}.email {C}.name"]),
    (f"select email = 'x' from {C}", [f"?column? <- {C}.email"]),
    (f"select email is null from {C}", [f"?column? <- {C}.email"]),
    (f"select not (email like 'a%' and true) from {C}", [f"?column? <- {C}.email"]),
    (f"select email in ('a', phone) from {C}", [f"?column? <- {C}.email {C}.phone"]),
    (f"select array[email, phone] from {C}", [f"array <- {C}.email {C}.phone"]),
    (f"select (array[email])[1] from {C}", [f"array <- {C}.email"]),
    (f"select row(email, 1) from {C}", [f"row <- {C}.email"]),
    ("select t from t", ["t <- public.t.a public.t.b public.t.c"]),
    ("select row_to_json(t) from t", ["row_to_json <- public.t.a public.t.b public.t.c"]),
    ("select (t).b from t", ["b = public.t.b"]),
    ("select t.*::text from t", ["t <- public.t.a public.t.b public.t.c"]),
    ("select * from t", ["a = public.t.a", "b = public.t.b", "c = public.t.c"]),
    ("select u.*, b from t, u", ["a = public.u.a", "d = public.u.d", "b = public.t.b"]),
    # Aggregates and windows.
    (f"select count(email) from {C}", [f"count <- {C}.email"]),
    ("select count(*) from t", ["count <-"]),
    (
        f"select string_agg(name, ',' order by email) filter (where phone = 'x') from {C}",
        [f"string_agg <- {C}.email {C}.name {C}.phone"],
    ),
    (f"select row_number() over (order by email) from {C}", [f"row_number <- {C}.email"]),
    (
        f"select sum(salary) over w from {C} window w as (partition by email)",
        [f"sum <- {C}.email {C}.salary"],
    ),
    (
        f"select percentile_cont(0.5) within group (order by salary) from {C}",
        [f"percentile_cont <- {C}.salary"],
    ),
    # Subqueries, WITH, set operations, joins.
    (f"select x.e from (select email as e from {C}) x", [f"e = {C}.email"]),
    (f"select * from (select email from {C}) as x(q)", [f"q = {C}.email"]),
    (f"select (select email from {C} limit 1)", [f"email <- {C}.email"]),
    (f"select array(select email from {C})", [f"array <- {C}.email"]),
    (f"select exists (select email from {C})", ["exists <-"]),
    (f"with x as (select email from {C}) select * from x", [f"email = {C}.email"]),
    (f"with x(q) as (select email from {C}) select q from x y", [f"q = {C}.email"]),
    (
        f"select email from {C} union all select b from t",
        [f"email <- public.t.b {C}.email"],
    ),
    (f"select email from {C} union all select email from {C}", [f"email = {C}.email"]),
    (f"select 'x' union select email from {C}", [f"?column? <- {C}.email"]),
    ("select * from t join u using (a)", [
        "a <- public.t.a public.u.a", "b = public.t.b", "c = public.t.c", "d = public.u.d",
    ]),
    ("select * from u natural join t", [
        "a <- public.t.a public.u.a", "d = public.u.d", "b = public.t.b", "c = public.t.c",
    ]),
    ("select t.a, u.a from t join u using (a)", ["a = public.t.a", "a = public.u.a"]),
    ("select j.* from (t cross join u) j", [
        "a = public.t.a", "b = public.t.b", "c = public.t.c", "a = public.u.a", "d = public.u.d",
    ]),
    (f"select x.* from t, lateral (select upper(b) as e, {C}.email from {C}) x", [
        "e <- public.t.b", f"email = {C}.email",
    ]),
    (
        f"with recursive r(n, e) as (select id, email from {C} union all"
        " select n + 1, e || 'x' from r where n < 3) select * from r",
        [f"n <- {C}.id", f"e <- {C}.email"],
    ),
    (
        f"with recursive r(a, b) as (select 1, 'x' union all select id, email from {C}, r)"
        " select b from r",
        [f"b <- {C}.email"],
    ),
    (
        # What flows round takes two rounds to come out at the other end.
        f"with recursive r(a, b) as (select 'x', email from {C} union all select b, a from r)"
        " select a from r",
        [f"a <- {C}.email"],
    ),
    # A subquery that is not LATERAL does not see its neighbours, but what is further out.
    (
        f"select (select s.e from (select 'x' as email) q, (select email as e) s) from {C}",
        [f"e <- {C}.email"],
    ),
    (
        f"select (select s.e from (select 'x' as email) q, lateral (select email as e) s) from {C}",
        ["e <-"],
    ),
    ("values (1, 'x'), (2, 'y')", ["column1 <-", "column2 <-"]),
    (f"values ((select max(email) from {C}))", [f"column1 <- {C}.email"]),
    ("select * from (values (1, 'x')) v(n, s)", ["n <-", "s <-"]),
    # Functions in FROM.
    ("select * from generate_series(1, 3)", ["generate_series <-"]),
    ("select * from generate_series(1, 3) g", ["g <-"]),
    ("select * from generate_series(1, 3) with ordinality g(n, o)", ["n <-", "o <-"]),
    ("select * from json_each('{}')", ["key <-", "value <-"]),
    (f"select k.* from {C}, json_each_text(email::json) k", [
        f"key <- {C}.email", f"value <- {C}.email",
    ]),
    ("select key from jsonb_each('{}') j", ["key <-"]),
    ("select * from unnest(array[1, 2])", ["unnest <-"]),
    ("select * from unnest('{1}'::int[]) x", ["x <-"]),
    (f"select * from unnest(array(select email from {C})) x", None),
    (f"select x from unnest(array(select email from {C})) x", [f"x <- {C}.email"]),
    ("select * from json_to_record('{}') as r(a int, b text)", ["a <-", "b <-"]),
    ("select * from rows from (generate_series(1, 2), json_each('{}')) x(a)", [
        "a <-", "key <-", "value <-",
    ]),
    (f"select * from {C} c, xmltable('/x' passing c.email columns q text path 'y') x", [
        *(f"{n} = {C}.{n}" for n in ("id", "name", "email", "phone", "region", "salary")),
        f"q <- {C}.email",
    ]),
    ("select * from json_table('{}', '$' columns (a int path '$.a', nested '$.b' columns (c int)))", [
        "a <-", "c <-",
    ]),
    # Views and relatives: a column is known by every name it has.
    ("select email from sales.active", [f"email = sales.active.email {C}.email"]),
    ("select mail from sales.deep", [
        f"mail <- sales.active.email sales.contact.mail {C}.email sales.deep.mail"
    ]),
    ("select total from sales.totals", ["total <- sales.orders.total sales.totals.total"]),
    ("select head from sales.masked", ["head <- sales.cards.number sales.masked.head"]),
    ("select email, badge from app.staff", [
        "email = app.people.email app.staff.email", "badge = app.staff.badge",
    ]),
    ("select email from app.people", ["email = app.people.email app.staff.email"]),
    ("select email from only app.people", ["email = app.people.email"]),
    # What cannot be told.
    ("select app.get_email(1)", ["get_email <- ?"]),
    (f"select shout(email) from {C}", ["shout <- ?"]),
    ("select mail from sales.by_function", ["mail <- ?"]),
    ("select b === 'x' from t", ["?column? <- ?"]),
    ("select pg_read_file('x')", ["pg_read_file <- ?"]),
    ("select x from app.rows(1)", ["x <- ?"]),
    ("select * from app.rows(1)", None),
    ("select * from nosuch", None),
    ("select a, q from t, nosuch", ["a = public.t.a", "q <- ?"]),
    ("select stavalues1 from pg_statistic", ["stavalues1 <- ?"]),
    ("select query from pg_stat_activity", ["query <- ?"]),
    ("select (app.get_email(1)) || 'x'", ["?column? <- ?"]),
    ("select (t).*, 1 from t", None),
    # The names that PostgreSQL gives.
    ("select current_date, current_user, 1 + 1, 'x'::text, int '1'", [
        "current_date <-", "current_user <-", "?column? <-", "text <-", "int4 <-",
    ]),
    ("select case when true then 1 end, (select 1), (select 1 as q), array[1]", [
        "case <-", "?column? <-", "q <-", "array <-",
    ]),
    ("select json_object('a': 1), json_array(1), xmlelement(name x), grouping(a) from t group by a", [
        "json_object <-", "json_array <-", "xmlelement <-", "grouping <- public.t.a",
    ]),
    ("show work_mem", ["work_mem <-"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "columns"), CASES, ids=[c[0] for c in CASES])
def test_the_lineage_of(text: str, columns: list[str] | None) -> None:
    assert lineage(facts_of(text)) == columns


def test_an_output_says_which_functions_hide_its_lineage() -> None:
    (one,) = facts_of("select app.get_email(id) || name from sales.customers").outputs or ()
    assert one.sources is None
    assert one.functions == {"app.get_email"}
    assert {r.column for r in one.at_least} == {"id", "name"}
    (other,) = facts_of("select stavalues1 || app.get_email(1) from pg_statistic").outputs or ()
    assert not other.functions  # more than the functions is unknown


def test_explain_shows_what_is_compared() -> None:
    facts = facts_of("explain select name from sales.customers where email = 'x'")
    assert lineage(facts) == ["QUERY PLAN <- sales.customers.email"]
    assert lineage(facts_of("explain select 1 where app.same('a', 'b')")) == ["QUERY PLAN <- ?"]
