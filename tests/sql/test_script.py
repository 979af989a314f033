"""Text to statements: what is read, what is refused, and that hostile nesting only is refused."""

import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model.errors import OverLimit, TaskgateError, Unreadable
from taskgate.model.limits import MAX_STATEMENT_BYTES, MAX_STATEMENTS_PER_MESSAGE
from taskgate.sql.script import SyntaxProblem, parse_script


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        (" ; ;; -- nothing\n", []),
        ("select 1", ["SELECT"]),
        ("select 1; insert into t values (1)", ["SELECT", "INSERT"]),
        ("select 'a;b'; select $x$;$x$", ["SELECT", "SELECT"]),
        ("/* a /* nested */ ; */ select 1", ["SELECT"]),
        ("select 1 -- ; drop table t\r; drop table u", ["SELECT", "DROP TABLE"]),
        ("begin; commit; rollback; savepoint s", ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT"]),
        ("table t", ["SELECT"]),
        ("values (1)", ["SELECT"]),
        ("select 1 into x", ["SELECT INTO"]),
        ("create table x as select 1", ["CREATE TABLE AS"]),
        ("declare c cursor for select 1", ["DECLARE"]),
        ("fetch c; move c", ["FETCH", "MOVE"]),
        ("reset x; set x = 1", ["RESET", "SET"]),
        ("vacuum; analyze", ["VACUUM", "ANALYZE"]),
        ("grant a to b; revoke a from b", ["GRANT", "REVOKE"]),
        ("prepare transaction 'x'; prepare p as select 1", ["PREPARE TRANSACTION", "PREPARE"]),
        ("drop materialized view v", ["DROP MATVIEW"]),
        ("alter table t add a int", ["ALTER TABLE"]),
    ],
)
def test_statements_are_told_apart_and_named(text: str, tags: list[str]) -> None:
    assert [s.tag for s in parse_script(text).statements] == tags


def test_each_statement_has_its_exact_slice() -> None:
    script = parse_script("select 'é' ;  /* c */ update t set a = 1;delete from t")
    assert [s.text for s in script.statements] == [
        "select 'é' ",
        "update t set a = 1",
        "delete from t",
    ]


def test_fingerprints_differ_by_structure_and_not_by_constants() -> None:
    one, two, other = (
        parse_script(text).statements[0].fingerprint
        for text in (
            "select a from t where b = 1",
            "select a from t where b = 2",
            "select a from t where c = 1",
        )
    )
    assert one == two != other


@pytest.mark.parametrize(
    ("text", "position"),
    [("selec 1", 0), ("select 'é' fromm x y", 17), ("a\0b", 1), ("select \ud800", 7)],
)
def test_what_does_not_parse_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        parse_script(text)
    assert caught.value.position == position
    assert caught.value.sqlstate == "42601"


@pytest.mark.parametrize(
    "text",
    ["select 'a", 'select "a', "select $x$ a", "/* a", "select 5 !", "select 1 limit", "a = 1"],
)
def test_broken_lexing_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_script(text)


@pytest.mark.cap("MAX_STATEMENT_BYTES", "MAX_STATEMENTS_PER_MESSAGE")
def test_too_long_and_too_many_are_over_the_limit() -> None:
    with pytest.raises(OverLimit):
        parse_script("select '" + "x" * MAX_STATEMENT_BYTES + "'")
    with pytest.raises(OverLimit):
        parse_script(";".join(["select 1"] * (MAX_STATEMENTS_PER_MESSAGE + 1)))
    assert len(parse_script(";".join(["select 1"] * 100)).statements) == 100


HOSTILE = {
    "brackets": lambda n: "select " + "(" * n + "1" + ")" * n,
    "minus": lambda n: "select " + "- " * n + "1",
    "not": lambda n: "select " + "not " * n + "true",
    "plus": lambda n: "select 1" + "+1" * n,
    "plus_in_brackets": lambda n: "select " + "1+(" * n + "1" + ")" * n,
    "subqueries": lambda n: "select * from " + "(select * from " * n + "t" + ") x" * n,
    "case": lambda n: "select " + "case when true then " * n + "1" + " end" * n,
    "union": lambda n: "select 1" + " union select 1" * n,
    "arrays": lambda n: "select array" + "[" * n + "1" + "]" * n,
    "joins": lambda n: "select * from a" + " cross join b" * n,
    "join_brackets": lambda n: "select * from " + "(" * n + "a" + " join b on true)" * n,
    "calls": lambda n: "select " + "f(" * n + "1" + ")" * n,
    "casts": lambda n: "select 1" + "::int" * n,
    "with": lambda n: "with a as (" * n + "select 1" + ") select 1" * n,
    "concat": lambda n: "select 'a'" + "||'a'" * n,
    "subscripts": lambda n: "select a" + "[1]" * n,
    "open_only": lambda n: "select " + "[" * n,
    "else": lambda n: "select " + "case when a then b else " * n + "1" + " end" * n,
    "and_between": lambda n: "select a" + " and b between 1 and 2" * n,
    "is_null": lambda n: "select (" * n + "a" + ") is null" * n,
    "collate": lambda n: "select a" + ' collate "C"' * n,
    "at_zone": lambda n: "select a" + " at time zone 'x'" * n,
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("levels", [10, 300, 5_000, 200_000])
def test_hostile_nesting_is_read_or_refused_and_never_a_crash(kind: str, levels: int) -> None:
    # The parser's C stack would take the whole process down, so each runs in a thread with a small
    # stack: what holds there holds everywhere.
    from tests.sql.world import analysed

    text = HOSTILE[kind](levels)
    if len(text) > MAX_STATEMENT_BYTES:
        text = text[:MAX_STATEMENT_BYTES]
    outcome: list[str] = []

    def read() -> None:
        try:
            parse_script(text)
            outcome.append("parsed")
            analysed(text)
            outcome.append("analysed")
        except TaskgateError as error:
            outcome.append(type(error).__name__)

    before = threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert outcome
    if levels == 10 and kind not in ("open_only", "join_brackets"):
        assert outcome[-1] == "analysed"


def test_long_but_flat_statements_are_read() -> None:
    for text in (
        "select " + ", ".join(["a + 1"] * 20_000) + " from t",
        "insert into t values " + ", ".join(["(1, 'x', now() + interval '1 day')"] * 5_000),
        "select 1 where " + " or ".join(["a = 1 and b <> 2"] * 5_000),
        "select a in (" + ", ".join(["-1"] * 20_000) + ") from t",
        "select case a " + " ".join(f"when {n} then {n} + 1" for n in range(5_000)) + " end",
        "select " + ", ".join(["case when a then 1 else 2 end"] * 5_000) + " from t",
        " union all ".join(["select 1, 2, 3"] * 500),
        "select " + " || ".join(["b"] * 1_000) + " from t",
    ):
        assert len(parse_script(text).statements) == 1


def test_the_bound_is_needed() -> None:
    """Without it this text crashes the interpreter, so the test of hostile nesting counts."""
    done = subprocess.run(
        [sys.executable, "-c", "import postgast; postgast.parse('select 1' + '+1' * 200000)"],
        capture_output=True,
        check=False,
    )
    assert done.returncode < 0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        script = parse_script(text)
    except TaskgateError:
        return
    assert "".join(s.text for s in script.statements) in text or len(script.statements) != 1
