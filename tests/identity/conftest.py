"""Nodes on SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from taskgate.model import limits
from tests.identity.around import Node, node
from tests.patience import PATIENCE_S
from tests.store.places import KINDS, Place, new_place


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty database of each kind, for this test alone."""
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Node]:
    """One node, in the middle of things."""
    async with node(place) as made:
        yield made


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of a test's own may be as slow as the machine is."""
    monkeypatch.setattr(limits, "PROVIDER_TIMEOUT_S", PATIENCE_S)
