"""Whether a statement fails, for one value of a masked column and not for another.

An error is an answer: what may fail for some values only, or is called for some only, is refused.
Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, Live, bind, execute, parse
from tests.evasions.live import SYNC as END

GUESS = "'zz-secret-1@vault.example'"
# Two rows that are compared column by column, and cannot be beyond the first.
ROWS = (
    "FROM (SELECT left(email, 1) AS a, to_json(1) AS b FROM app.people WHERE id = 1) r,"
    " (SELECT 'z' AS a, to_json(1) AS b) s"
)
TIES = (
    "FROM (SELECT left(email, 1) AS a, to_json(1) AS b FROM app.people WHERE id = 1"
    " UNION ALL SELECT 'z', to_json(1)) r"
)
COLLATED = (
    'FROM app.people p, (SELECT region COLLATE "C" AS a, region COLLATE "POSIX" AS b'
    " FROM app.people) q"
)
FULL = "9" * 131_070
TELLING = {
    # Called only for what is not NULL, and then fails whatever it is given.
    "substr of what is NULL for the guess": f"substr(nullif(email, {GUESS}), 1, -1)",
    "substr of a comparison": "substr(nullif(email > 'yz', true)::text, 1, -1)",
    "split_part": f"split_part(nullif(email, {GUESS}), 'a', 0)",
    "lpad": f"lpad(nullif(email, {GUESS}), 2000000000)",
    "a bad expression": f"nullif(email, {GUESS}) ~ '*'",
    "a bad expression behind others": f"upper(nullif(email, {GUESS})) || '' ~ '*'",
    "a bad pattern": f"nullif(email, {GUESS}) LIKE '\\'",
    "NULL among a list": f"substr((email IN ({GUESS}, NULL))::text, 1, -1)",
    "NULL among an array": f"substr((email = ANY (ARRAY[{GUESS}, NULL]))::text, 1, -1)",
    "NULL and": f"substr((email = {GUESS} AND NULL)::text, 1, -1)",
    "NULL beyond an array": "substr((ARRAY[email])[2], 1, -1)",
    "a unit of time": f"date_trunc('zz', nullif(now(), CASE WHEN email = {GUESS} THEN now() END))",
    # Looks at its end only where all before it matches.
    "a pattern that ends in an escape": "email LIKE 'q\\'",
    "another": "email NOT ILIKE 'Q_\\'",
    "as an operator": "email OPERATOR(pg_catalog.~~) 'q\\'",
    "as a function": 'pg_catalog."like"(email, \'q\\\')',
    "one of several": "email LIKE ANY (ARRAY['a', 'q\\'])",
    "a pattern from elsewhere": "email LIKE chr(113) || chr(92)",
    # Units that a value names.
    "date_part": "date_part(left(email, 1), now())",
    "date_trunc": "date_trunc(left(email, 1), now())",
    # Arrays and documents.
    "a NULL array": f"array_agg(nullif(ARRAY[email], ARRAY[{GUESS}]))",
    "arrays of one length": "ARRAY[ARRAY['a'], nullif(ARRAY[email], ARRAY['a'])]",
    "arrays that do not join": "array_agg(id) FILTER (WHERE email > 'm') || ARRAY[ARRAY[1]]",
    "an object and a scalar": f"coalesce(to_jsonb(nullif(email, {GUESS})), '{{}}') || to_jsonb(1)",
    "documents are not compared": "max(ARRAY[to_json(id)]) FILTER (WHERE email LIKE 'zz%')",
    "or sorted": "array_agg(1 ORDER BY ARRAY[to_json(id)]) FILTER (WHERE email LIKE 'zz%')",
    "or told apart": "count(DISTINCT ARRAY[to_json(id)]) FILTER (WHERE email LIKE 'zz%')",
    "rows in arrays": "ARRAY[ROW(left(email, 1), to_json(1))] = ARRAY[ROW('z'::text, to_json(1))]",
    "compared where the guess is right": f"email = {GUESS}"
    " AND ARRAY[to_json(1)] = ARRAY[to_json(1)]",
    "a row that is too long, or not": f"string_agg(coalesce(nullif(email, {GUESS}), ''), '')",
    "an array that is": f"array_agg(nullif(email, {GUESS}))",
    "a document that is": f"jsonb_agg(to_jsonb(nullif(email, {GUESS})))",
    "a fraction beyond the end": "percentile_cont(ARRAY[2, 0.5]) WITHIN GROUP"
    " (ORDER BY nullif(length(email), 25))",
}  # fmt: skip
STATEMENTS = {
    **{name: f"SELECT {text} FROM app.people" for name, text in TELLING.items()},
    "rows": f"SELECT r = s {ROWS}",
    "rows in NULLIF": f"SELECT nullif(r, s) {ROWS}",
    "rows in GREATEST": f"SELECT greatest(r, s) {ROWS}",
    "rows in CASE": f"SELECT CASE r WHEN s THEN 1 END {ROWS}",
    "rows IN": f"SELECT r IN (s) {ROWS}",
    "rows IS DISTINCT": f"SELECT r IS DISTINCT FROM s {ROWS}",
    "the largest of rows": f"SELECT max(r) {TIES}",
    "sorted rows": f"SELECT array_agg(1 ORDER BY r) {TIES}",
    "distinct rows": f"SELECT count(DISTINCT r) {TIES}",
    "ranked rows": f"SELECT mode() WITHIN GROUP (ORDER BY r) {TIES}",
    "collations that differ": f"SELECT coalesce(nullif(email, {GUESS}), lower(a || b)) {COLLATED}",
    "and are compared": f"SELECT email = {GUESS} AND a = b {COLLATED}",
    "a sum that is full": "SELECT sum(v) FROM (SELECT length(email) AS v FROM app.people"
    f" WHERE id = 1 UNION ALL SELECT {FULL}76) x",
    "an average": "SELECT avg(v) FROM (SELECT length(email) AS v FROM app.people"
    f" WHERE id = 1 UNION ALL SELECT {FULL}76) x",
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_what_fails_for_some_masked_values_only_is_refused(live: Live, name: str) -> None:
    with live.session("masked") as s:
        s.ask(STATEMENTS[name])
        s.run(STATEMENTS[name])
        assert not s.rows()
        assert SECRET not in s.seen
        assert s.states == ["42501", "42501"]


def test_a_pattern_from_a_parameter_is_refused_before_it_is_known(live: Live) -> None:
    with live.session("masked") as s:
        text = "SELECT email LIKE $1 FROM app.people"
        s.cycles(1, parse("", text), bind("", "", b"q\\"), execute(), END)
        assert s.states == ["42501"]


@pytest.mark.parametrize("text", [
    "SELECT substr(email, 1, 3), left(email, 3), lpad(email, 9), split_part(email, '@', 1)",
    "SELECT email LIKE 'zz%', email ~ '^z', email ILIKE 'a\\\\', substr(upper(email), 1, 3)",
    "SELECT coalesce(nullif(email, ''), region), concat(nullif(email, ''), region)",
    "SELECT email = 'x' AND region = 'north', email IN ('a', 'b'), email < region",
    "SELECT count(email), max(email), string_agg(email, ','), array_agg(p) FROM app.people p --",
    "SELECT count(*) FILTER (WHERE email LIKE 'z%'), avg(id)",
])  # fmt: skip
def test_what_cannot_tell_is_shown_masked(live: Live, text: str) -> None:
    with live.session("masked") as s:
        s.ask(f"{text} FROM app.people")
        assert not s.errors
        assert s.rows()
        assert SECRET not in s.seen


MANY = "app.people, generate_series(1, 10000) AS g WHERE id = 1"


@pytest.mark.parametrize("text", [
    f"EXPLAIN ANALYZE SELECT nullif(email, {GUESS}), g FROM {MANY} ORDER BY g",
    f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT email, g FROM {MANY} ORDER BY g",
    f"EXPLAIN (ANALYSE true, BUFFERS) WITH c AS MATERIALIZED (SELECT nullif(email, {GUESS})"
    f" FROM {MANY}) SELECT count(*) FROM c",
    "EXPLAIN (ANALYZE) SELECT count(*) FROM (SELECT address FROM app.contacts OFFSET 0) c",
    "EXPLAIN ANALYZE SELECT p FROM app.people p",
    "EXPLAIN (ANALYZE, SERIALIZE) SELECT email FROM app.people",
])  # fmt: skip
def test_what_a_run_takes_tells_nothing_of_a_masked_value(live: Live, text: str) -> None:
    """Sorts, materialised parts and answers have sizes, which a plan that was run shows."""
    with live.session("masked") as s:
        s.ask(text)
        s.run(text)
        assert not s.rows()
        if "SERIALIZE" not in text or live.major >= 17:
            assert s.states == ["42501", "42501"]


def test_what_a_prepared_statement_takes_tells_nothing_of_a_masked_value(live: Live) -> None:
    with live.session("masked") as s:
        s.ask("PREPARE x AS SELECT email FROM app.people ORDER BY id")
        s.ask("EXPLAIN ANALYZE EXECUTE x")
        s.run("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE x")
        assert s.states == ["42501", "42501"]
        assert not s.rows()


@pytest.mark.parametrize("text", ["{}", "COPY ({}) TO STDOUT", "COPY ({}) TO STDOUT (FORMAT csv)",
                                  "COPY ({}) TO STDOUT (FORMAT binary)"])  # fmt: skip
def test_how_long_a_row_is_that_cannot_be_masked_is_not_told(live: Live, text: str) -> None:
    query = (
        f"SELECT string_agg(email, '') FROM app.people, generate_series(1, {700_000}) WHERE id < 3"
    )
    with live.session("masked") as s:
        s.ask(text.format(query))
        assert s.states == ["54000"]
        assert str(700_000 * 52) not in str(s.errors)
        assert b"3640" not in s.seen
