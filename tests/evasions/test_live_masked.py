"""A masked value under another guise: expressions, formats, views, cursors, what a write returns.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, SYNC, Live, bind, execute, extended, parse, query

# Whatever these make of the column, no two people may look different.
SHOWN = [
    "email",
    "p.email",
    "(p).email",
    "(p.*).email",
    '"email"',
    'U&"em\\0061il"',
    "EMAIL",
    "email::text",
    "email::varchar(5)",
    'email COLLATE "C"',
    "email || ''",
    "'' || email || region",
    "concat(email)",
    "concat_ws(',', region, email)",
    "quote_literal(email)",
    "quote_ident(email)",
    "reverse(email)",
    "md5(email)",
    "length(email)",
    "strpos(email, '1')",
    "translate(email, 'z', 'y')",
    "hashtext(email)",
    "email LIKE '%1%'",
    "email = 'zz-secret-1@vault.example'",
    "email < 'zz-secret-3'",
    "email IN ('zz-secret-1@vault.example')",
    "email ~ '1'",
    "starts_with(email, 'zz-secret-1')",
    "position('1' IN email)",
    "ROW(email)",
    "ROW(p.*)",
    "p",
    "p::text",
    "row_to_json(p)",
    "to_json(p)",
    "to_jsonb(p)",
    "to_jsonb(p) -> 'email'",
    "to_jsonb(p) ->> 'email'",
    "json_build_array(email)",
    "ARRAY[email]",
    "(ARRAY[email])[1]",
    "ARRAY[p]",
    "(ARRAY[p])[1].email",
    "coalesce(email, '')",
    "greatest(email, '')",
    "nullif(email, '')",
    "CASE WHEN true THEN email END",
    "(SELECT email)",
    "(SELECT p.email)",
    "(SELECT q.email FROM app.people q WHERE q.id = p.id)",
    "ARRAY(SELECT q.email FROM app.people q WHERE q.id = p.id)",
    "(SELECT string_agg(q.email, ',') FROM app.people q WHERE q.id = p.id)",
    "(SELECT array_agg(q) FROM app.people q WHERE q.id = p.id)",
    "(SELECT json_agg(q) FROM app.people q WHERE q.id = p.id)",
    "(SELECT max(q.email) FROM app.people q WHERE q.id = p.id)",
    "(SELECT x FROM (VALUES (p.email)) v(x))",
    "(WITH people AS (SELECT p.email AS e) SELECT e FROM people)",
    "(SELECT c.address FROM app.contacts c WHERE c.id = p.id)",
    "(SELECT c.address FROM app.upper_contacts c WHERE c.id = p.id)",
    "(SELECT c.address FROM app.kept c WHERE c.id = p.id)",
    "lag(email, 0) OVER (ORDER BY id)",
    "first_value(email) OVER (PARTITION BY id)",
    "max(email) OVER (PARTITION BY id)",
    "nth_value(email, 1) OVER (PARTITION BY id)",
    "string_agg(email, ',') OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND CURRENT ROW)",
    "array_agg(email) OVER (ORDER BY id ROWS CURRENT ROW)",
    "substring(email SIMILAR '%' ESCAPE '#')",
    "trim(BOTH FROM email)",
]
# These might fail for some values, which would tell them.
REFUSED = [
    'email::"char"',
    "email::bytea",
    "CAST(email AS app.mail)",
    "format('%s', email)",
    "format('%s', p)",
    "sha256(convert_to(email, 'UTF8'))",
    "encode(convert_to(email, 'UTF8'), 'hex')",
    "ascii(substr(email, 11, 1))",
    "(email, region)::app.pair",
    "jsonb_build_object('a', email)",
    "jsonb_object(ARRAY['a', email])",
    "jsonb_path_query_first(to_jsonb(email), '$')",
    "ARRAY[email]::varchar[]",
    "array_append(ARRAY[]::text[], email)",
    "string_to_array(email, '-')",
    "to_tsvector('simple', email)",
    "email::xml",
    "xmlelement(name a, email)",
    "xmlforest(email)",
    "(SELECT jsonb_object_agg(q.id, q.email) FROM app.people q WHERE q.id = p.id)",
    "(SELECT x FROM unnest(ARRAY[p.email]) x)",
    "(SELECT (c.person).email FROM app.whole c WHERE (c.person).id = p.id)",
    "(SELECT c.document ->> 'email' FROM app.whole c WHERE (c.person).id = p.id)",
    "(regexp_match(email, '.*'))[1]",
    "regexp_replace(email, 'q', '')",
    "overlay(email PLACING '' FROM 1)",
    "normalize(email)",
    "pg_column_size(email || repeat('x', ascii(substr(email, 11, 1))))",
    "int4range(1, ascii(substr(email, 11, 1)))",
    "make_date(2000, 1, ascii(substr(email, 11, 1)) - 40)",
    "make_interval(days => ascii(substr(email, 11, 1)))",
    'chr(ascii(substr(email, 11, 1)))::"char"',
    "set_byte('\\x00'::bytea, 0, ascii(substr(email, 11, 1)))",
    "ascii(substr(email, 11, 1))::bit(8)",
    "(ascii(substr(email, 11, 1)) || ' days')::interval",
    "json_populate_record(NULL::app.people, to_json(p))",
    "json_populate_record(NULL::app.pair, json_build_object('a', email))",
    "jsonb_set('{\"a\": 1}', '{a}', to_jsonb(email))",
]
NEWER = {
    "JSON_VALUE(to_jsonb(p), '$.email')": 17,
    "JSON_QUERY(to_jsonb(p), '$.email')": 17,
    "JSON_SERIALIZE(to_json(p))": 17,
    "JSON_SCALAR(email)": 17,
    "JSON_OBJECT('a': email)": 16,
    "JSON_ARRAY(email)": 16,
    "(SELECT j.e FROM JSON_TABLE(to_jsonb(p), '$' COLUMNS (e text PATH '$.email')) j)": 17,
    "casefold(email)": 18,
    "crc32(convert_to(email, 'UTF8'))": 18,
}


def ways(text: str) -> dict[str, list[bytes]]:
    """The cycles of each way in which a client may fetch the rows of a query."""
    binary = parse("", text) + bind("", "", formats=(1,))
    fetch = b"".join(extended("FETCH ALL FROM c")) + SYNC
    begin, end = query("BEGIN"), query("ROLLBACK")
    return {
        "simple": [query(text)],
        "extended": [b"".join(extended(text)) + SYNC],
        "binary, in pieces": [binary + execute("", 2) + execute("") + SYNC],
        "cursor": [begin, query(f"DECLARE c CURSOR FOR {text}"), query("FETCH ALL FROM c"), end],
        "binary cursor": [begin, query(f"DECLARE c BINARY CURSOR FOR {text}"), fetch, end],
        "held cursor": [
            begin,
            query(f"DECLARE c SCROLL CURSOR WITH HOLD FOR {text}"),
            query("COMMIT"),
            query("FETCH LAST FROM c"),
            query("FETCH BACKWARD ALL FROM c"),
            query("CLOSE c"),
        ],
        "prepared": [query(f"PREPARE x AS {text}"), query("EXECUTE x"), query("DEALLOCATE x")],
        "copy": [query(f"COPY ({text}) TO STDOUT")],
        "copy, extended": [b"".join(extended(f"COPY ({text}) TO STDOUT")) + SYNC],
        "csv": [query(f"COPY ({text}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)")],
        "other csv": [query(f"COPY ({text}) TO STDOUT (FORMAT csv, NULL 'zz', DELIMITER '|')")],
        "other text": [
            query(f"COPY ({text}) TO STDOUT (NULL 'x', DELIMITER '|', ENCODING 'LATIN1')")
        ],
        "binary copy": [query(f"COPY ({text}) TO STDOUT (FORMAT binary)")],
    }


@pytest.mark.parametrize("way", ways(""))
def test_no_expression_over_a_masked_column_tells_people_apart(live: Live, way: str) -> None:
    listed = ", ".join(f"{e} AS x{at}" for at, e in enumerate(SHOWN))
    with live.session("masked") as s:
        for cycle in ways(f"SELECT {listed} FROM app.people p ORDER BY id")[way]:
            s.cycles(1, cycle)
        assert not s.errors
        rows = s.rows()
        assert len(rows) >= 6
        if way != "csv":
            assert len({repr(row) for row in rows}) == 1
        assert b"zz-secr" not in s.seen


@pytest.mark.parametrize("expression", NEWER)
def test_no_newer_expression_over_a_masked_column_tells_people_apart(
    live: Live, expression: str
) -> None:
    if live.major < NEWER[expression]:
        pytest.skip("this server's grammar does not know it")
    with live.session("masked") as s:
        s.ask(f"SELECT {expression} FROM app.people p")
        s.run(f"SELECT {expression} FROM app.people p")
        assert len({repr(row) for row in s.rows()}) <= 1
        assert s.rows() or s.states == ["42501", "42501"]


@pytest.mark.parametrize("expression", REFUSED)
def test_an_expression_that_could_fail_over_a_masked_column_is_refused(
    live: Live, expression: str
) -> None:
    with live.session("masked") as s:
        s.ask(f"SELECT {expression} FROM app.people p")
        assert s.states == ["42501"]
        assert not s.rows()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM app.people",
        "SELECT people.* FROM app.people",
        "SELECT app.people.email FROM app.people",
        "TABLE app.people",
        "SELECT people FROM app.people",
        "SELECT id, region, address FROM app.contacts",
        "TABLE app.upper_contacts",
        "TABLE app.whole",
        "SELECT (person).* FROM app.whole",
        "TABLE app.kept",
        "SELECT id, address AS region FROM app.kept",
        "TABLE app.log",
        "TABLE app.log_2020",
        "SELECT who FROM ONLY app.log_2021",
        "SELECT l FROM app.log l",
        "TABLE app.base",
        "SELECT more, secret FROM app.child",
        "SELECT * FROM app.base*",
        "SELECT email FROM app.people UNION ALL SELECT region FROM app.people",
        "SELECT region FROM app.people UNION ALL SELECT email FROM app.people",
        "SELECT a FROM (SELECT region, email FROM app.people) q(b, a)",
        "SELECT x.* FROM app.people AS x(a, b, c)",
        "SELECT b FROM app.people AS x(a, b, c)",
        "WITH people AS (SELECT email AS region FROM app.people) SELECT region FROM people",
        "WITH people AS MATERIALIZED (SELECT * FROM app.people) SELECT * FROM people",
        "WITH a AS (SELECT 1), app AS (SELECT email FROM app.people) SELECT * FROM app",
        "SELECT q.* FROM app.people p, LATERAL (SELECT p.email) q",
        "SELECT q.* FROM app.people p CROSS JOIN LATERAL (SELECT p) q",
        "SELECT j.* FROM (app.people p JOIN app.orders o ON p.id = o.id) AS j",
        "SELECT p.email FROM (app.people p JOIN app.orders USING (id))",
        "SELECT * FROM app.people p JOIN app.orders USING (id) AS u",
        "SELECT email FROM app.people TABLESAMPLE SYSTEM (100)",
        "SELECT (array_agg(p))[1] FROM app.people p",
        "SELECT (SELECT q FROM app.people q WHERE q.id = p.id) FROM app.people p",
        "SELECT max(email), min(email), count(email) FROM app.people",
        "SELECT string_agg(email, ',') FROM app.people",
        "SELECT json_agg(p), jsonb_agg(email), array_agg(email) FROM app.people p",
        "VALUES ((SELECT email FROM app.people LIMIT 1))",
        "SELECT * FROM (VALUES ((SELECT min(email) FROM app.people))) v",
        "SELECT ARRAY(SELECT email FROM app.people)",
        "SELECT * FROM ROWS FROM (unnest(ARRAY(SELECT email FROM app.people))) WITH ORDINALITY",
        "SELECT * FROM unnest((SELECT array_agg(p) FROM app.people p))",
        "SELECT * FROM json_to_recordset((SELECT json_agg(p) FROM app.people p)) AS r(email text)",
        "SELECT * FROM json_each((SELECT to_json(p) FROM app.people p LIMIT 1))",
        "SELECT * FROM xmltable('/x' PASSING (SELECT xmlelement(name x, email) FROM app.people"
        " LIMIT 1) COLUMNS a text PATH '.')",
        "WITH RECURSIVE r AS (SELECT email AS e, 1 AS n FROM app.people UNION ALL"
        " SELECT e, n + 1 FROM r WHERE n < 2) SELECT e FROM r",
        "WITH RECURSIVE r(a, b, n) AS (SELECT region, email, 1 FROM app.people UNION ALL"
        " SELECT b, a, n + 1 FROM r WHERE n < 3) SELECT a FROM r",
        "WITH RECURSIVE r(id, e) AS (SELECT id, email FROM app.people UNION ALL"
        " SELECT id + 100, e FROM r WHERE id < 3) SEARCH DEPTH FIRST BY id SET o SELECT * FROM r",
        "SELECT email FROM app.people ORDER BY id LIMIT 3 FOR UPDATE",
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT email FROM app.people",
        "SELECT email INTO lab.stolen FROM app.people",
        "CREATE TABLE lab.stolen AS SELECT email FROM app.people",
        "SELECT * FROM pg_stats WHERE tablename = 'people'",
        "SELECT most_common_vals FROM pg_catalog.pg_stats",
        "SELECT stavalues1 FROM pg_catalog.pg_statistic",
        "SELECT query_to_xml('SELECT email FROM app.people', true, true, '')",
        "SELECT table_to_xml('app.people', true, true, '')",
        "SELECT schema_to_xml('app', true, true, '')",
        "SELECT * FROM ts_stat('SELECT to_tsvector(email) FROM app.people')",
        "SELECT cursor_to_xml('c', 1, true, true, '')",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT lo_get(1)",
        "SELECT query FROM pg_stat_activity",
        "SELECT email(p) FROM app.people p",
        "SELECT app.email(p) FROM app.people p",
    ],
)
def test_a_masked_column_does_not_come_by_another_road(live: Live, text: str) -> None:
    with live.session("masked") as s:
        for cycle in (query(text), b"".join(extended(text)) + SYNC):
            s.cycles(1, cycle)
        if text.startswith(("SELECT", "TABLE", "WITH", "VALUES")) and " INTO " not in text:
            s.ask(f"COPY ({text}) TO STDOUT")
        assert SECRET not in s.seen


def test_nothing_was_stored_elsewhere(live: Live) -> None:
    assert live.behind("SELECT to_regclass('lab.stolen') IS NULL") == "t"


@pytest.mark.parametrize(
    "text",
    [
        "COPY app.people TO STDOUT",
        "COPY app.people (email, id) TO STDOUT",
        "COPY app.people TO STDOUT (FORMAT csv, HEADER, QUOTE '''', ESCAPE '\\')",
        "COPY app.people TO STDOUT (DELIMITER 'z', NULL '')",
        "COPY app.people TO STDOUT (ENCODING 'SJIS')",
        "COPY app.people TO STDOUT (FORMAT csv, FORCE_QUOTE (email), NULL '[masked]')",
        "COPY app.people TO STDOUT BINARY",
        "COPY BINARY app.people TO STDOUT",
        "COPY app.people TO STDOUT WITH DELIMITER AS '|' NULL AS 'n' CSV HEADER",
        "COPY app.log_2020 TO STDOUT",
        "COPY app.child TO STDOUT",
        "COPY (SELECT U&'\\2212', email, U&'\\30BD', 'x' FROM app.people) TO STDOUT"
        " (ENCODING 'SJIS', DELIMITER '|')",
        "COPY (SELECT E'a\\nb\\t\\\\.', email, E'\\\\' FROM app.people) TO STDOUT",
        "COPY (SELECT E'\"a\\n\"\"', email, ',\"' FROM app.people) TO STDOUT (FORMAT csv)",
        "COPY (SELECT '\\.', email FROM app.people) TO STDOUT (FORMAT csv, QUOTE '|', ESCAPE '\"')",
        "COPY (DELETE FROM app.people RETURNING email) TO STDOUT",
        "COPY app.people TO '/tmp/stolen'",
        "COPY app.people TO PROGRAM 'cat'",
    ],
)
def test_no_form_of_copy_shows_a_masked_column(live: Live, text: str) -> None:
    with live.session("masked") as s:
        s.ask(text)
        s.run(text)
        assert SECRET not in s.seen
        assert s.rows() or s.errors
