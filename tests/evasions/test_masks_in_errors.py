"""Masked means gone from errors and notices too: what real servers quote, nobody is told."""

from collections.abc import Iterator

import pytest

from taskgate.protocols.postgres.notices import scrub_fields
from tests.protocols.postgres.reports import SECRET, Connection, people, said
from tests.servers import Server

# Statements whose error or notice quotes the masked value, or might.
QUOTING = [
    "SELECT email::int FROM people", "SELECT email::regclass FROM people",
    "SELECT email::regtype FROM people", "SELECT email::regproc FROM people",
    "SELECT email::regrole FROM people", "SELECT email::regnamespace FROM people",
    "SELECT email::regconfig FROM people", "SELECT email::date FROM people",
    "SELECT email::uuid FROM people", "SELECT email::json FROM people",
    "SELECT email::numeric FROM people", "SELECT email::bool FROM people",
    "SELECT email::inet FROM people", "SELECT email::mailless FROM people",
    "SELECT email::jsonpath FROM people", "SELECT email::people FROM people",
    "SELECT nextval(email) FROM people", "SELECT current_setting(email) FROM people",
    "SELECT has_table_privilege(email, 'people', 'select') FROM people",
    "SELECT query_to_xml('SELECT \"' || email || '\"', true, true, '') FROM people",
    "SELECT ts_stat(email) FROM people", "SELECT pg_get_viewdef(email) FROM people",
    "SELECT set_config('statement_timeout', email, false) FROM people",
    "SELECT pg_size_bytes(email) FROM people", "SELECT encode('', email) FROM people",
    "SELECT convert_from('', email) FROM people", "SELECT to_timestamp(email, 'YYYY') FROM people",
    "INSERT INTO people VALUES (2, 'jane@example.com', 1, 'x')",
    "INSERT INTO people VALUES (2, 'jane@example.com', -1, 'x')",
    "INSERT INTO people VALUES (2, 'jane@example.com', 1, NULL)",
    "INSERT INTO people SELECT id, email, age, name FROM people",
    "UPDATE people SET age = -age", "UPDATE people SET name = NULL",
    "SELECT told()", "SELECT dynamic()", "SELECT unparsable()", "SELECT cast_inside()",
    "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM people; RAISE NOTICE '%', e; END $$",
    "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM people; RAISE WARNING '%', e; END $$",
    "COPY (SELECT email::int FROM people) TO STDOUT",
]  # fmt: skip

# Parts of the value, as errors cut it.
PARTS = ("jane", "example", "@")


@pytest.fixture(scope="module")
def connection(pg: Server) -> Iterator[Connection]:
    """Every case ends in an error, so that one table serves them all."""
    name = pg.new_database("masks_in_errors")
    with people(pg.connect(name)) as opened:
        yield opened
    pg.drop_database(name)


@pytest.mark.parametrize("statement", QUOTING)
def test_no_part_of_a_masked_value_is_told(connection: Connection, statement: str) -> None:
    reports = said(connection, statement)
    assert reports, "the server says nothing: the case is no case"
    for report in reports:
        got = scrub_fields(report, tainted=True)
        texts = [text for code, text in got if code not in "SVCFLR"]
        for part in (SECRET, *PARTS):
            assert not any(part in text for text in texts), (statement, report)


def test_the_position_of_a_character_within_a_masked_value_is_not_told(
    connection: Connection,
) -> None:
    """A cast to regtype reports where in the value the syntax error is."""
    [report] = said(connection, "SELECT email::regtype FROM people")
    assert dict(report)["P"] == "5"
    assert "P" not in dict(scrub_fields(report, tainted=True))
