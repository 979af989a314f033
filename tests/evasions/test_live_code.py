"""Code of the database's own that runs unseen: behind casts, operators, domains and triggers.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, SYNC, Live, extended

CALLS = [
    "SELECT '(1,1),(0,0)'::box::text",
    "SELECT CAST(box '(1,1),(0,0)' AS text)",
    "SELECT text(box '(1,1),(0,0)')",
    "SELECT (box '(1,1),(0,0)')::varchar",
    "SELECT upper(box '(1,1),(0,0)')",
    "SELECT box '(1,1),(0,0)' || ''",
    "SELECT coalesce(box '(1,1),(0,0)', 'x'::text)",
    "SELECT 'x'::text UNION ALL SELECT box '(1,1),(0,0)'",
    "SELECT CASE WHEN true THEN box '(1,1),(0,0)' ELSE 'x'::text END",
    "SELECT * FROM (VALUES (box '(1,1),(0,0)'), ('x'::text)) v",
    "SELECT ARRAY[box '(1,1),(0,0)', 'x'::text]",
    "SELECT circle(point '(0,0)', 1)::text",
    "SELECT '<(0,0),1>'::circle::text",
    "SELECT circle '<(0,0),1>' :: pg_catalog.text",
    "SELECT id FROM app.orders WHERE note = circle '<(0,0),1>'::text",
    "SELECT '' OPERATOR(app.##) ''",
    "SET search_path = app, pg_catalog; SELECT '' ## ''",
    "SELECT app.gather(note) FROM app.orders",
    "SELECT app.gather(note) OVER () FROM app.orders",
    "SELECT app.peek('', '')",
    "SELECT * FROM app.peek('', '')",
    "SELECT 'x'::app.checked",
    "SELECT CAST('x' AS app.checked)",
    "SELECT ARRAY['x']::app.checked[]",
    "SELECT json_populate_record(NULL::app.fresh, '{}')",
]


@pytest.mark.parametrize("task", ["narrow", "masked"])
@pytest.mark.parametrize("text", CALLS)
def test_a_function_behind_a_conversion_shows_nothing(live: Live, task: str, text: str) -> None:
    with live.session(task) as s:
        s.ask(text)
        s.run(text)
        if ";" in text:
            s.ask(text.split(";", maxsplit=1)[0])
            s.ask(text.split(";")[1])
        assert SECRET not in s.seen


@pytest.mark.parametrize("text", [
    "UPDATE app.parted SET note = 'y'",
    "UPDATE app.parted SET note = 'y' WHERE id = 1 RETURNING id",
    "DELETE FROM app.roots",
    "UPDATE app.roots SET id = 2",
    "WITH d AS (DELETE FROM app.roots RETURNING id) SELECT * FROM d",
    "INSERT INTO lab.notes SELECT 1, 'x'::app.checked",
    "INSERT INTO app.fresh (id) VALUES (1)",
])  # fmt: skip
def test_a_trigger_or_a_default_tells_nothing(live: Live, text: str) -> None:
    with live.session("editor") as s:
        for ask in (s.ask, s.run):
            s.ask("BEGIN")
            ask(text)
            s.ask("ROLLBACK")
        s.cycles(1, *extended("SET CONSTRAINTS ALL DEFERRED"), *extended(text), SYNC)
        assert SECRET not in s.seen
