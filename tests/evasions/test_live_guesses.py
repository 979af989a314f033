"""A masked value that is not shown, but could be told from what is.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import psycopg
import pytest

from tests.evasions.live import SECRET, Live

# Each is NULL for one person only, or for all but one: the mask must not show for whom.
ORACLES = [
    "nullif(email, 'zz-secret-1@vault.example')",
    "substring(email FROM '^zz-secret-1')",
    "substring(email, '^zz-secret-1')",
    "nullif(email LIKE 'zz-secret-1%', false)::text",
    "nullif((email LIKE 'zz-secret-1%')::text, 'true')",
    "(regexp_match(email, '^zz-secret-1'))[1]",
    "'{\"zz-secret-1@vault.example\": 1}'::jsonb ->> email",
    "to_json(nullif(email, 'zz-secret-1@vault.example'))",
    "to_jsonb(nullif(email, 'zz-secret-1@vault.example'))",
    "array_to_string(array_positions(ARRAY['zz-secret-1@vault.example'], email), '')",
    "lead(email) OVER (ORDER BY id)",
    "min(nullif(email, 'zz-secret-1@vault.example'))",
    "string_agg(id::text, ',') FILTER (WHERE email LIKE 'zz-secret-1%')",
    "min(notes) FILTER (WHERE email LIKE 'zz-secret-1%')",
    "array_agg(id) FILTER (WHERE email LIKE 'zz-secret-1%')",
    "max(id) FILTER (WHERE email LIKE 'zz-secret-1%')",
    "coalesce(nullif(email, 'zz-secret-1@vault.example'), NULL)",
    "greatest(nullif(email, 'zz-secret-1@vault.example'), NULL)",
]


@pytest.mark.parametrize("expression", ORACLES)
@pytest.mark.parametrize("how", ["select", "binary", "copy", "csv", "copy-binary"])
def test_whether_an_expression_over_a_masked_column_is_null_is_not_shown(
    live: Live, expression: str, how: str
) -> None:
    text = f"SELECT {expression} AS x FROM app.people"
    if "agg(" in expression or "min(" in expression or "max(" in expression:
        text += " GROUP BY id"
    with live.connect("masked") as connection, connection.cursor(binary=how == "binary") as cursor:
        try:
            if how in ("select", "binary"):
                shown = {repr(row) for row in cursor.execute(text.encode()).fetchall()}
            else:
                form = {"copy": "text", "csv": "csv", "copy-binary": "binary"}[how]
                with cursor.copy(f"COPY ({text}) TO STDOUT (FORMAT {form})".encode()) as copy:
                    data = b"".join(bytes(piece) for piece in copy)
                assert SECRET not in data
                rows = data.splitlines() if form != "binary" else _tuples(data)
                shown = {repr(row) for row in rows}
        except psycopg.Error as error:
            refused = str(error)
            shown = set()
        else:
            refused = ""
    if refused:
        assert "masked" in refused or "not yet" in refused
        return
    assert len(shown) == 1, shown


def _tuples(data: bytes) -> list[bytes]:
    """The rows of a binary COPY of one column."""
    found = []
    at = 19
    while data[at : at + 2] != b"\xff\xff":
        size = max(0, int.from_bytes(data[at + 2 : at + 6], "big", signed=True))
        found.append(data[at : at + 6 + size])
        at += 6 + size
    return found


# Each answers one person or none, depending on a guess.
GUESSES = [
    "SELECT id FROM app.people WHERE email LIKE 'zz-secret-1%'",
    "SELECT id FROM app.people ORDER BY email",
    "SELECT id FROM app.people ORDER BY email || ''",
    "SELECT id, email AS e FROM app.people ORDER BY e",
    "SELECT count(*) FROM app.people GROUP BY email",
    "SELECT count(*) FROM app.people GROUP BY ROLLUP (email)",
    "SELECT count(*) FROM app.people GROUP BY GROUPING SETS ((email), ())",
    "SELECT count(*) FROM app.people HAVING max(email) > 'm'",
    "SELECT DISTINCT email FROM app.people",
    "SELECT DISTINCT ON (email) id FROM app.people",
    "SELECT id FROM app.people p WHERE p = ROW(1, '', '', '', current_date, '')",
    "SELECT id FROM app.people p ORDER BY p",
    "SELECT id FROM app.people p WHERE p::text LIKE '%zz-secret-1%'",
    "SELECT id FROM app.people p WHERE (p).email = 'x'",
    "SELECT id FROM app.people p WHERE to_jsonb(p) ->> 'email' = 'x'",
    "SELECT id FROM app.people WHERE (email, id) > ('m', 1)",
    "SELECT a.id FROM app.people a JOIN app.people b USING (email)",
    "SELECT a.id FROM app.people a NATURAL JOIN app.people b",
    "SELECT a.id FROM app.people a JOIN app.people b ON a.email = b.notes",
    "SELECT CASE WHEN email LIKE 'zz%' THEN 1 ELSE 2 END FROM app.people",
    "SELECT CASE email WHEN 'x' THEN 1 ELSE 2 END FROM app.people",
    "SELECT row_number() OVER (ORDER BY email), id FROM app.people",
    "SELECT rank() OVER w, id FROM app.people WINDOW w AS (PARTITION BY email)",
    "SELECT id, count(*) OVER (ORDER BY ascii(email) RANGE 1 PRECEDING) FROM app.people",
    "SELECT id, generate_series(1, length(email)) FROM app.people",
    "SELECT id, unnest(string_to_array(email, NULL)) FROM app.people",
    "SELECT id, regexp_matches(email, 'zz-secret-1') FROM app.people",
    "SELECT id, string_to_table(email, '') FROM app.people",
    "SELECT p.id FROM app.people p, LATERAL generate_series(1, length(p.email))",
    "SELECT p.id FROM app.people p, LATERAL unnest(string_to_array(p.email, 'z')) WITH ORDINALITY",
    "SELECT p.id FROM app.people p, LATERAL (SELECT 1 WHERE p.email LIKE 'z%') q",
    "SELECT p.id FROM app.people p, ROWS FROM (generate_series(1, ascii(p.email))) r",
    "SELECT id, 1 / (ascii(email) - 122) FROM app.people",
    "SELECT id, email::integer FROM app.people",
    "SELECT id, ('{' || email)::json FROM app.people",
    "SELECT id, (ARRAY[1, 2])[ascii(email) - 121] FROM app.people",
    "SELECT id FROM app.people LIMIT (SELECT length(min(email)) - 20 FROM app.people)",
    "SELECT id FROM app.people OFFSET (SELECT ascii(min(email)) FROM app.people)",
    "SELECT id FROM app.people TABLESAMPLE BERNOULLI ((SELECT ascii(min(email)) FROM app.people))",
    "SELECT EXISTS (SELECT FROM app.people WHERE email LIKE 'zz-secret-1%')",
    "SELECT (SELECT id FROM app.people WHERE email LIKE 'zz-secret%')",
    "SELECT id FROM app.people WHERE 'x' = ANY (SELECT email FROM app.people)",
    "SELECT 'x' IN (SELECT email FROM app.people) OR 1 / 0 = 1",
    "SELECT email FROM app.people INTERSECT SELECT 'zz-secret-1@vault.example'",
    "SELECT email FROM app.people EXCEPT ALL SELECT 'zz-secret-1@vault.example'",
    "SELECT email FROM app.people UNION SELECT 'zz-secret-1@vault.example'",
    "WITH RECURSIVE r AS (SELECT email, 1 AS n FROM app.people UNION ALL"
    " SELECT substr(email, 2), n + 1 FROM r WHERE email <> '') SELECT n FROM r",
    "WITH RECURSIVE r(e, n) AS (SELECT email, 1 FROM app.people UNION"
    " SELECT '', n FROM r) SELECT n FROM r",
    "WITH RECURSIVE r(e) AS (SELECT email FROM app.people UNION ALL SELECT e || '.' FROM r"
    " WHERE length(e) < 30) CYCLE e SET c USING p SELECT c FROM r",
    "SELECT id FROM app.contacts WHERE address LIKE 'zz%'",
    "SELECT id FROM (SELECT id, address AS region FROM app.contacts) c ORDER BY region",
    "SELECT count(*) FROM app.people JOIN (VALUES ('zz-secret-1@vault.example')) v(email)"
    " USING (email)",
    "EXPLAIN SELECT id FROM app.people WHERE email > 'm'",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM app.people WHERE email > 'm'",
    "EXPLAIN (GENERIC_PLAN) SELECT id FROM app.people WHERE email > $1",
    "EXPLAIN (FORMAT JSON) SELECT id FROM app.people ORDER BY email",
    "SELECT count(*) FROM xmltable('/r' PASSING xmlparse(CONTENT (SELECT min(email)"
    " FROM app.people)) COLUMNS a text)",
    "SELECT id FROM app.people WHERE ctid = ('(0,' || ascii(email) || ')')::tid",
    "SELECT id FROM app.people WHERE (email IS NULL) IS TRUE",
    "SELECT mode() WITHIN GROUP (ORDER BY email), id FROM app.people GROUP BY id, email",
    "SELECT id FROM app.people GROUP BY id HAVING bool_or(email LIKE 'zz-secret-1%')",
    "SELECT * FROM app.people p WHERE p IS NOT DISTINCT FROM (SELECT q FROM app.people q LIMIT 1)",
    "SELECT id FROM app.people ORDER BY CASE WHEN id > 0 THEN email END",
    "SELECT DISTINCT p FROM app.people p",
    "SELECT count(DISTINCT p.id) FROM app.people p GROUP BY p",
    "SELECT id FROM app.people ORDER BY id"
    " FETCH FIRST (SELECT 1 + length(min(email)) FROM app.people)"
    " ROWS WITH TIES",
]
NEWER = {
    "SELECT id FROM app.people p,"
    " JSON_TABLE(to_jsonb(p.email), '$' COLUMNS (a text PATH '$')) j": 17,
    "SELECT id, JSON_EXISTS(to_jsonb(email), '$ ? (@ like_regex \"^zz-secret-1\")') AND 1/0 = 1"
    " FROM app.people": 17,
}  # fmt: skip


@pytest.mark.parametrize("text", [*GUESSES, *NEWER])
def test_a_masked_column_that_steers_the_result_is_refused(live: Live, text: str) -> None:
    if live.major < NEWER.get(text, 0):
        pytest.skip("this server's grammar does not know it")
    with live.session("masked") as s:
        s.ask(text)
        s.run(text)
        assert not s.rows()
        assert SECRET not in s.seen
        refused = {"42501"} if "GENERIC" not in text or live.major > 15 else {"42501", "42601"}
        assert len(s.states) == 2
        assert set(s.states) <= refused | {"42804", "42P01", "42883", "42703"}, s.errors
