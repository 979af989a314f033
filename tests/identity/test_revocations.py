"""Revocations are heard whatever the event loop is doing; a store that is gone is noticed."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from taskgate.identity.revocations import Revocations
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import StoreUnavailable
from taskgate.model.token import GrantSelector, Revocation
from tests.patience import PATIENCE_S, eventually
from tests.store.places import Place, postgres
from tests.store.samples import ANN, NOW, add_grant


def hold_up_the_loop(seconds: float) -> None:
    """Keeps this thread, and with it the loop, busy with Python code."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1_000))


@contextmanager
def gone(place: Place, request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody gets at the store, by old connections or new ones."""
    if place.path is not None:
        away = place.path.rename(place.path.with_suffix(".away"))
        yield
        away.rename(place.path)
        return
    database = make_url(place.url).database
    assert database is not None
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format
    name = sql.Identifier(database)
    with postgres(request).connect() as connection:
        connection.execute(allow(name, sql.SQL("false")))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database,),
        )
        yield
        connection.execute(allow(name, sql.SQL("true")))


async def until_blind(revocations: Revocations, blind: bool) -> None:
    await asyncio.to_thread(eventually, lambda: revocations.blind is blind)


async def test_a_busy_loop_does_not_make_it_blind(place: Place) -> None:
    # Time that counts only while this process has the machine: it is not stalled by others.
    clock = Clock(monotonic=time.process_time)
    async with place.open() as store:
        revocations = Revocations(store.grants, clock)
        async with revocations.following():
            for _ in range(8):
                hold_up_the_loop(0.3)
                assert not revocations.blind
                revocations.ensure_sighted()
                await asyncio.sleep(0)


async def test_a_revocation_elsewhere_counts_before_the_loop_gets_to_it(place: Place) -> None:
    async with place.open() as store:
        ended = await add_grant(store)
        revocations = Revocations(store.grants, Clock())
        told: list[tuple[frozenset[str], str]] = []
        revocations.on_end(lambda ids, why: told.append((ids, why)))

        async def revoke() -> None:
            async with place.open() as other:
                await other.grants.revoke(GrantSelector(person=ANN.key), NOW + 1, "left")

        async with revocations.following():
            assert revocations.ended(ended.id) is None
            node = threading.Thread(target=asyncio.run, args=(revoke(),))
            node.start()
            # The loop does not turn once until it is known.
            node.join(PATIENCE_S)
            end = time.monotonic() + PATIENCE_S
            while revocations.ended(ended.id) is None:
                assert time.monotonic() < end
                hold_up_the_loop(0.01)
            assert revocations.ended(ended.id) == "left"
            assert told == []
            await revocations.poll()
            assert told == [(frozenset({ended.id}), "left")]
            assert revocations.ended(ended.id) == "left"


async def test_a_store_that_is_gone_makes_it_blind_until_it_is_back(
    place: Place, request: pytest.FixtureRequest
) -> None:
    async with place.open() as store:
        ended = await add_grant(store)
        revocations = Revocations(store.grants, Clock())
        async with revocations.following():
            with gone(place, request):
                await until_blind(revocations, True)
                with pytest.raises(StoreUnavailable):
                    revocations.ensure_sighted()
                with pytest.raises(StoreUnavailable):
                    await revocations.poll()
                assert revocations.blind
            await until_blind(revocations, False)
            async with place.open() as other:
                await other.grants.revoke(GrantSelector(person=ANN.key), NOW + 1, "left")
            await revocations.poll()
            assert revocations.ended(ended.id) == "left"


async def test_a_store_that_is_locked_makes_it_blind(
    place: Place, request: pytest.FixtureRequest
) -> None:
    if place.path is not None:
        pytest.skip("no lock of SQLite's keeps readers of a write-ahead log out")
    server = postgres(request)
    database = make_url(place.url).database
    assert database is not None
    async with place.open() as store:
        revocations = Revocations(store.grants, Clock())
        async with revocations.following():
            holder: psycopg.Connection[tuple[object, ...]]
            with server.connect(database) as holder, holder.transaction():
                holder.execute("LOCK TABLE revocations IN ACCESS EXCLUSIVE MODE")
                await until_blind(revocations, True)
            await until_blind(revocations, False)


async def test_nobody_is_vouched_for_before_the_start_nor_after_the_end(
    place: Place, request: pytest.FixtureRequest
) -> None:
    async with place.open() as store:
        revocations = Revocations(store.grants, Clock())
        assert revocations.blind
        with pytest.raises(StoreUnavailable):
            await revocations.poll()
        async with revocations.following():
            assert not revocations.blind
        assert revocations.blind
        with gone(place, request), pytest.raises(StoreUnavailable):
            async with revocations.following():
                raise AssertionError("it began without a store")
        assert not [t for t in threading.enumerate() if t.name == "follow revocations"]


@pytest.mark.cap("MAX_REMEMBERED_ENDS")
async def test_so_many_ends_are_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED_ENDS", 2)
    async with place.open() as store:
        revocations = Revocations(store.grants, Clock())
        ends = [Revocation(number, f"g-{number}", NOW, "left") for number in (1, 2, 3)]
        revocations.apply(ends[:2])
        assert [revocations.ended(one.grant_id) for one in ends] == ["left", "left", None]
        revocations.apply(ends[2:])
        # The oldest is not asked for any more: its token was refused by the store since.
        assert [revocations.ended(one.grant_id) for one in ends] == [None, "left", "left"]
