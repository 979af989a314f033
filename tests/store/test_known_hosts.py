"""Host keys trusted when first seen: the first one stays, on every node and over restarts."""

import asyncio
from dataclasses import replace

from taskgate.model.resource import KnownHost
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import NOW

WEB = KnownHost("web", "web.internal:22", "ssh-ed25519 AAAA", NOW, "local:ann")


async def test_the_first_one_stays(place: Place) -> None:
    other = replace(WEB, key="ssh-ed25519 BBBB", at=NOW + 1, by="local:bob")
    async with place.open() as here, place.open() as there:
        assert await here.known_hosts.get("web", WEB.address) is None
        assert await here.known_hosts.add(WEB) == WEB
        assert await there.known_hosts.add(other) == WEB
        assert await there.known_hosts.get("web", WEB.address) == WEB
    async with place.open() as again:
        assert await again.known_hosts.list() == (WEB,)


async def test_one_of_many_at_once_counts_for_all(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        found = await asyncio.gather(
            *(
                node.known_hosts.add(replace(WEB, key=f"ssh-ed25519 {number}"))
                for number, node in enumerate((here, there) * 8)
            )
        )
    assert len({one.key for one in found}) == 1


async def test_what_is_forgotten_is_a_resource_whole(store: Store) -> None:
    moved = replace(WEB, address="web.internal:2222", key="ssh-ed25519 CCCC")
    other = replace(WEB, resource="db")
    for one in (WEB, moved, other):
        assert await store.known_hosts.add(one) == one
    assert await store.known_hosts.forget("web") == 2
    assert await store.known_hosts.forget("web") == 0
    assert await store.known_hosts.list() == (other,)
    assert await store.known_hosts.add(moved) == moved
