"""The store's approvals: votes, single use, standing approvals, and who wins a race."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace

import pytest

from taskgate.model.approval import Approval, ApprovalState, StandingApproval, StandingOffer, Vote
from taskgate.model.errors import Conflict, NotFound
from taskgate.model.ids import new_id
from taskgate.model.token import GrantSelector
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import DAN, EVE, NOW, add_grant, approval

Settled = tuple[ApprovalState, StandingApproval | None]


def vote(who: str = DAN.key, at: float = NOW + 1, *, approve: bool = True) -> Vote:
    return Vote(who, approve, "seen", at, DAN.groups, StandingOffer(2, 60.0))


def after(people: int) -> "SettleAfter":
    return SettleAfter(people)


class SettleAfter:
    """Approves with so many votes; counts how often it did."""

    def __init__(self, people: int) -> None:
        self.people = people
        self.closed = 0

    def __call__(self, approval: Approval) -> Settled:
        if len(approval.votes) < self.people:
            return ApprovalState.WAITING, None
        self.closed += 1
        return ApprovalState.APPROVED, None


async def ask(store: Store, **changes: object) -> Approval:
    made = approval(await add_grant(store), **changes)
    assert await store.approvals.add(made, "node-1")
    return made


async def test_an_approval_comes_back_as_it_went_in(store: Store) -> None:
    text = "select '\ud800\0é' -- whatever a client sends"
    made = await ask(store, text=text, parameters=("a\0b", None, "\udfff"))
    assert await store.approvals.get(made.id) == made
    assert await store.approvals.find(ApprovalState.WAITING, 10) == (made,)
    assert await store.approvals.find(ApprovalState.DENIED, 10) == ()
    assert await store.approvals.waiting(10) == (made.id,)


async def test_nothing_is_asked_under_a_grant_that_is_over(store: Store) -> None:
    grant = await add_grant(store)
    assert not await store.approvals.add(approval(grant, asked_at=grant.expires_at), "n")
    await store.grants.revoke(GrantSelector(grant_id=grant.id), NOW, "x")
    assert not await store.approvals.add(approval(grant), "n")


async def test_a_vote_is_kept_with_what_it_settles(store: Store) -> None:
    made = await ask(store)
    closed = await store.approvals.vote(made.id, vote(), after(1))
    assert closed == replace(made, state=ApprovalState.APPROVED, closed_at=NOW + 1, votes=(vote(),))
    assert await store.approvals.get(made.id) == closed


async def test_a_vote_that_settle_refuses_leaves_no_trace(store: Store) -> None:
    made = await ask(store)

    def refuse(_approval: Approval) -> Settled:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.approvals.vote(made.id, vote(), refuse)
    assert await store.approvals.get(made.id) == made


async def test_one_person_votes_once(store: Store) -> None:
    made = await ask(store)
    await store.approvals.vote(made.id, vote(), after(2))
    with pytest.raises(Conflict, match="already voted"):
        await store.approvals.vote(made.id, vote(), after(2))


async def test_nobody_votes_on_what_is_over_or_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.approvals.vote("a-none", vote(), after(1))
    made = await ask(store)
    assert await store.approvals.close(made.id, ApprovalState.CANCELLED, NOW + 1, "gone")
    with pytest.raises(Conflict, match="already cancelled"):
        await store.approvals.vote(made.id, vote(), after(1))


@pytest.mark.parametrize(("at", "counts"), [(899.999, True), (900.0, False), (-0.001, False)])
async def test_a_vote_counts_until_the_exact_end(store: Store, at: float, counts: bool) -> None:
    made = await ask(store)
    if counts:
        await store.approvals.vote(made.id, vote(at=NOW + at), after(1))
    else:
        with pytest.raises(Conflict, match="expired"):
            await store.approvals.vote(made.id, vote(at=NOW + at), after(1))


async def test_no_vote_counts_once_the_grant_is_revoked(store: Store) -> None:
    made = await ask(store)
    await store.grants.revoke(GrantSelector(grant_id=made.grant_id), NOW, "x")
    with pytest.raises(Conflict, match="grant"):
        await store.approvals.vote(made.id, vote(), after(1))


async def test_expire_closes_what_is_due_and_nothing_else(store: Store) -> None:
    due, later = await ask(store), await ask(store, expires_at=NOW + 901)
    assert await store.approvals.expire(NOW + 899.9) == ()
    assert await store.approvals.expire(NOW + 900) == (due.id,)
    assert await store.approvals.waiting(9) == (later.id,)
    closed = await store.approvals.get(due.id)
    assert closed is not None
    assert (closed.state, closed.closed_at) == (ApprovalState.EXPIRED, NOW + 900)


async def test_closing_by_grant_and_by_node_leaves_others(store: Store) -> None:
    first, second = await ask(store), await ask(store)
    third = approval(await add_grant(store))
    assert await store.approvals.add(third, "node-2")
    assert await store.approvals.close_grant(first.grant_id, NOW, "revoked") == (first.id,)
    assert await store.approvals.close_node("node-1", NOW, "died") == (second.id,)
    assert await store.approvals.waiting(9) == (third.id,)


async def test_two_votes_at_once_are_both_counted(place: Place) -> None:
    # Without a lock on the approval each would see its own vote only, and neither would close it.
    async with place.open() as first, place.open() as second:
        for _ in range(10):
            made = await ask(first)
            settle = after(2)
            await asyncio.gather(
                first.approvals.vote(made.id, vote(DAN.key), settle),
                second.approvals.vote(made.id, vote(EVE.key), settle),
            )
            closed = await first.approvals.get(made.id)
            assert closed is not None
            assert closed.state is ApprovalState.APPROVED
            assert settle.closed == 1


async def test_the_same_person_twice_at_once_is_one_vote(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        made = await ask(first)
        results = await asyncio.gather(
            *(node.approvals.vote(made.id, vote(), after(2)) for node in (first, second) * 3),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Approval) for one in results) == 1
        assert sum(isinstance(one, Conflict) for one in results) == 5
        waiting = await first.approvals.get(made.id)
        assert waiting is not None
        assert waiting.state is ApprovalState.WAITING


async def test_of_an_approval_and_a_cancel_at_once_one_wins(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        for _ in range(5):
            made = await ask(first)
            voted, cancelled = await asyncio.gather(
                first.approvals.vote(made.id, vote(), after(1)),
                second.approvals.close(made.id, ApprovalState.CANCELLED, NOW + 1, "gone"),
                return_exceptions=True,
            )
            assert isinstance(voted, Approval) is not (cancelled is True)


async def approved(store: Store) -> Approval:
    made = await ask(store)
    return await store.approvals.vote(made.id, vote(), after(1))


async def test_an_approval_is_spent_once(store: Store) -> None:
    made = await approved(store)
    spend = (made.id, made.session_id, made.digest, made.policy_version, NOW + 2)
    assert await store.approvals.take(*spend)
    assert not await store.approvals.take(*spend)


async def test_of_many_uses_at_once_one_wins(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        made = await approved(first)
        taken = await asyncio.gather(
            *(
                node.approvals.take(
                    made.id, made.session_id, made.digest, made.policy_version, NOW + 2
                )
                for node in (first, second) * 5
            )
        )
        assert sum(taken) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"session_id": "s-2"},
        {"digest": "e" * 64},
        {"policy_version": "v2"},
        {"now": NOW + 62},
        {"now": NOW + 3600},
    ],
)
async def test_an_approval_is_for_one_session_digest_policy_and_minute(
    store: Store, changed: dict[str, object]
) -> None:
    made = await approved(store)
    spend = {
        "session_id": made.session_id,
        "digest": made.digest,
        "policy_version": made.policy_version,
        "now": NOW + 2,
    }
    assert not await store.approvals.take(made.id, **{**spend, **changed})  # type: ignore[arg-type]
    assert await store.approvals.take(made.id, **spend)  # type: ignore[arg-type]


async def test_a_waiting_approval_and_one_of_a_revoked_grant_cannot_be_spent(
    store: Store,
) -> None:
    waiting = await ask(store)
    assert not await store.approvals.take(
        waiting.id, waiting.session_id, waiting.digest, waiting.policy_version, NOW + 1
    )
    made = await approved(store)
    await store.grants.revoke(GrantSelector(grant_id=made.grant_id), NOW + 1, "x")
    assert not await store.approvals.take(
        made.id, made.session_id, made.digest, made.policy_version, NOW + 2
    )


async def standing(store: Store, uses: int, lasts_s: float = 600.0) -> Approval:
    made = await ask(store)

    def settle(asked: Approval) -> Settled:
        return ApprovalState.APPROVED, StandingApproval(
            new_id("sa"),
            asked.id,
            asked.grant_id,
            asked.shape,
            asked.rule,
            asked.policy_version,
            NOW + lasts_s,
            uses,
        )

    return await store.approvals.vote(made.id, vote(), settle)


def use(
    store: Store, made: Approval, at: float = 2.0, fits: Mapping[str, str] | None = None
) -> Coroutine[None, None, StandingApproval | None]:
    bound = {
        "grant_id": made.grant_id,
        "resource": made.resource,
        "shape": made.shape,
        "rule": made.rule,
        "policy_version": made.policy_version,
    }
    return store.approvals.use_standing(**{**bound, **(fits or {})}, now=NOW + at)


async def test_a_standing_approval_counts_down_to_nothing(store: Store) -> None:
    made = await standing(store, 2)
    first = await use(store, made)
    assert first is not None
    assert (first.uses_left, first.resource) == (1, made.resource)
    assert await store.approvals.find_standing(NOW + 2, 9) == (first,)
    second = await use(store, made)
    assert second is not None
    assert second.uses_left == 0
    assert await use(store, made) is None
    assert await store.approvals.find_standing(NOW + 2, 9) == ()


async def test_a_standing_approval_ends_at_the_exact_second(store: Store) -> None:
    made = await standing(store, 9)
    assert await use(store, made, at=599.999) is not None
    assert await use(store, made, at=600.0) is None


@pytest.mark.parametrize("what", ["grant_id", "resource", "shape", "rule", "policy_version"])
async def test_a_standing_approval_is_bound(store: Store, what: str) -> None:
    made = await standing(store, 9)
    other = await add_grant(store)
    assert await use(store, made, fits={what: other.id}) is None


async def test_a_standing_approval_ends_with_its_grant_or_by_hand(store: Store) -> None:
    made = await standing(store, 9)
    found = await store.approvals.find_standing(NOW + 2, 9)
    assert await store.approvals.end_standing(found[0].id, NOW + 3)
    assert not await store.approvals.end_standing(found[0].id, NOW + 3)
    assert await use(store, made) is None
    made = await standing(store, 9)
    await store.grants.revoke(GrantSelector(grant_id=made.grant_id), NOW + 1, "x")
    assert await use(store, made) is None


async def test_of_many_uses_at_once_so_many_win_as_are_left(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        made = await standing(first, 3)
        used = await asyncio.gather(*(use(node, made) for node in (first, second) * 4))
        assert sorted(one.uses_left for one in used if one is not None) == [0, 1, 2]
