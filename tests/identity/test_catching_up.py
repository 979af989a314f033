"""A process that stood still asks what it missed before it judges anything."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.identity.following import Follower
from taskgate.model import limits
from taskgate.model.errors import Denied, StoreUnavailable
from taskgate.model.token import GrantSelector
from taskgate.store.following import LoopRevocations, SqliteRevocations
from tests.identity.around import Node, node
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import ANN, NOW


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower looks when it is asked, and a busy machine is waited for."""
    monkeypatch.setattr(limits, "REVOCATION_POLL_S", 3600.0)
    monkeypatch.setattr("taskgate.identity.revocations._CATCH_UP_S", 60.0)


def stand_still(here: Node) -> None:
    here.clock.pass_s(2 * limits.REVOCATION_BLIND_S)
    assert here.grants.blind


async def test_what_still_holds_is_let_through_at_once(place: Place) -> None:
    async with node(place) as here:
        grant = (await here.grants.request(ANN, "sales-report", "why not")).grant
        for _ in range(3):
            stand_still(here)
            here.grants.ensure(grant)
            assert not here.grants.blind


async def test_what_was_revoked_elsewhere_meanwhile_is_refused_at_once(place: Place) -> None:
    async with node(place) as here:
        grant = (await here.grants.request(ANN, "sales-report", "why not")).grant
        await here.store.grants.revoke(GrantSelector(grant_id=grant.id), NOW + 1, "left")
        stand_still(here)
        with pytest.raises(Denied, match="left"):
            here.grants.ensure(grant)


async def test_a_store_that_hangs_is_waited_for_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgate.identity.revocations._CATCH_UP_S", 0.01)
    asked = 0
    ask = Follower.ask

    def counted(follower: Follower) -> object:
        nonlocal asked
        asked += 1
        return ask(follower)

    def hangs(*_: object) -> object:
        time.sleep(0.3)
        raise StoreUnavailable("gone")

    async with node(place) as here:
        grant = (await here.grants.request(ANN, "sales-report", "why not")).grant
        stand_still(here)
        monkeypatch.setattr(Follower, "ask", counted)
        for reader in (SqliteRevocations, LoopRevocations):
            monkeypatch.setattr(reader, "after", hangs)
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                here.grants.ensure(grant)
    assert asked == 1
