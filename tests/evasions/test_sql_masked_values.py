"""Values slipping past masks: a masked column must be known in whatever it flows into, or be named
as compared where it decides something instead."""

import pytest

from tests.sql.world import facts_of

C = "sales.customers"

FLOWS = [
    f"select email as harmless from {C}",
    f"select email || '' from {C}",
    f"select upper(email), lower(email), reverse(email), md5(email) from {C}",
    f"select email::varchar, cast(email as text), email::text::varchar from {C}",
    f"select substr(email, 1, 1), left(email, 3), split_part(email, '@', 1) from {C}",
    f"select concat('a', email), concat_ws(',', email, email), format('%s', email) from {C}",
    f"select array[email], row(email), (email, 1) from {C}",
    f"select string_agg(email, ','), array_agg(email), json_agg(email), max(email) from {C}",
    f"select string_agg('x', ',' order by email) from {C}",
    f"select count(*) filter (where email like 'a%') from {C}",
    f"select c from {C} c",
    f"select row_to_json(c), to_jsonb(c), c::text, hash_record(c) from {C} c",
    f"select jsonb_build_object('e', email), json_build_array(email) from {C}",
    f"select xmlelement(name e, email), xmlforest(email) from {C}",
    f"select json_object('e': email), json_array(email) from {C}",
    f"select coalesce(email), nullif(email, ''), greatest(email, ''), least(email, 'z') from {C}",
    f"select case when id > 0 then email end, case email when 'x' then 1 else 2 end from {C}",
    f"select email = 'x', email like 'a%', email is null, email in ('x'), not email = 'x' from {C}",
    f"select first_value(email) over (), lag(email) over (order by id) from {C}",
    f"select row_number() over (order by email), rank() over (partition by email) from {C}",
    f"select (select email from {C} limit 1), array(select email from {C})",
    f"select x.a from (select email as a from {C}) x",
    f"select a from (select email from {C}) as x(a)",
    f"with x as (select email as a from {C}) select a, upper(a) from x",
    f"with recursive r(a) as (select email from {C} union all select a || 'x' from r) table r",
    f"select email from {C} union all select 'x'",
    f"select 'x' union select email from {C}",
    f"select 'x' except select email from {C}",
    f"values ((select max(email) from {C}))",
    f"select x.* from {C} c, lateral (select c.email, upper(c.email)) x",
    f"select e from {C}, unnest(array[email]) e",
    f"select value from {C}, json_each_text(json_build_object('e', email))",
    f"select r from {C}, xmltable('/x' passing xmlelement(name x, email) columns r text path '.')",
    f"select email from {C} join app.people using (email)",
    f"update {C} set id = 1 returning email, old.email, new.email",
    f"with x as (update {C} set id = 1 returning email as e) select e from x",
    f"delete from t using {C} c returning c.email",
    f"merge into t using {C} c on t.a = c.id when matched then delete returning c.email",
    f"insert into t values (1) returning (select max(email) from {C})",
    "select email from sales.active",
    "select mail, upper(mail) from sales.deep",
    "select email from sales.totals",
    f"explain select 1 from {C} where email = 'x'",
    f"declare c cursor for select email from {C}",
    f"prepare p as select email from {C}; execute p",
    f"declare c cursor for select email from {C}; fetch c",
]


@pytest.mark.parametrize("text", FLOWS)
def test_the_masked_column_is_in_the_lineage_of_every_output(text: str) -> None:
    outputs = facts_of(text).outputs
    assert outputs
    for one in outputs:
        if one.sources is not None:
            assert (C, "email") in {(r.relation, r.column) for r in one.sources}, one.name


@pytest.mark.parametrize(
    "text",
    [
        f"copy {C} (email) to stdout",
        f"copy (select upper(email) from {C}) to stdout",
        f"copy (update {C} set id = 1 returning email) to stdout (format csv)",
        f"copy (select email from {C}) to stdout binary",
    ],
)
def test_the_masked_column_is_in_the_lineage_of_a_copy(text: str) -> None:
    copy = facts_of(text).effects.copy
    assert copy is not None
    assert copy.fields
    for one in copy.fields:
        assert one.sources is not None
        assert (C, "email") in {(r.relation, r.column) for r in one.sources}


@pytest.mark.parametrize(
    "text",
    [
        "select app.get_email(1)",
        f"select shout(email) from {C}",
        f"select email === 'x' from {C}",
        "select * from app.rows(1)",
        "select mail from sales.by_function",
        "select stavalues1 from pg_statistic",
        "select query from pg_stat_activity",
        "select * from nosuch",
        "execute unknown_statement",
        "fetch all from unknown_cursor",
        "call app.tidy()",
        "select dblink_exec('x', 'y')",
        "select pg_read_file('x')",
        "select query_to_xml('select email from sales.customers', true, true, '')",
    ],
)
def test_where_it_cannot_be_told_nothing_is_claimed(text: str) -> None:
    facts = facts_of(text)
    assert facts.outputs is None or all(one.sources is None for one in facts.outputs)
    assert not any(one.plain for one in facts.outputs or ())


# Guessing, bit by bit. `tests/sql/test_compared.py` has the whole table.
GUESSES = [
    f"select 1 from {C} where email = 'a'",
    f"select 1 from {C} where email like 'a%'",
    f"select 1 from {C} where substr(email, 1, 1) = 'a'",
    f"select id from {C} order by email",
    f"select count(*) from {C} group by substr(email, 1, 1)",
    f"select 1 from {C} join (values ('a')) v(x) on email = x",
    f"select 1 from {C} group by id having max(email) > 'm'",
    f"select case when email like 'a%' then 1 / 0 end from {C}",
    f"select 1 / (ascii(email) - 97) from {C}",
    f"select email::int from {C}",
    f"select generate_series(1, length(email)) from {C}",
    f"select distinct on (email) id from {C}",
    f"select id from {C} except select id from {C} where email like 'a%'",
    f"select 1 where 'a@x' in (select email from {C})",
    f"select (select 1 from {C} where email = 'a')",
    f"select row_number() over (order by email), id from {C}",
    "select 1 from sales.active where email = 'a'",
    "select id from sales.contact order by mail",
    f"update t set b = 'x' from {C} c where c.email like 'a%'",
    f"delete from {C} where email like 'a%'",
    f"insert into {C} (id, email) values (1, 'a') on conflict (email) do nothing",
    # Carried to where no mask reaches.
    f"insert into t (b) select email from {C}",
    f"update {C} set name = email",
    f"create table x as select email from {C}",
    f"select email into x from {C}",
    f"select set_config('app.x', email, false) from {C}",
    f"select pg_notify('x', email) from {C}",
    f"copy (select email from {C}) to '/tmp/x'",
    f"prepare p as select email from {C}; create table x as execute p",
]


@pytest.mark.parametrize("text", GUESSES)
def test_a_masked_column_that_could_be_guessed_is_named_as_compared(text: str) -> None:
    assert "email" in {c for a in facts_of(text).actions if a.object == C for c in a.compared}
