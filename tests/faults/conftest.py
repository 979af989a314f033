"""One gateway for the faults that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import TASKS
from tests.faults.faulty import Faulty, faulty_gate
from tests.servers import MAJORS, Server, Servers


@pytest.fixture(scope="session", params=MAJORS[:1], ids=[f"pg{major}" for major in MAJORS[:1]])
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """One server version: how the gate fails does not depend on it."""
    found = servers.get(request.param) or servers.get(MAJORS[-1])
    if found is None:
        pytest.skip("no PostgreSQL is installed")
    return found


@pytest.fixture(scope="session")
def shop_database(server: Server, servers: Servers) -> Iterator[str]:
    """The shop, for all tests here."""
    name = server.new_database("faults", template=servers.shop(server))
    yield name
    server.drop_database(name)


@pytest.fixture(scope="session")
def faulty(server: Server, shop_database: str) -> Iterator[Faulty]:
    """The gateway; it has little patience with those who sign in, and time enough for whoever does
    so on a busy machine."""
    limits = {"LOGIN_TIMEOUT_S": 6.0, "MAX_UNAUTHENTICATED": 100}
    with faulty_gate(server, shop_database, TASKS, limits=limits) as gate:
        yield gate


@pytest.fixture(scope="session")
def patient(server: Server, shop_database: str) -> Iterator[Faulty]:
    """Another, with the limits that it comes with."""
    with faulty_gate(server, shop_database, TASKS) as gate:
        yield gate
