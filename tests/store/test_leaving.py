"""Leaving: what ends, what stays, and that nothing slips past."""

import asyncio
from dataclasses import replace

import pytest

from taskgate.model.account import Login, User
from taskgate.model.approval import Approval, ApprovalState, StandingApproval, Vote
from taskgate.model.errors import Conflict
from taskgate.model.grant import Link, SessionInfo
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.leaving import Leaver
from taskgate.model.usage import UseSelector
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import ANN, DAN, EVE, NOW, add_grant, approval, grant, token

LEAVES = Leaver(frozenset({DAN.key}), frozenset({"dan"}), "local:hr", "left")
OTHERS = Identity("fay", groups=frozenset({"analysts"}), authenticated_at=NOW - 60)


def agree(state: ApprovalState = ApprovalState.APPROVED) -> object:
    def settle(one: Approval) -> tuple[ApprovalState, StandingApproval | None]:
        if state is ApprovalState.WAITING:
            return state, None
        standing = StandingApproval(
            f"sa-{one.id}", one.id, one.grant_id, one.shape, one.rule, one.policy_version,
            NOW + 600, 5, one.resource,
        )  # fmt: skip
        return state, standing

    return settle


async def test_all_of_somebody_s_ends_and_others_go_on(store: Store) -> None:
    await store.users.add(User("dan", "x", frozenset(), NOW - 100))
    agent = Identity("bot", kind=IdentityKind.AGENT, acts_for=DAN, authenticated_at=NOW - 60)
    dans, bots, anns = (
        await add_grant(store, DAN), await add_grant(store, agent), await add_grant(store, ANN)
    )  # fmt: skip
    child = await add_grant(store, ANN, parent=dans.id, chain=(Link(dans.id, DAN.key),))
    await store.logins.add(Login("h", DAN, NOW, NOW + 100, "10.0.0.9", "api"), 10)
    session = SessionInfo(
        "s-1", dans.id, DAN, dans.task, "warehouse", "postgres", "10.0.0.1", "psql", NOW
    )
    await store.sessions.add(session, "node")
    asked = approval(dans)
    given, half, spent = approval(anns), approval(anns), approval(anns, session_id="s-9")
    for one in (asked, given, half, spent):
        assert await store.approvals.add(one, "node")
    vote = Vote(DAN.key, True, "", NOW + 1, DAN.groups)
    await store.approvals.vote(given.id, vote, agree())  # type: ignore[arg-type]
    await store.approvals.vote(half.id, vote, agree(ApprovalState.WAITING))  # type: ignore[arg-type]
    await store.approvals.vote(spent.id, vote, agree())  # type: ignore[arg-type]
    assert await store.approvals.take(spent.id, "s-9", spent.digest, "v1", NOW + 2)

    ended = await store.leaving.offboard(LEAVES, NOW + 3)
    assert {one.grant_id for one in ended.revocations} == {dans.id, bots.id, child.id}
    assert (ended.logins, ended.users, ended.sessions) == (1, ("dan",), ("s-1",))
    assert ended.approvals == (asked.id,)
    assert set(ended.withdrawn) == {given.id, half.id}
    assert set(ended.standing) == {f"sa-{given.id}", f"sa-{spent.id}"}
    assert not await store.approvals.take(given.id, "s-1", given.digest, "v1", NOW + 4)
    left_open = await store.approvals.get(half.id)
    assert left_open is not None
    assert (left_open.state, left_open.votes) == (ApprovalState.WAITING, ())
    assert await store.approvals.find_standing(NOW + 4, 10) == ()
    assert await store.logins.get("h") is None
    found = await store.grants.get(anns.id)
    assert found is not None
    assert found.live(NOW + 4)
    assert (await store.leaving.offboard(LEAVES, NOW + 5)).revocations == ()


async def test_whoever_has_left_does_not_come_back_by_signing_in_anew(store: Store) -> None:
    await store.users.add(User("dan", "x", frozenset(), NOW - 100))
    await store.leaving.offboard(LEAVES, NOW)
    fresh = replace(DAN, authenticated_at=NOW + 1000)
    bot = Identity("bot", kind=IdentityKind.AGENT, acts_for=fresh, authenticated_at=NOW + 1000)
    for identity in (fresh, bot):
        late = grant(identity, not_before=NOW + 1001)
        assert not await store.grants.add(late, token(late), 10)
        assert not await store.logins.add(Login("h", identity, NOW + 1001, NOW + 2000), 10)
    assert not await store.leaving.reinstate([DAN.key], only_by="scim")
    assert await store.leaving.reinstate([DAN.key])
    user = await store.users.get("dan")
    assert user is not None
    assert not user.disabled
    late = grant(fresh, not_before=NOW + 1001)
    assert await store.grants.add(late, token(late), 10)


async def test_who_was_disabled_before_stays_so_when_reinstated(store: Store) -> None:
    await store.users.add(User("dan", "x", frozenset(), NOW - 100, disabled=True))
    await store.leaving.offboard(LEAVES, NOW)
    await store.leaving.reinstate([DAN.key])
    user = await store.users.get("dan")
    assert user is not None
    assert user.disabled


async def test_a_vote_at_the_same_moment_counts_before_or_not_at_all(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        for _ in range(5):
            of = await add_grant(first, ANN)
            held = approval(of)
            await first.approvals.add(held, "node")
            vote = Vote(EVE.key, True, "", NOW + 1, EVE.groups)
            gone = Leaver(frozenset({EVE.key}), frozenset(), "hr", "left")
            _, ended = await asyncio.gather(
                first.approvals.vote(held.id, vote, agree(), EVE.authenticated_at),  # type: ignore[arg-type]
                second.leaving.offboard(gone, NOW + 1),
                return_exceptions=True,
            )
            assert not isinstance(ended, BaseException)
            assert not await first.approvals.take(held.id, "s-1", held.digest, "v1", NOW + 2)
            assert await first.approvals.find_standing(NOW + 2, 10) == ()
            await second.leaving.reinstate([EVE.key])


async def test_who_has_left_has_no_vote(store: Store) -> None:
    held = approval(await add_grant(store, ANN))
    await store.approvals.add(held, "node")
    await store.leaving.offboard(LEAVES, NOW)
    vote = Vote(DAN.key, True, "", NOW + 1, DAN.groups)
    with pytest.raises(Conflict):
        await store.approvals.vote(held.id, vote, agree(), NOW + 100)  # type: ignore[arg-type]


async def test_uses_are_taken_off_the_whole_chain_by_one_of_many(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        root = await add_grant(first, uses_left=3)
        made = await add_grant(first, parent=root.id, chain=(Link(root.id, ANN.key),), uses_left=9)
        taken = await asyncio.gather(
            *((first, second)[n % 2].grants.use(made, NOW + 1) for n in range(8))
        )
        assert sum(taken) == 3
        left = [await first.grants.get(one.id) for one in (root, made)]
        assert [one.uses_left for one in left if one] == [0, 6]


async def test_the_map_merges_what_is_the_same_place(store: Store) -> None:
    for number, (address, identity) in enumerate(
        (("10.0.0.1", ANN), ("10.0.0.1", ANN), ("10.0.0.2", ANN), ("10.0.0.1", OTHERS))
    ):
        of = await add_grant(store, identity)
        session = SessionInfo(
            f"s-{number}", of.id, identity, of.task, "warehouse", "postgres", address, "psql",
            NOW + number,
        )  # fmt: skip
        await store.sessions.add(session, "node")
    places = await store.usage.places(UseSelector(person=ANN.key), 10)
    assert [(one.source, one.times, one.last_at) for one in places] == [
        ("10.0.0.2", 1, NOW + 2), ("10.0.0.1", 2, NOW + 1)
    ]  # fmt: skip
    assert len(await store.usage.places(UseSelector(task="sales-report"), 10)) == 3
    assert len(await store.usage.places(UseSelector(), 1)) == 1
    (new,) = await store.usage.new_places(NOW + 1, 10)
    assert (new.identity, new.source, new.seen_before) == (ANN.key, "10.0.0.2", ("10.0.0.1",))
    assert dict(await store.usage.tasks_used()) == {"sales-report": NOW + 3}


async def test_a_step_named_like_a_grant_puts_nobody_into_its_map(store: Store) -> None:
    named = await add_grant(store, ANN)
    root = await add_grant(store, OTHERS)
    chain = (Link(root.id, OTHERS.key, named.id),)
    other = await add_grant(store, OTHERS, parent=root.id, chain=chain)
    session = SessionInfo(
        "s-1", other.id, OTHERS, other.task, "warehouse", "postgres", "10.0.0.9", "psql", NOW
    )
    await store.sessions.add(session, "node")
    assert await store.usage.places(UseSelector(grant_id=named.id), 10) == ()
    assert len(await store.usage.places(UseSelector(grant_id=root.id), 10)) == 1


async def test_dormant_grants_and_people_long_away(store: Store) -> None:
    await store.users.add(User("ann", "x", frozenset(), NOW - 9000))
    await store.users.add(User("new", "x", frozenset(), NOW + 999))
    await store.users.add(User("gone", "x", frozenset(), NOW - 9000, disabled=True))
    old = await add_grant(store, DAN, expires_at=NOW + 90_000)
    used = await add_grant(store, EVE, expires_at=NOW + 90_000)
    session = SessionInfo("s-1", used.id, EVE, used.task, "w", "postgres", "a", "b", NOW + 900)
    await store.sessions.add(session, "node")
    found = await store.usage.dormant(NOW + 1000, 500.0, 10)
    assert [(one.grant_id, one.last_used_at) for one in found] == [(old.id, None)]
    idle = await store.usage.idle_people(NOW, ("local",), 10)
    assert [(one.person, one.last_at) for one in idle] == [("local:ann", None)]
