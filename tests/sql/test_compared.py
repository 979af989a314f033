"""Which columns steer a result, so that a hidden value could be guessed through them.

A column that only flows into outputs is not compared: those are masked. One that decides which rows
come, or whether the statement fails, or that is stored elsewhere, is.
"""

import pytest

from tests.sql.world import facts_of

C = "sales.customers"

COMPARED = [
    # What fails for some values only, or is called for some only.
    f"select substr(nullif(email, 'x'), 1, -1) from {C}",
    f"select substr((email in ('x', null))::text, 1, -1) from {C}",
    f"select nullif(email, 'x') ~ '*' from {C}",
    f"select email like 'a\\' from {C}",
    f"select email like $1 from {C}",
    f"select email like name from {C}",
    f"select date_part(left(email, 1), now()) from {C}",
    f"select array_agg(nullif(array[email], array['x'])) from {C}",
    f"select array[array[email], array['a', 'b']] from {C}",
    f"select c = d from {C} c, {C} d",
    f"select nullif(c, d), greatest(c, d) from {C} c, {C} d",
    f"select max(c) from {C} c",
    f"select count(distinct c) from {C} c",
    f"select array_agg(1 order by c) from {C} c",
    f"select array[row(email, 1)] = array[row('x', 1)] from {C}",
    f"select to_jsonb(email) || '[]' from {C}",
    f"select email = 'x' and a < b from {C}, (select name collate \"C\" a, name b from {C}) q",
    f"select max(array[id]) filter (where email = 'x') from {C}",
    f"select sum(v) from (select salary as v from {C} union all select 1e9) x",
    f"explain analyze select email, salary from {C}",
    f"explain (analyze false, analyze) select id from (select id, email, salary from {C}) x",
    f"select 1 from {C} where email = 'x'",
    f"select 1 from {C} where email like 'a%'",
    f"select 1 from {C} where upper(email) = 'X'",
    f"select 1 from {C} where id = 1 and (name = 'x' or email is null)",
    f"select 1 from {C} where ascii(email) > 97",
    f"select 1 from {C} where email in ('a', 'b')",
    f"select 1 from {C} where email = any (array['a'])",
    f"select 1 from {C} where (id, email) = (1, 'x')",
    f"select 1 from {C} c where c = row(1)",
    f"select 1 from {C} c where row_to_json(c)::text like '%a%'",
    f"select 1 from {C} where case when email = 'x' then true end",
    f"select id from {C} order by email",
    f"select email from {C} order by 1",
    f"select email as e from {C} order by e",
    f"select id from {C} order by lower(email) desc nulls last",
    f"select id from {C} order by (select email)",
    f"select count(*) from {C} group by email",
    f"select email, count(*) from {C} group by 1",
    f"select email as e, count(*) from {C} group by e",
    f"select count(*) from {C} group by grouping sets ((id), (email))",
    f"select count(*) from {C} group by rollup (email)",
    f"select id from {C} group by id having max(email) > 'x'",
    f"select distinct email from {C}",
    f"select distinct * from {C}",
    f"select distinct on (email) id from {C}",
    f"select id from {C} limit (select length(email) from {C} limit 1)",
    f"select id from {C} offset (select length(email) from {C} limit 1)",
    f"select 1 from {C} join sales.orders o on o.note = email",
    f"select 1 from {C} join app.people using (email)",
    f"select 1 from {C} natural join app.people",
    f"select email from {C} union select 'x'",
    f"select email from {C} intersect all select 'x'",
    f"select 'x' except select email from {C}",
    f"select row_number() over (order by email) from {C}",
    f"select row_number() over (partition by email) from {C}",
    f"select rank() over w from {C} window w as (order by email)",
    f"select rank() over (w rows 1 preceding) from {C} window w as (order by email)",
    f"select case when email like 'a%' then 1 end from {C}",
    f"select case email when 'x' then 1 end from {C}",
    f"select x.e from (select email as e from {C}) x where x.e = 'x'",
    f"with x as (select email from {C}) select 1 from x where email = 'x'",
    f"with x(q) as (select email from {C}) select q from x order by q",
    f"select 1 from (select * from {C}) x(a, b, q) where q = 'x'",
    f"select 1 from {C} as x(a, b, q) where q = 'x'",
    f"select 1 from ({C} cross join t) j where j.email = 'x'",
    "select 1 from sales.active where email = 'x'",
    "select 1 from sales.contact where mail = 'x'",
    "select mail from sales.deep order by mail",
    f"select 1 where exists (select 1 from {C} where email = 'x')",
    f"select 1 where 'x' in (select email from {C})",
    f"select (select 1 from {C} where email = 'x')",
    f"select 1 where (select email from {C} limit 1) like 'a%'",
    # Rows are made of it.
    f"select generate_series(1, ascii(email)) from {C}",
    f"select unnest(string_to_array(email, null)) from {C}",
    f"select 1 from {C} c, generate_series(1, ascii(c.email))",
    f"select 1 from {C} c, lateral unnest(string_to_array(c.email, null))",
    f"select json_array_elements(email::json) from {C}",
    f"select 1 from {C} c, xmltable('/x' passing c.email columns q text path 'y')",
    # Whether it fails tells.
    f"select 1 / (ascii(email) - 97) from {C}",
    f"select email::int from {C}",
    f"select salary + 1 from {C}",
    f"select chr(length(email)) from {C}",
    f"select sqrt(salary) from {C}",
    f"select substr('abc', 1, ascii(email) - 98) from {C}",
    f"select coalesce(nullif(email, 'x'), (1 / 0)::text) from {C}",
    f"select email like 'a%' and 1 / 0 = 1 from {C}",
    f"select email = 'x' or (select id from {C}) = 1 from {C}",
    f"select count(1 / 0) filter (where email like 'a%') from {C}",
    f"select length(email || repeat('x', 1000000000)) from {C}",
    f"select s.b or s.a from (select email = 'x' as b, 1 / 0 = 1 as a from {C}) s",
    f"select (array[1, 2])[ascii(email)] from {C}",
    f"select (array['a'])[length(email):] from {C}",
    f"select json_object_agg(email, 1) from {C}",
    f"select json_value(email::jsonb, '$.a' error on error) from {C}",
    f"select xmlparse(document email) from {C}",
    # Code of the user's sees it.
    f"select shout(email) from {C}",
    f"select shout(c) from {C} c",
    f"select email === 'x' from {C}",
    # Stored elsewhere.
    f"insert into t (b) select email from {C}",
    f"insert into t (b) values ((select email from {C} limit 1))",
    f"update t set b = email from {C} c",
    f"update {C} set name = email",
    f"update {C} set email = phone || email",
    f"merge into t using {C} c on t.a = c.id when matched then update set b = c.email",
    f"merge into t using {C} c on t.a = c.id when not matched then insert values (1, c.email)",
    f"insert into t (b) values ('x') on conflict (a) do update set b = (select email from {C})",
    f"create table x as select email from {C}",
    f"create temp table x as select email from {C}",
    f"create materialized view x as select email from {C}",
    f"select email into x from {C}",
    f"copy (select email from {C}) to '/tmp/x'",
    f"copy {C} (email) to program 'cat'",
    f"select set_config('app.x', email, false) from {C}",
    f"select pg_notify('ch', email) from {C}",
    f"select lo_from_bytea(0, email::bytea) from {C}",
    # What is stored decides.
    f"insert into {C} (id, email) values (1, 'x') on conflict (email) do nothing",
    f"insert into {C} (id, email) values (1, 'x') on conflict do nothing",
    f"update {C} set name = 'x' where email = 'y'",
    f"delete from {C} where email = 'y'",
    f"merge into {C} c using t on c.email = t.b when matched then delete",
    f"merge into {C} c using t on c.id = t.a when matched and c.email = 'x' then delete",
    # EXPLAIN, PREPARE and cursors are read through.
    f"explain select 1 from {C} where email = 'x'",
    f"prepare p as select 1 from {C} where email = $1",
    f"declare c cursor for select 1 from {C} where email = 'x'",
    f"create table x as select 1 from {C} where email = 'x'",
    f"create view v as select 1 from {C} where email = 'x'",
]

NOT_COMPARED = [
    f"select substr(upper(email), 1, 3), email like 'a%', email ~ 'a' from {C}",
    f"select coalesce(nullif(email, ''), 'a'), email = any ('{{a}}') from {C}",
    f"select array_agg(c), max(email), count(distinct email) from {C} c",
    f"explain select email, salary from {C}",
    f"select email from {C}",
    f"select * from {C} where id = 1 order by name",
    f"select upper(email), length(email), email || 'x', left(email, 2) from {C}",
    f"select count(email), min(email), string_agg(email, ',') from {C}",
    f"select sum(salary), avg(salary) from {C} where region = 'EU'",
    f"select count(*) filter (where email like 'a%') from {C}",
    f"select string_agg(name, ',' order by email) from {C}",
    f"select coalesce(email, 'none'), nullif(email, 'x'), greatest(email, 'x') from {C}",
    f"select email = 'x', email like 'a%', email is null, email between 'a' and 'b' from {C}",
    f"select email = 'x' or email = 'y' from {C}",
    f"select email is distinct from 'x' from {C}",
    f"select email::text, email::varchar(3), cast(email as text) from {C}",
    f"select array[email], row(email), json_agg(email), to_jsonb(email) from {C}",
    f"select substr(email, 1, 3), split_part(email, '@', 2), round(salary) from {C}",
    f"select id, email as id2 from {C} order by id",
    f"select id as email from {C} order by email",
    f"select email from {C} union all select 'x'",
    f"select (select email from {C} limit 1)",
    f"select array(select email from {C})",
    f"select exists (select email from {C})",
    f"select row_number() over (order by id), email from {C}",
    f"select * from (select email from {C}) x",
    f"with x as (select id, email from {C}) select email from x where id = 1",
    f"select row_to_json(c) from {C} c where id = 1",
    f"copy {C} to stdout",
    f"copy (select email from {C}) to stdout",
    f"update {C} set email = lower(email) where id = 1",
    f"update {C} set email = 'x' where id = 1 returning email",
    f"create view v as select email from {C}",
    f"select email from {C} for update",
]


def _compared(text: str) -> set[tuple[str, str]]:
    return {(a.object, c) for a in facts_of(text).actions for c in a.compared}


@pytest.mark.parametrize("text", COMPARED)
def test_a_column_that_steers_is_compared(text: str) -> None:
    secret = {(C, "email"), (C, "salary")}
    found = _compared(text)
    assert found & secret or (C, "*") in found


@pytest.mark.parametrize("text", NOT_COMPARED)
def test_a_column_that_is_only_shown_is_not(text: str) -> None:
    assert not _compared(text) & {(C, "email"), (C, "salary")}


@pytest.mark.parametrize(
    ("text", "unknown", "functions"),
    [
        ("select 1 where app.get_email(1) = 'x'", False, {"app.get_email"}),
        ("select 1 from sales.by_function where mail = 'x'", False, {"app.get_email"}),
        ("select 1 from pg_statistic where stavalues1::text like 'a%'", True, set()),
        ("select 1 from nosuch where a = 1", True, set()),
        ("select app.get_email(1)", False, set()),
        ("select stavalues1 from pg_statistic", False, set()),
        ("select * from t order by shout(b)", False, {"public.shout"}),
    ],
)
def test_values_of_unknown_origin_that_steer_are_told(
    text: str, unknown: bool, functions: set[str]
) -> None:
    facts = facts_of(text)
    assert facts.compares_unknown is unknown
    assert facts.compares_functions == functions
