"""Uses of break-glass in the store: each step is taken once."""

import asyncio
from dataclasses import replace

import pytest

from taskgate.model import limits
from taskgate.model.approval import Vote
from taskgate.model.break_glass import Alert, BreakGlass, BreakGlassState
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import Conflict
from taskgate.model.identity import Identity
from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors
from taskgate.store.open import Store
from tests.store.samples import NOW

REVIEW = ApprovalDemand(frozenset({"security"}), frozenset(), 1, 60.0)
ONE = BreakGlass(
    id="bg-1", identity=Identity("ann", authenticated_at=NOW - 5), task="repair", reason="down",
    resources=("shop",), lasts_s=60.0, asked_at=NOW, expires_at=NOW + 60, second=REVIEW,
    review=REVIEW, state=BreakGlassState.WAITING,
)  # fmt: skip


async def test_it_is_kept_as_it_was(store: Store) -> None:
    assert await store.break_glass.add(ONE, 5)
    assert await store.break_glass.get("bg-1") == ONE
    assert await store.break_glass.find(settled=False, limit=10) == (ONE,)


async def test_each_step_is_taken_once(store: Store) -> None:
    await store.break_glass.add(replace(ONE, state=BreakGlassState.READY), 5)
    took = await asyncio.gather(
        *(store.break_glass.take("bg-1", f"g-{n}", NOW + 1, NOW + 61) for n in range(5))
    )
    assert sorted(took) == [False] * 4 + [True]
    closed = await asyncio.gather(
        *(store.break_glass.close_review("bg-1", "local:sec", "fine", NOW + 2) for _ in range(5))
    )
    assert sorted(closed) == [False] * 4 + [True]
    assert await store.break_glass.find(settled=False, limit=10) == ()


async def test_what_waits_is_not_collected_and_what_is_over_neither(store: Store) -> None:
    await store.break_glass.add(ONE, 5)
    assert not await store.break_glass.take("bg-1", "g-1", NOW + 1, NOW + 61)
    assert not await store.break_glass.close_review("bg-1", "local:sec", "x", NOW + 1)
    await store.break_glass.add(replace(ONE, id="bg-2", state=BreakGlassState.READY), 5)
    assert not await store.break_glass.take("bg-2", "g-1", NOW + 60, NOW + 120)
    await store.break_glass.expire(NOW + 60)
    found = await store.break_glass.get("bg-2")
    assert found is not None
    assert found.state is BreakGlassState.EXPIRED


async def test_a_vote_counts_in_time_once_and_not_for_whoever_was_cut_off(store: Store) -> None:
    await store.break_glass.add(ONE, 5)
    vote = Vote("local:lead", True, "", NOW + 1)

    def settle(_: BreakGlass) -> BreakGlassState:
        return BreakGlassState.WAITING

    await store.break_glass.vote("bg-1", vote, settle, NOW)
    with pytest.raises(Conflict):
        await store.break_glass.vote("bg-1", vote, settle, NOW)
    late = replace(vote, subject_key="local:lou", at=NOW + 60)
    with pytest.raises(Conflict):
        await store.break_glass.vote("bg-1", late, settle, NOW)
    await store.grants.cut_off("local:ann", NOW + 2, "left")
    other = replace(vote, subject_key="local:lou", at=NOW + 3)
    with pytest.raises(Conflict, match="cut off"):
        await store.break_glass.vote("bg-1", other, settle, NOW)
    assert not await store.break_glass.add(replace(ONE, id="bg-2"), 5)


async def test_one_person_has_so_many_open_and_no_more(store: Store) -> None:
    most = limits.MAX_BREAK_GLASS_PER_PERSON
    assert most <= 10
    for number in range(most):
        await store.break_glass.add(replace(ONE, id=f"bg-{number}"), most)
    with pytest.raises(Conflict, match="open already"):
        await store.break_glass.add(replace(ONE, id="bg-more"), most)
    other = replace(ONE, id="bg-other", identity=Identity("bob", authenticated_at=NOW))
    assert await store.break_glass.add(other, most)


async def test_an_alert_of_one_id_is_told_once(store: Store) -> None:
    alert = Alert("overdue:bg-1", NOW, "review.overdue", "local:ann", "repair", "bg-1", "x\0y")
    told = await asyncio.gather(*(store.alerts.add(alert) for _ in range(4)))
    assert sorted(told) == [False] * 3 + [True]
    assert [one.id for one in await store.alerts.since(NOW, 10)] == [alert.id]
    assert await store.alerts.since(NOW + 1, 10) == ()


POLICY = """
{kind: Resource, name: shop, protocol: postgres, address: "localhost:5432",
 credential: {username: gate}}
---
{kind: Task, name: t, resource: shop, for: {groups: [a]}, permit: [{select: [x.y]}],
 break_glass: {for: {people: [ann]}, lasts: LASTS, review: {for: {people: [REVIEWER]}}}}
"""


@pytest.mark.cap("MAX_BREAK_GLASS_S")
@pytest.mark.parametrize(
    ("lasts", "reviewer", "told"),
    [("4h", "bob", ""), ("4h1s", "bob", "at most"), ("30m", "ann", "nobody reviews their own")],
)
def test_the_policy_bounds_it(lasts: str, reviewer: str, told: str) -> None:
    text = POLICY.replace("LASTS", lasts).replace("REVIEWER", reviewer)
    if not told:
        rule = load_files({"p.yaml": text}).tasks["t"].break_glass
        assert rule is not None
        assert rule.lasts_s == limits.MAX_BREAK_GLASS_S
        return
    with pytest.raises(PolicyErrors, match=told):
        load_files({"p.yaml": text})
