# ruff: noqa: ASYNC110 - what is waited for is in another process, as far as a node can tell
"""Requests that wait for people."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.gateway.hold import Hold, refusal
from taskgate.model import limits
from taskgate.model.approval import Approval, ApprovalState, StandingOffer
from taskgate.model.decision import ApprovalDemand, Outcome
from taskgate.model.errors import (
    BadConfig,
    Conflict,
    Denied,
    NotFound,
    OverLimit,
    StoreUnavailable,
)
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.token import GrantSelector
from tests.gateway.holding import LEADS, UPDATE, Desk, desk
from tests.identity.around import Policies
from tests.identity.clocks import SteppedClock
from tests.patience import PATIENCE_S, within_on_loop
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


async def ask(
    here: Desk, *, session: str = "s-1", demands: tuple[ApprovalDemand, ...] = (LEADS,)
) -> Hold:
    grant = await here.grant()
    return await here.holds.ask(
        UPDATE, here.decision(demands=demands), here.session(grant, session), grant
    )


def soon() -> asyncio.Timeout:
    """Long enough for a busy machine."""
    return asyncio.timeout(PATIENCE_S)


async def test_an_approved_request_may_run_once(here: Desk) -> None:
    hold = await ask(here)
    asked = hold.approval
    assert (asked.text, asked.digest, asked.expires_at) == (UPDATE.text, UPDATE.digest, NOW + 900)
    assert [one.id for one in await here.holds.list()] == [asked.id]
    closed = await here.holds.vote(asked.id, DAN, approve=True)
    async with soon():
        assert await hold.outcome() == closed
    assert refusal(closed) is None
    await hold.take(asked.digest, asked.policy_version)
    with pytest.raises(Denied, match="spent"):
        await hold.take(asked.digest, asked.policy_version)


async def test_a_refusal_ends_it_with_its_reason(here: Desk) -> None:
    hold = await ask(here)
    with pytest.raises(BadConfig, match="needs a reason"):
        await here.holds.vote(hold.approval.id, DAN, approve=False, reason="  ")
    await here.holds.vote(hold.approval.id, DAN, approve=False, reason="not on a Friday")
    async with soon():
        closed = await hold.outcome()
    assert closed.state is ApprovalState.DENIED
    error = refusal(closed)
    assert error is not None
    assert "local:dan denied this request: not on a Friday" in error.message
    with pytest.raises(Denied):
        await hold.take(hold.approval.digest, hold.approval.policy_version)
    with pytest.raises(Conflict):
        await here.holds.vote(hold.approval.id, EVE, approve=True)


@pytest.mark.cap("HOLD_POLL_S")
async def test_a_vote_elsewhere_is_seen_here_within_a_second(place: Place) -> None:
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):
        seen: list[Approval] = []
        there.holds.on_change(seen.append)

        async def attempt() -> float:
            seen.clear()
            hold = await ask(here)
            asked = time.monotonic()
            async with soon():
                while not seen:
                    await asyncio.sleep(0.01)
            heard_s = time.monotonic() - asked
            assert seen == [hold.approval]
            await there.holds.vote(hold.approval.id, DAN, approve=True)
            voted = time.monotonic()
            async with soon():
                closed = await hold.outcome()
            assert closed.state is ApprovalState.APPROVED
            assert [vote.subject_key for vote in closed.votes] == [DAN.key]
            assert seen[-1] == closed
            return max(heard_s, time.monotonic() - voted)

        await within_on_loop(1.0, attempt)


async def test_it_expires_at_its_second_and_not_before(here: Desk) -> None:
    hold = await ask(here)
    here.clock.pass_s(899.999)
    await here.node.grants.poll()
    await here.holds.poll()
    assert not hold.over
    here.clock.pass_s(0.001)
    with pytest.raises(Conflict, match="expired"):
        await here.holds.vote(hold.approval.id, DAN, approve=True)
    await here.holds.poll()
    async with soon():
        closed = await hold.outcome()
    assert closed.state is ApprovalState.EXPIRED
    assert "in time" in str(refusal(closed))
    assert await here.holds.list() == ()


async def test_a_clock_turned_back_does_not_make_it_wait_longer(here: Desk) -> None:
    hold = await ask(here)
    here.clock.pass_s(890)
    here.clock.jump_s(-890)
    here.clock.pass_s(10)
    await here.holds.poll()
    async with soon():
        assert (await hold.outcome()).state is ApprovalState.EXPIRED


async def test_it_never_waits_beyond_the_grant(here: Desk) -> None:
    issued = await here.node.grants.request(ANN, "sales-report", "why not", lasts_s=60)
    hold = await here.holds.ask(UPDATE, here.decision(), here.session(issued.grant), issued.grant)
    assert hold.approval.expires_at == NOW + 60


async def test_the_store_being_gone_never_approves_and_still_expires(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = await ask(here)

    async def gone(*_: object) -> None:
        raise StoreUnavailable("gone")

    for name in ("waiting", "expire", "get", "take"):
        monkeypatch.setattr(here.node.store.approvals, name, gone)
    here.clock.pass_s(900)
    async with soon():
        assert (await hold.outcome()).state is ApprovalState.EXPIRED
    with pytest.raises(StoreUnavailable):
        await hold.take(hold.approval.digest, hold.approval.policy_version)


async def test_a_client_that_gives_up_takes_the_hold_with_it(here: Desk) -> None:
    hold = await ask(here)
    waiting = asyncio.create_task(hold.outcome())
    await asyncio.sleep(0)
    waiting.cancel("the client cancelled it")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with soon():
        while (closed := await here.holds.get(hold.approval.id)).state is ApprovalState.WAITING:
            await asyncio.sleep(0.01)
    assert (closed.state, closed.closed_why) == (
        ApprovalState.CANCELLED,
        "the client cancelled it",
    )
    with pytest.raises(Conflict):
        await here.holds.vote(hold.approval.id, DAN, approve=True)


async def test_one_given_up_while_it_is_being_asked_leaves_nothing_to_approve(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = here.node.store.approvals.add

    added = asyncio.Event()

    async def slow(approval: Approval, of: str) -> bool:
        kept = await add(approval, of)
        added.set()
        await asyncio.sleep(PATIENCE_S)
        return kept

    monkeypatch.setattr(here.node.store.approvals, "add", slow)
    asking = asyncio.create_task(ask(here))
    async with soon():
        await added.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with soon():
        while await here.holds.list():
            await asyncio.sleep(0.01)
    monkeypatch.undo()
    # It counts no more either.
    assert await ask(here)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_revoking_the_grant_cancels_it_at_once(place: Place, elsewhere: bool) -> None:
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):

        async def attempt() -> float:
            hold = await ask(here)
            grants = (there if elsewhere else here).node.grants
            await grants.revoke(GrantSelector(grant_id=hold.approval.grant_id), "left")
            if not elsewhere:
                assert hold.over
            revoked = time.monotonic()
            async with soon():
                closed = await hold.outcome()
            took_s = time.monotonic() - revoked
            assert closed.state is ApprovalState.CANCELLED
            assert closed.closed_why == "the grant has ended: left"
            with pytest.raises(Conflict):
                await there.holds.vote(hold.approval.id, DAN, approve=True)
            return took_s

        await within_on_loop(1.0, attempt)


async def test_an_approval_cannot_be_spent_once_the_grant_is_revoked(here: Desk) -> None:
    hold = await ask(here)
    await here.holds.vote(hold.approval.id, DAN, approve=True)
    await here.node.grants.revoke(GrantSelector(grant_id=hold.approval.grant_id), "left")
    with pytest.raises(Denied):
        await hold.take(hold.approval.digest, hold.approval.policy_version)


async def test_what_has_changed_since_is_not_what_was_approved(here: Desk) -> None:
    hold = await ask(here)
    await here.holds.vote(hold.approval.id, DAN, approve=True)
    with pytest.raises(Denied, match="what the request would do has changed"):
        await hold.take("e" * 64, hold.approval.policy_version)
    with pytest.raises(Denied, match="the policy has changed"):
        await hold.take(hold.approval.digest, "another version")
    await hold.take(hold.approval.digest, hold.approval.policy_version)


async def test_a_new_policy_ends_what_was_asked_under_the_old(here: Desk) -> None:
    first = await ask(here)
    second = await ask(here, session="s-2")
    here.node.policies.change("within: 15m", "within: 14m")
    with pytest.raises(Conflict, match="policy has changed"):
        await here.holds.vote(first.approval.id, DAN, approve=True)
    async with soon():
        for hold in (first, second):
            assert (await hold.outcome()).closed_why == "the policy has changed"


@pytest.mark.cap("MAX_HOLDS", "MAX_HOLDS_PER_SESSION", "MAX_HELD_BYTES")
async def test_caps_for_a_session_a_node_and_what_people_can_read(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ask(here)
    with pytest.raises(OverLimit, match="this session"):
        await ask(here)
    monkeypatch.setattr(limits, "MAX_HOLDS", 1)
    with pytest.raises(OverLimit, match="waiting for people already"):
        await ask(here, session="s-2")
    first.cancel("x")
    grant = await here.grant()
    long = replace(UPDATE, text="x", parameters=("é" * limits.MAX_HELD_BYTES,))
    with pytest.raises(OverLimit, match="asked to read"):
        await here.holds.ask(long, here.decision(), here.session(grant), grant)
    assert await ask(here)


async def test_only_a_hold_that_names_somebody_can_be_asked(here: Desk) -> None:
    grant = await here.grant()
    for decision in (here.decision(outcome=Outcome.PERMIT), here.decision(demands=())):
        with pytest.raises(ValueError, match="HOLD"):
            await here.holds.ask(UPDATE, decision, here.session(grant), grant)


async def test_nothing_is_asked_under_a_grant_that_is_over(here: Desk) -> None:
    grant = await here.grant()
    await here.node.grants.revoke(GrantSelector(grant_id=grant.id), "x")
    with pytest.raises(Denied):
        await here.holds.ask(UPDATE, here.decision(), here.session(grant), grant)
    # Revoked elsewhere, not heard of here yet: the store knows.
    grant = await here.grant()
    await here.node.store.grants.revoke(GrantSelector(grant_id=grant.id), NOW, "x")
    with pytest.raises(Denied):
        await here.holds.ask(UPDATE, here.decision(), here.session(grant), grant)


async def test_a_node_that_died_leaves_nothing_to_approve(place: Place) -> None:
    async with desk(place) as here:
        hold = await ask(here)
        # What a kill leaves behind: the row, and nobody who waits.
        here.holds._here.clear()
    async with desk(place, "node-2") as other:
        assert [one.id for one in await other.holds.list()] == [hold.approval.id]
    async with desk(place) as again:
        assert await again.holds.list() == ()
        assert (await again.holds.get(hold.approval.id)).closed_why == "the gateway was stopped"


async def test_a_clean_stop_cancels_what_waits(place: Place) -> None:
    async with desk(place) as here:
        hold = await ask(here)
    assert (await hold.outcome()).state is ApprovalState.CANCELLED
    async with desk(place, "node-2") as other:
        assert (await other.holds.get(hold.approval.id)).state is ApprovalState.CANCELLED


@pytest.mark.parametrize(
    "demands",
    [
        (replace(LEADS, people=2),),
        (LEADS, replace(LEADS, groups=frozenset({"data-leads", "owners"}))),
    ],
)
async def test_two_people_are_two_people(here: Desk, demands: tuple[ApprovalDemand, ...]) -> None:
    hold = await ask(here, demands=demands)
    both = replace(DAN, groups=frozenset({"data-leads", "owners", "more"}))
    waiting = await here.holds.vote(hold.approval.id, both, approve=True)
    assert waiting.state is ApprovalState.WAITING
    with pytest.raises(Conflict, match="already voted"):
        await here.holds.vote(hold.approval.id, both, approve=True)
    closed = await here.holds.vote(hold.approval.id, EVE, approve=True)
    assert closed.state is ApprovalState.APPROVED


@pytest.mark.parametrize(
    "identity",
    [
        replace(DAN, groups=frozenset()),
        replace(DAN, groups=frozenset({"data-lead", "DATA-LEADS"})),
        replace(DAN, kind=IdentityKind.AGENT),
        replace(DAN, kind=IdentityKind.WORKLOAD),
        replace(DAN, acts_for=EVE),
    ],
)
async def test_only_people_who_are_asked_may_vote(here: Desk, identity: Identity) -> None:
    hold = await ask(here)
    for approve in (True, False):
        with pytest.raises(Denied):
            await here.holds.vote(hold.approval.id, identity, approve=approve, reason="x")
    assert (await here.holds.get(hold.approval.id)).votes == ()


async def test_unknown_approvals_and_long_reasons(here: Desk) -> None:
    with pytest.raises(NotFound):
        await here.holds.vote("a-none", DAN, approve=True)
    hold = await ask(here)
    for reason in ("x" * 1001, "a\x1bb"):
        with pytest.raises(BadConfig):
            await here.holds.vote(hold.approval.id, DAN, approve=True, reason=reason)


async def test_listeners_hear_of_each_change_once_and_stop_when_told(here: Desk) -> None:
    seen: list[tuple[str, ApprovalState]] = []
    here.holds.on_change(lambda _: 1 / 0)  # type: ignore[arg-type]
    stop = here.holds.on_change(lambda one: seen.append((one.id, one.state)))
    hold = await ask(here)
    await here.holds.poll()
    hold.cancel("x")
    async with soon():
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    await here.holds.poll()
    assert seen == [
        (hold.approval.id, ApprovalState.WAITING),
        (hold.approval.id, ApprovalState.CANCELLED),
    ]
    stop()
    await ask(here)
    assert len(seen) == 2


async def more_of_it(here: Desk, offer: StandingOffer) -> Approval:
    hold = await ask(here)
    return await here.holds.vote(hold.approval.id, DAN, approve=True, more=offer)


async def test_more_of_the_same_shape_runs_without_asking_so_often_and_so_long(
    here: Desk,
) -> None:
    hold = await ask(here)
    grant = await here.node.grants.get(hold.approval.grant_id)
    assert grant is not None
    use = (UPDATE, here.decision(), here.session(grant), grant)
    assert await here.holds.use_standing(*use) is None
    await here.holds.vote(hold.approval.id, DAN, approve=True, more=StandingOffer(2, 600.0))
    left = [await here.holds.use_standing(*use) for _ in range(3)]
    assert [one.uses_left if one else None for one in left] == [1, 0, None]

    second = await ask(here, session="s-2")
    closed = await here.holds.vote(
        second.approval.id, DAN, approve=True, more=StandingOffer(9, 60.0)
    )
    other = await here.node.grants.get(closed.grant_id)
    assert other is not None
    use = (UPDATE, here.decision(), here.session(other), other)
    here.clock.pass_s(59.9)
    assert await here.holds.use_standing(*use)
    here.clock.pass_s(0.1)
    assert await here.holds.use_standing(*use) is None


async def test_a_standing_approval_can_be_taken_back(here: Desk) -> None:
    closed = await more_of_it(here, StandingOffer(5, 600.0))
    (standing,) = await here.holds.list_standing()
    assert standing.approval_id == closed.id
    await here.holds.end_standing(standing.id)
    assert await here.holds.list_standing() == ()
    with pytest.raises(NotFound):
        await here.holds.end_standing(standing.id)


@pytest.mark.parametrize(
    "offer",
    [
        StandingOffer(21, 60.0),
        StandingOffer(5, 1801.0),
        StandingOffer(0, 60.0),
        StandingOffer(5, 0.0),
        StandingOffer(5, float("nan")),
    ],
)
async def test_nobody_agrees_to_more_than_the_task_allows(here: Desk, offer: StandingOffer) -> None:
    with pytest.raises(BadConfig, match="in advance"):
        await more_of_it(here, offer)
    assert await here.holds.list_standing() == ()
    assert [one.votes for one in await here.holds.list()] == [()]


async def test_everybody_must_agree_to_more_and_the_least_counts(here: Desk) -> None:
    two = (replace(LEADS, people=2),)
    first = await ask(here, demands=two)
    await here.holds.vote(first.approval.id, DAN, approve=True, more=StandingOffer(5, 600.0))
    await here.holds.vote(first.approval.id, EVE, approve=True)
    assert await here.holds.list_standing() == ()
    second = await ask(here, session="s-2", demands=two)
    await here.holds.vote(second.approval.id, DAN, approve=True, more=StandingOffer(5, 60.0))
    await here.holds.vote(second.approval.id, EVE, approve=True, more=StandingOffer(3, 600.0))
    (standing,) = await here.holds.list_standing()
    assert (standing.uses_left, standing.expires_at) == (3, NOW + 60)


async def test_listeners_hear_of_it_once_however_many_look_at_once(here: Desk) -> None:
    seen: list[ApprovalState] = []
    here.holds.on_change(lambda one: seen.append(one.state))
    grant = await here.grant()

    async def look() -> None:
        for _ in range(10):
            await here.holds.poll()

    hold, *_ = await asyncio.gather(
        here.holds.ask(UPDATE, here.decision(), here.session(grant), grant), look(), look()
    )
    hold.cancel("x")
    async with soon():
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    await asyncio.gather(look(), look())
    assert seen == [ApprovalState.WAITING, ApprovalState.CANCELLED]


@pytest.mark.cap("MAX_WAITING_HOLDS")
async def test_approvers_elsewhere_are_told_of_so_many_at_once_and_of_the_rest_in_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING_HOLDS", 2)
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        desk(place, "node-1", clock, policies) as here,
        desk(place, "node-2", clock, policies) as there,
    ):
        told: set[str] = set()
        there.holds.on_change(lambda one: told.add(one.id))
        asked = []
        for number in range(3):
            asked.append(await ask(here, session=f"s-{number}"))
            # The oldest are told of first; of two of one moment it could be either.
            clock.pass_s(0.001)
        for _ in range(3):
            await there.holds.poll()
        assert len(told) == 2
        first = next(iter(told))
        await there.holds.vote(first, DAN, approve=True)
        await there.holds.poll()
        assert told == {hold.approval.id for hold in asked}
