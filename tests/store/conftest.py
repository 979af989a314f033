"""Stores to test on: SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from taskgate.model import limits
from taskgate.store import database
from taskgate.store.open import Store
from tests.patience import PATIENCE_S
from tests.store.places import KINDS, Place, new_place


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes at the same moment as many others waits on a busy machine, and is not refused."""
    monkeypatch.setattr(limits, "STORE_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(database, "_LOCK_WAIT_S", PATIENCE_S / 2)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty database of each kind, for this test alone."""
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """A node on `place`."""
    async with place.open() as store:
        yield store
