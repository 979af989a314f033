"""Verdict: refused. What was approved is what runs: once, soon, by its own session."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.gateway.hold import Hold
from taskgate.model import limits
from taskgate.model.action import Request
from taskgate.model.approval import ApprovalState, StandingOffer
from taskgate.model.errors import Conflict, Denied
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.token import GrantSelector
from tests.gateway.holding import UPDATE, Desk, desk
from tests.identity.around import Policies
from tests.identity.clocks import SteppedClock
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import ANN, DAN, EVE, NOW


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Desk]:
    async with desk(place) as made:
        yield made


async def held(here: Desk, session: str = "s-1") -> tuple[Hold, Grant]:
    grant = await here.grant()
    hold = await here.holds.ask(UPDATE, here.decision(), here.session(grant, session), grant)
    return hold, grant


async def approved(here: Desk, session: str = "s-1") -> Hold:
    hold, _ = await held(here, session)
    await here.holds.vote(hold.approval.id, DAN, approve=True)
    return hold


async def test_refused_when_a_view_was_swapped_between_hold_and_run(here: Desk) -> None:
    # The digest covers what names resolve to: a swapped view is another digest.
    hold = await approved(here)
    with pytest.raises(Denied, match="would do has changed"):
        await hold.take("0" * 64, hold.approval.policy_version)


async def test_refused_when_the_policy_was_loosened_between_hold_and_run(here: Desk) -> None:
    hold = await approved(here)
    here.node.policies.change("people: 1, within", "people: 2, within")
    with pytest.raises(Denied, match="policy has changed"):
        await hold.take(hold.approval.digest, here.node.policies.current.version)


async def test_refused_for_another_session_with_the_same_request(here: Desk) -> None:
    mine, other = await approved(here, "s-1"), (await held(here, "s-2"))[0]
    # The second session holds the same text, digest and grantee, but nobody approved it.
    with pytest.raises(Denied):
        await other.take(mine.approval.digest, mine.approval.policy_version)
    assert other.approval.id != mine.approval.id


async def test_refused_the_second_time_also_for_both_at_once_on_two_nodes(place: Place) -> None:
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):
        hold = await approved(here)
        twin = Hold(hold.approval, there.holds)
        results = await asyncio.gather(
            *(
                one.take(hold.approval.digest, hold.approval.policy_version)
                for one in (hold, twin) * 4
            ),
            return_exceptions=True,
        )
        assert results.count(None) == 1
        assert sum(isinstance(one, Denied) for one in results) == 7


@pytest.mark.cap("APPROVAL_USE_S")
async def test_refused_long_after_it_was_approved(here: Desk) -> None:
    hold = await approved(here)
    here.clock.pass_s(limits.APPROVAL_USE_S)
    with pytest.raises(Denied):
        await hold.take(hold.approval.digest, hold.approval.policy_version)


async def test_refused_when_a_denial_and_an_approval_race(place: Place) -> None:
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):
        for number in range(5):
            hold, _ = await held(here, f"s-{number}")
            results = await asyncio.gather(
                here.holds.vote(hold.approval.id, DAN, approve=True),
                there.holds.vote(hold.approval.id, EVE, approve=False, reason="no"),
                return_exceptions=True,
            )
            assert sum(isinstance(one, Conflict) for one in results) == 1
            closed = await here.holds.get(hold.approval.id)
            assert len(closed.votes) == 1
            assert (closed.state is ApprovalState.APPROVED) is closed.votes[0].approve


async def test_refused_when_the_grant_ended_between_approval_and_run(here: Desk) -> None:
    for end in ("revoked", "expired"):
        hold = await approved(here, end)
        if end == "revoked":
            selector = GrantSelector(grant_id=hold.approval.grant_id)
            # On another node: this one has not heard of it yet.
            await here.node.store.grants.revoke(selector, NOW, "x")
        else:
            here.clock.pass_s(3600)
        with pytest.raises(Denied):
            await hold.take(hold.approval.digest, hold.approval.policy_version)


@pytest.mark.parametrize(
    "changed",
    [
        {"request": replace(UPDATE, shape="6" * 64)},
        {"rule": "sales-report/hold[1]"},
        {"resource": "archive"},
        {"grant": "another of the same person"},
        {"grant": "somebody else's"},
        {"policy": "changed"},
    ],
)
async def test_held_anew_when_a_standing_approval_was_for_something_else(
    here: Desk, changed: dict[str, object]
) -> None:
    hold, grant = await held(here)
    await here.holds.vote(hold.approval.id, DAN, approve=True, more=StandingOffer(9, 600.0))
    decision, session = here.decision(), here.session(grant)
    assert await here.holds.use_standing(UPDATE, decision, session, grant)
    request = changed.get("request", UPDATE)
    assert isinstance(request, Request)
    if "rule" in changed:
        decision = here.decision(rule=changed["rule"])
    if "resource" in changed:
        session = replace(session, resource="archive")
    if "policy" in changed:
        here.node.policies.change("within: 15m", "within: 14m")
        decision = here.decision()
    if "grant" in changed:
        mine = changed["grant"] == "another of the same person"
        carl = Identity("carl", authenticated_at=NOW - 1)
        grant = await here.grant(ANN if mine else carl)
        session = here.session(grant)
    assert await here.holds.use_standing(request, decision, session, grant) is None


async def test_held_anew_when_uses_race_for_the_last_one_on_two_nodes(place: Place) -> None:
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):
        hold, grant = await held(here)
        await here.holds.vote(hold.approval.id, DAN, approve=True, more=StandingOffer(1, 600.0))
        used = await asyncio.gather(
            *(
                one.holds.use_standing(UPDATE, one.decision(), one.session(grant), grant)
                for one in (here, there) * 4
            )
        )
        assert sum(one is not None for one in used) == 1
