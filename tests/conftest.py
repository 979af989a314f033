"""Fixtures that many test folders share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from taskgate.demo import cluster
from tests.servers import MAJORS, Server, Servers

# A change passes or fails by what it is: the same examples each time, however slow the machine.
# `make test-explore` looks for new ones.
settings.register_profile(
    "check", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("explore", settings.get_profile("check"), derandomize=False)
settings.load_profile(os.environ.get("TASKGATE_HYPOTHESIS", "check"))

# Workers look for free ports at the same time: each has its own to find.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
cluster._PORTS = cluster._PORTS[_WORKER::_WORKERS]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Every PostgreSQL server of this run, started on first use."""
    pool = Servers()
    yield pool
    pool.close()


def _server(pool: Servers, major: int) -> Server:
    server = pool.get(major)
    if server is None:
        # `make test` asks for everything; a plain pytest run makes do with what is there.
        if os.environ.get("TASKGATE_TEST_ALL"):
            pytest.fail(f"PostgreSQL {major} is not installed, and this run must test with it")
        pytest.skip(f"PostgreSQL {major} is not installed: apt-get install postgresql-{major}")
    return server


@pytest.fixture(scope="session", params=MAJORS, ids=[f"pg{major}" for major in MAJORS])
def pg(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """A real server; the test runs once with each version."""
    return _server(servers, request.param)


@pytest.fixture(scope="session")
def pg18(servers: Servers) -> Server:
    """The newest server alone, where the version cannot matter."""
    return _server(servers, 18)


@pytest.fixture
def database(pg: Server) -> Iterator[str]:
    """An empty database on `pg` for this test alone; its name."""
    name = pg.new_database()
    yield name
    pg.drop_database(name)


@pytest.fixture
def shop(pg: Server, servers: Servers) -> Iterator[str]:
    """A copy of the demo's shop (schema `shop`, about 1,000 rows) for this test alone; its name."""
    name = pg.new_database("shop", template=servers.shop(pg))
    yield name
    pg.drop_database(name)
