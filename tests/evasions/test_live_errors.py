"""Values in what the server says beside rows: errors, notices, descriptions.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, SYNC, Live, extended


@pytest.mark.parametrize("text", [
    "DELETE FROM app.regions WHERE name = 'north'",
    "UPDATE app.regions SET name = 'closed' WHERE name = 'north'",
    "UPDATE app.visits SET region = 'closed'",
    "UPDATE app.visits SET region = NULL",
    "WITH d AS (DELETE FROM app.regions RETURNING name) SELECT * FROM d",
    "MERGE INTO app.regions r USING (VALUES ('north')) v(n) ON r.name = v.n"
    " WHEN MATCHED THEN DELETE",
    "MERGE INTO app.regions r USING (VALUES ('north')) v(n) ON r.name = v.n"
    " WHEN MATCHED THEN UPDATE SET name = 'closed'",
    "INSERT INTO app.regions VALUES ('north') ON CONFLICT (name) DO UPDATE SET name = 'closed'",
])  # fmt: skip
@pytest.mark.parametrize("simple", [False, True])
def test_a_broken_constraint_does_not_show_the_row_that_broke_it(
    live: Live, text: str, simple: bool
) -> None:
    with live.session("clerk") as s:
        s.ask("SET client_min_messages = debug5")
        s.ask(text) if simple else s.cycles(1, *extended(text), SYNC)
        assert s.errors
        assert SECRET not in s.seen
    assert live.behind("SELECT count(*) FROM app.regions") == "2"
