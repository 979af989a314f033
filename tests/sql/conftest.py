"""Real servers with `world.sql` in them."""

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.sql.analyse import Analysis, SessionNames, analyse
from taskgate.sql.catalog import Catalog, catalog_query, parse_catalog_answer
from taskgate.sql.script import parse_script
from tests.servers import Server
from tests.sql.world import SQL


class LiveWorld:
    """A database with the world in it, and the analysis over it."""

    def __init__(self, server: Server, database: str) -> None:
        self.server = server
        self.database = database
        self.connection = server.connect(database)
        self.connection.execute(SQL.read_bytes())
        self.catalog = Catalog()

    def analysed(
        self, text: str, connection: "psycopg.Connection[tuple[object, ...]] | None" = None
    ) -> Analysis:
        """The whole loop, names looked up over `connection` (the superuser's by default)."""
        script = parse_script(text)
        catalog = self.catalog if connection is None else Catalog()
        for _ in range(40):
            found = analyse(script, catalog, SessionNames())
            if isinstance(found, Analysis):
                return found
            row = (
                (connection or self.connection)
                .execute(catalog_query(found.names).encode())
                .fetchone()
            )
            assert row is not None
            catalog.add(parse_catalog_answer(str(row[0])), now=0.0)
        raise AssertionError("names are asked for without end")


@pytest.fixture(scope="module")
def live(pg: Server) -> Iterator[LiveWorld]:
    """The world on a real server, for tests that leave it as it is."""
    name = pg.new_database("world")
    world = LiveWorld(pg, name)
    yield world
    world.connection.close()
    pg.drop_database(name)
