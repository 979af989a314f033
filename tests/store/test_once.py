"""What is good once: for one caller, on all nodes, for its time."""

import asyncio

import pytest

from taskgate.model import limits
from taskgate.model.errors import OverLimit
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import NOW


async def test_a_name_is_taken_once_until_its_time_is_over(store: Store) -> None:
    assert await store.once.add("a", b"", NOW + 10, NOW)
    assert not await store.once.add("a", b"", NOW + 99, NOW + 9)
    assert await store.once.add("b", b"", NOW + 10, NOW)
    assert await store.once.add("a", b"", NOW + 20, NOW + 10)


async def test_another_node_and_a_restart_remember(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        assert await here.once.add("a", b"", NOW + 10, NOW)
        assert not await there.once.add("a", b"", NOW + 10, NOW)
    async with place.open() as again:
        assert not await again.once.add("a", b"", NOW + 10, NOW)


async def test_one_of_many_at_once_is_first(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        added = await asyncio.gather(
            *(node.once.add("a", b"x", NOW + 10, NOW) for node in (here, there) * 8)
        )
        assert sum(added) == 1
        taken = await asyncio.gather(*(node.once.take("a", NOW) for node in (here, there) * 8))
        assert [one for one in taken if one is not None] == [b"x"]


async def test_a_value_is_taken_once_and_in_time(store: Store) -> None:
    await store.once.add("a", b"value", NOW + 10, NOW)
    assert await store.once.take("other", NOW) is None
    assert await store.once.take("a", NOW + 10) is None
    assert await store.once.take("a", NOW + 9) == b"value"
    assert await store.once.take("a", NOW + 9) is None


@pytest.mark.cap("MAX_ONCE")
async def test_when_there_is_no_room_none_is_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ONCE", 3)
    for name in "abc":
        assert await store.once.add(name, b"", NOW + 10, NOW)
    with pytest.raises(OverLimit):
        await store.once.add("d", b"", NOW + 10, NOW)
    assert await store.once.add("d", b"", NOW + 20, NOW + 10), "those that are over make room"
