"""What the analysis promises, measured on real servers with random queries.

Two databases hold the same rows but for secret columns. A query that compares no secret column must
not tell them apart: the same rows in the same order, but for outputs whose lineage has a secret in
it, and the same success or failure. And a role that holds just the privileges which the query's
actions name must be able to run it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import psycopg
import pytest
from psycopg import sql

from taskgate.sql.analyse import StatementFacts
from tests.servers import Server
from tests.sql.conftest import LiveWorld
from tests.sql.random_queries import random_query

SECRET = {("sales.customers", "email"), ("sales.customers", "salary"), ("app.people", "email")}
# Raise for a longer hunt; a new defect shows within some thousands.
QUERIES = 250
Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(slots=True)
class Pair:
    """The two databases; `tally` counts what the queries exercised."""

    world: LiveWorld
    first: Connection
    second: Connection
    tally: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.tally[what] = self.tally.get(what, 0) + 1


def _fill(connection: Connection, secrets: Random) -> None:
    rows = Random(7)
    connection.execute("truncate sales.customers, sales.items, sales.cards cascade")
    for at in range(1, 9):
        connection.execute(
            "insert into sales.customers values (%s, %s, %s, %s, %s, %s)",
            (
                at,
                rows.choice(("Ann", "Bob", "Cy", "Dee")),
                secrets.choice((f"a{at}@x.com", f"b@y.org{at}", f"zed{at}", f"abba@b{at}", None)),
                rows.choice(("1", "2", "3")),
                rows.choice(("EU", "EU", "US")),
                secrets.choice((0, 1, 10, 10.5, None, 99, -5)),
            ),
        )
    for at in range(1, 13):
        connection.execute(
            "insert into sales.orders (id, customer_id, total, status) values (%s, %s, %s, %s)",
            (at, rows.randint(1, 8), rows.choice((5, 10.5, 20)), rows.choice(("new", "paid"))),
        )
    for at in range(1, 9):
        connection.execute(
            "insert into sales.items values (%s, %s, %s)", (at, rows.choice("st"), at % 3)
        )
    for at in range(1, 5):
        email = secrets.choice(("p@q", "r@s", "a@a", None))
        connection.execute("insert into app.people values (%s, %s)", (at, email))
    connection.execute(
        "insert into app.staff values (9, %s, 'b')", (secrets.choice(("st@ff", "other")),)
    )
    connection.execute("insert into t values (1, 'a'), (2, 'b'), (3, null)")
    connection.execute("set max_parallel_workers_per_gather = 0")


@pytest.fixture(scope="module")
def pair(pg: Server) -> Iterator[Pair]:
    names = [pg.new_database("first"), pg.new_database("second")]
    worlds = [LiveWorld(pg, name) for name in names]
    for at, world in enumerate(worlds):
        _fill(world.connection, Random(at + 1))
    yield Pair(worlds[0], worlds[0].connection, worlds[1].connection)
    for world in worlds:
        world.connection.close()
        pg.drop_database(world.database)


def _run(connection: Connection, text: str) -> tuple[list[tuple[object, ...]], str]:
    connection.execute("set statement_timeout = '2s'")
    try:
        return connection.execute(text.encode()).fetchall(), ""
    except psycopg.Error as error:
        return [], error.sqlstate or "?"
    finally:
        connection.execute("set statement_timeout = 0")


def _privileges(pair: Pair, text: str, facts: StatementFacts) -> str:
    """The error of a role that holds what the named actions say, if it is one of privileges."""
    connection = pair.first
    with connection.transaction(force_rollback=True):
        connection.execute("create role reader")
        connection.execute("grant usage on schema sales, app, public to reader")
        for action in facts.actions:
            if action.verb != "select" or action.via:
                continue
            table = sql.Identifier(*action.object.split("."))
            # Counting rows takes a privilege on some column.
            columns = action.columns or _first_column(connection, action.object)
            connection.execute(
                sql.SQL("grant select ({}) on {} to reader").format(
                    sql.SQL(", ").join(sql.Identifier(c) for c in columns), table
                )
            )
        connection.execute("set local role reader")
        try:
            connection.execute(b"explain " + text.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            return str(error)
        except psycopg.Error:
            return ""
    return ""


def _first_column(connection: Connection, name: str) -> tuple[str, ...]:
    row = connection.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum = 1", (name,)
    ).fetchone()
    assert row is not None
    return (str(row[0]),)


def _check(pair: Pair, text: str) -> None:
    (facts,) = pair.world.analysed(text).statements
    assert not facts.unclear, text
    first, first_error = _run(pair.first, text)
    second, second_error = _run(pair.second, text)
    if first_error.startswith("42") or "57014" in (first_error, second_error):
        pair.count("invalid")
        return
    assert not _privileges(pair, text, facts), text
    if facts.outputs is not None and first:
        assert len(facts.outputs) == len(first[0]), text
    if {(a.object, c) for a in facts.actions for c in a.compared} & SECRET:
        pair.count("compared")
        return
    pair.count("uncompared")
    assert first_error == second_error, text
    assert len(first) == len(second), text
    for at, one in enumerate(facts.outputs or ()):
        if one.sources is None or {(r.relation, r.column) for r in one.sources} & SECRET:
            pair.count("secret output")
            continue
        assert [r[at] for r in first] == [r[at] for r in second], (one.name, text)


def test_random_queries_tell_no_secret(pair: Pair) -> None:
    for seed in range(QUERIES):
        _check(pair, random_query(seed))
    # The queries must have been of use.
    assert pair.tally["uncompared"] > QUERIES / 4
    assert pair.tally["compared"] > QUERIES / 20
    assert pair.tally["secret output"] > QUERIES / 50


@pytest.mark.parametrize(
    "text",
    [
        "select id from sales.customers where email like 'a%'",
        "select id from sales.customers order by email",
        "select 1 / (ascii(email) - 97) from sales.customers where id = 1",
        "select count(*) from (select distinct email from sales.customers) x",
        "select generate_series(1, length(email)) from sales.customers",
        "select id, row_number() over (order by email) from sales.customers",
    ],
)
def test_the_two_databases_can_be_told_apart_by_comparing(pair: Pair, text: str) -> None:
    """The measure itself measures: what is compared does differ."""
    first, second = _run(pair.first, text), _run(pair.second, text)
    assert first != second
    (facts,) = pair.world.analysed(text).statements
    assert {(a.object, c) for a in facts.actions for c in a.compared} & SECRET
