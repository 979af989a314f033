"""One gateway for the promises, before each real server."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import SECOND_LEAD, TASKS
from tests.faults.faulty import Faulty, faulty_gate
from tests.servers import Server, Servers


@pytest.fixture(scope="module")
def promised(pg: Server, servers: Servers) -> Iterator[Faulty]:
    """The gateway, with nothing changed in it."""
    database = pg.new_database("promises", template=servers.shop(pg))
    with faulty_gate(pg, database, TASKS, people=(SECOND_LEAD,)) as gate:
        yield gate
    pg.drop_database(database)
