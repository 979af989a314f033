"""A provider, a gateway's side of it, and a person between them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.identity.saml.around import Around, around
from tests.store.places import Place, new_place


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, "sqlite") as place:
        yield place


@pytest.fixture
async def corp(place: Place, tmp_path: Path) -> AsyncIterator[Around]:
    async with around(place, tmp_path) as made:
        yield made
