"""Stores to test on: SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from taskgate.store.open import Store
from tests.store.places import KINDS, Place, new_place


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
