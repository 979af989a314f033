"""What INSERT, UPDATE, DELETE, MERGE and COPY write and read, alone or inside WITH."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest

from tests.sql.world import facts_of, lineage, said

CASES = [
    # INSERT
    ("insert into t values (1, 'x')", ["insert public.t(a b)"]),
    ("insert into t (b) values ('x')", ["insert public.t(b)"]),
    ("insert into t default values", ["insert public.t()"]),
    ("insert into t select * from u", ["insert public.t(a b)", "select public.u(a d) ?a d"]),
    ("insert into t (c[1]) values (1)", ["insert public.t(c)"]),
    ("insert into t table u", ["insert public.t(a b)", "select public.u(a d) ?a d"]),
    (
        "insert into t (b) values ((select email from sales.customers limit 1))",
        ["insert public.t(b)", "select sales.customers(email) ?email"],
    ),
    ("insert into u values (1) returning d", ["insert public.u(a)", "select public.u(d)"]),
    ("insert into u as k values (1) returning k.d", ["insert public.u(a)", "select public.u(d)"]),
    ("insert into nosuch values (1)", ["insert ?.nosuch"]),
    ("insert into nosuch (a) values (1)", ["insert ?.nosuch(a)"]),
    # Whether a row conflicts tells what is stored.
    ("insert into u values (1, 'x') on conflict do nothing", ["insert public.u(a d) ?a d"]),
    (
        "insert into u (a) values (1) on conflict (a) do nothing",
        ["insert public.u(a)", "select public.u(a) ?a"],
    ),
    (
        "insert into u (a) values (1) on conflict (lower(d)) where a > 1 do nothing",
        ["insert public.u(a)", "select public.u(a d) ?a d"],
    ),
    (
        "insert into u (a) values (1) on conflict on constraint k do nothing",
        ["insert public.u(a) ?a d"],
    ),
    (
        "insert into u values (1, 'x') on conflict (a) do update set d = excluded.d where u.d <> 'y'",
        ["insert public.u(a d)", "select public.u(a d) ?a d", "update public.u(d)"],
    ),
    (
        "insert into u select id, email from sales.customers on conflict (a) do update"
        " set d = excluded.d",
        [
            "insert public.u(a d)",
            "select public.u(a) ?a",
            "select sales.customers(email id) ?email id",
            "update public.u(d)",
        ],
    ),
    # UPDATE
    ("update t set b = 'x'", ["update public.t(b)"]),
    ("update t set b = 'x' where a = 1", ["select public.t(a) ?a", "update public.t(b)"]),
    ("update t set b = lower(b)", ["select public.t(b)", "update public.t(b)"]),
    ("update t set a = a + 1", ["select public.t(a) ?a", "update public.t(a)"]),
    ("update t set c[a] = 1", ["select public.t(a) ?a", "update public.t(c)"]),
    ("update t x set b = 'y' where x.a = 1", ["select public.t(a) ?a", "update public.t(b)"]),
    ("update t set b = default", ["update public.t(b)"]),
    (
        "update t set b = d from u where u.a = t.a",
        ["select public.t(a) ?a", "select public.u(a d) ?a d", "update public.t(b)"],
    ),
    (
        "update t set (a, b) = (select a, d from u)",
        ["select public.u(a d) ?a d", "update public.t(a b)"],
    ),
    ("update t set (a, b) = row (1, 'x')", ["update public.t(a b)"]),
    ("update only app.people set email = 'x'", ["update app.people(email)"]),
    (
        "update app.people set email = 'x'",
        ["update app.people(email)", "update app.staff(email) via app.people"],
    ),
    ("update t set a = 1 where current of c", ["update public.t(a)"]),
    ("update t set a = 1 returning b", ["select public.t(b)", "update public.t(a)"]),
    # DELETE
    ("delete from t", ["delete public.t"]),
    ("delete from t where a = 1", ["delete public.t", "select public.t(a) ?a"]),
    (
        "delete from t using u where t.a = u.a",
        ["delete public.t", "select public.t(a) ?a", "select public.u(a) ?a"],
    ),
    ("delete from t returning *", ["delete public.t", "select public.t(a b c)"]),
    ("delete from only (t)", ["delete public.t"]),
    # MERGE
    (
        "merge into u using t on u.a = t.a when matched and t.b = 'x' then update set d = t.b"
        " when not matched then insert values (t.a, t.b)",
        [
            "insert public.u(a d)",
            "select public.t(a b) ?a b",
            "select public.u(a) ?a",
            "update public.u(d)",
        ],
    ),
    (
        "merge into u using (select 1 as k) s on u.a = s.k when matched then delete",
        ["delete public.u", "select public.u(a) ?a"],
    ),
    (
        "merge into u using t on u.a = t.a when not matched by source then do nothing",
        ["select public.t(a) ?a", "select public.u(a) ?a"],
    ),
    # A WITH query never is the target, and what it does is done.
    ("with t as (select 1 as a) delete from t", ["delete public.t"]),
    ("with t as (select 1 as a) update t set a = 1", ["update public.t(a)"]),
    ("with t as (select 1 as a) insert into t values (1)", ["insert public.t(a)"]),
    ("with x as (delete from t returning a) select 1", ["delete public.t", "select public.t(a)"]),
    (
        "with x as materialized (update t set b = 'x' returning a) select * from x",
        ["select public.t(a)", "update public.t(b)"],
    ),
    (
        "with x as (insert into u values (1) returning *) delete from t using x where x.a = t.a",
        [
            "delete public.t",
            "insert public.u(a)",
            "select public.t(a) ?a",
            "select public.u(a d) ?a",
        ],
    ),
    (
        "insert into t (a) with x as (delete from u returning a) select a from x",
        ["delete public.u", "insert public.t(a)", "select public.u(a) ?a"],
    ),
    # Views pass writes on.
    (
        "insert into sales.active (id, email) values (1, 'x')",
        [
            "insert sales.active(email id) [view]",
            "insert sales.customers(email id) via sales.active",
        ],
    ),
    (
        "delete from sales.active",
        ["delete sales.active [view]", "delete sales.customers via sales.active"],
    ),
    (
        "delete from sales.events",
        [
            "delete sales.events",
            "delete sales.events_2024 via sales.events",
            "delete sales.events_2025 via sales.events",
        ],
    ),
    # TRUNCATE reaches along foreign keys.
    ("truncate t, only u", ["truncate public.t", "truncate public.u"]),
    (
        "truncate sales.customers cascade",
        [
            "truncate sales.cards",
            "truncate sales.customers",
            "truncate sales.items",
            "truncate sales.orders",
        ],
    ),
    # COPY
    ("copy t from stdin", ["copy_from public.t(a b c)"]),
    ("copy t (a) from stdin where b = 'x'", ["copy_from public.t(a)"]),
    ("copy t (a) from stdin where app.same(b, 'x')", ["call app.same [function]", "copy_from public.t(a)"]),
    ("copy t from '/etc/passwd'", ["copy_from_file public.t(a b c)"]),
    ("copy t from program 'id'", ["copy_from_program public.t(a b c)"]),
    ("copy t to stdout", ["select public.t(a b c)"]),
    ("copy t (b) to stdout", ["select public.t(b)"]),
    ("copy app.people to stdout", ["select app.people(email id)"]),
    ("copy (select b from t) to stdout", ["select public.t(b)"]),
    ("copy (delete from t returning a) to stdout", ["delete public.t", "select public.t(a)"]),
    ("copy (insert into u values (1) returning a) to stdout", ["insert public.u(a)", "select public.u(a)"]),
    ("copy t to '/tmp/x'", ["copy_to_file public.t(a b c)", "select public.t(a b c) ?a b c"]),
    ("copy t (a) to program 'cat'", ["copy_to_program public.t(a)", "select public.t(a) ?a"]),
    ("copy (select b from t) to '/tmp/x'", ["copy_to_file ?.?", "select public.t(b) ?b"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "actions"), CASES, ids=[c[0] for c in CASES])
def test_a_write_does(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == actions
    assert not facts.unclear
    assert all(a.write for a in facts.actions if a.verb not in ("select", "call"))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("insert into u values (1) returning a, d x", ["a = public.u.a", "x = public.u.d"]),
        (
            "update t set a = 1 returning old.a, new.b",
            ["a = public.t.a", "b = public.t.b"],
        ),
        (
            "update t set a = 1 returning with (old as o, new as n) o.a, n.*, b",
            [
                "a = public.t.a",
                "a = public.t.a",
                "b = public.t.b",
                "c = public.t.c",
                "b = public.t.b",
            ],
        ),
        (
            "delete from t using u returning *",
            [
                "a = public.t.a",
                "b = public.t.b",
                "c = public.t.c",
                "a = public.u.a",
                "d = public.u.d",
            ],
        ),
        (
            "merge into u using t on u.a = t.a when matched then delete returning merge_action(), *",
            [
                "merge_action <-",
                "a = public.t.a",
                "b = public.t.b",
                "c = public.t.c",
                "a = public.u.a",
                "d = public.u.d",
            ],
        ),
        ("with x as (delete from t returning b) select * from x", ["b = public.t.b"]),
        ("update sales.active set name = 'x' returning email", [
            "email = sales.active.email sales.customers.email"
        ]),
        ("insert into t values (1) returning (select max(email) from sales.customers)", [
            "max <- sales.customers.email"
        ]),
    ],
)  # fmt: skip
def test_returning_shows(text: str, columns: list[str]) -> None:
    facts = facts_of(text)
    assert facts.returns_rows
    assert lineage(facts) == columns


def test_without_returning_no_rows_come_back() -> None:
    for text in ("delete from t", "insert into t values (1)", "update t set a = 1", "truncate t"):
        facts = facts_of(text)
        assert facts.outputs == ()
        assert not facts.returns_rows


@pytest.mark.parametrize(
    ("text", "opaque"),
    [
        ("update t set a = 1", False),
        ("update app.logged set v = 'x'", True),
        ("insert into app.ruled values (1)", True),
        ("delete from sales.active", True),
        ("select * from app.logged", False),
        ("insert into nosuch values (1)", True),
    ],
)
def test_writes_that_may_run_other_code_are_opaque(text: str, opaque: bool) -> None:
    assert facts_of(text).opaque is opaque


def test_copy_says_how_the_stream_is_written() -> None:
    copy = facts_of(
        "copy t (b, a) to stdout (format csv, header, delimiter ';', null 'N', encoding 'latin1')"
    ).effects.copy
    assert copy is not None
    assert (copy.direction, copy.format, copy.delimiter, copy.null) == ("to", "csv", ";", "N")
    assert (copy.quote, copy.escape, copy.header, copy.encoding) == ('"', '"', "true", "latin1")
    assert copy.fields is not None
    assert [f.name for f in copy.fields] == ["b", "a"]
    plain = facts_of("copy t from stdin").effects.copy
    assert plain is not None
    assert (plain.direction, plain.format, plain.delimiter, plain.null) == (
        "from",
        "text",
        "\t",
        "\\N",
    )
    old = facts_of("copy t to stdout csv header quote as '|' escape as '#'").effects.copy
    assert old is not None
    assert (old.format, old.delimiter, old.quote, old.escape) == ("csv", ",", "|", "#")
    assert facts_of("copy t to stdout binary").effects.copy.format == "binary"  # type: ignore[union-attr]
    assert facts_of("copy t to '/tmp/x'").effects.copy is None
