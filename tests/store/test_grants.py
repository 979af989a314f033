"""The store's grants, tokens and revocations."""

import asyncio

import pytest

from taskgate.model.errors import OverLimit
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.token import GrantSelector
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import ANN, DAN, NOW, add_grant, grant, token


async def test_a_grant_comes_back_as_it_went_in(store: Store) -> None:
    agent = Identity("bot-é", kind=IdentityKind.AGENT, acts_for=ANN, groups=frozenset({"x", "y"}))
    made = grant(agent, resources=("a", "b"), reason="why – not")
    assert await store.grants.add(made, token(made), 10)
    assert await store.grants.get(made.id) == made


async def test_a_token_finds_its_grant_and_no_other(store: Store) -> None:
    first, second = grant(), grant(DAN)
    for one in (first, second):
        assert await store.grants.add(one, token(one, token_hash=f"h-{one.id}"), 10)
    found = await store.grants.by_token(f"h-{second.id}")
    assert found is not None
    assert found[0] == second
    assert found[1].grant_id == second.id
    assert await store.grants.by_token("h-") is None


async def test_only_a_live_grant_gets_more_tokens_and_not_without_end(store: Store) -> None:
    made = await add_grant(store)
    assert await store.grants.add_token(token(made), 2)
    with pytest.raises(OverLimit):
        await store.grants.add_token(token(made), 2)
    await store.grants.revoke(GrantSelector(grant_id=made.id), NOW + 1, "done")
    assert not await store.grants.add_token(token(made, issued_at=NOW + 2), 9)


async def test_a_person_holds_so_many_live_grants_and_no_more(store: Store) -> None:
    async def add(one: Grant) -> bool:
        return await store.grants.add(one, token(one), 3)

    for _ in range(3):
        assert await add(grant())
    with pytest.raises(OverLimit):
        await add(grant())
    assert await add(grant(DAN))
    assert await add(grant(not_before=NOW + 4000, expires_at=NOW + 5000))


@pytest.mark.parametrize(
    "selector",
    [
        GrantSelector(person="local:ann"),
        GrantSelector(task="sales-report"),
        GrantSelector(person="local:ann", task="sales-report"),
    ],
)
async def test_revoking_ends_what_fits_and_nothing_else(
    store: Store, selector: GrantSelector
) -> None:
    mine = await add_grant(store)
    other = await add_grant(store, DAN, task="other")
    ended = await store.grants.revoke(selector, NOW + 5, "because")
    assert [one.grant_id for one in ended] == [mine.id]
    after = await store.grants.get(mine.id)
    assert after is not None
    assert (after.revoked_at, after.revoked_why) == (NOW + 5, "because")
    assert not after.live(NOW + 6)
    assert await store.grants.get(other.id) == other
    assert await store.grants.revoke(selector, NOW + 9, "again") == ()


async def test_an_empty_selector_revokes_nothing(store: Store) -> None:
    made = await add_grant(store)
    with pytest.raises(ValueError, match="everything"):
        await store.grants.revoke(GrantSelector(), NOW, "slip")
    assert await store.grants.get(made.id) == made


async def test_revoking_reaches_what_was_delegated_from_it(store: Store) -> None:
    top = await add_grant(store)
    child = await add_grant(store, DAN, parent=top.id)
    grandchild = await add_grant(store, DAN, parent=child.id)
    ended = await store.grants.revoke(GrantSelector(grant_id=top.id), NOW + 1, "x")
    assert {one.grant_id for one in ended} == {top.id, child.id, grandchild.id}
    late = grant(DAN, parent=top.id, not_before=NOW + 2)
    assert not await store.grants.add(late, token(late), 10)


async def test_revoking_a_person_reaches_agents_that_act_for_them(store: Store) -> None:
    agent = Identity("bot", kind=IdentityKind.AGENT, acts_for=ANN)
    made = await add_grant(store, agent)
    ended = await store.grants.revoke(GrantSelector(person=ANN.key), NOW + 1, "left")
    assert [one.grant_id for one in ended] == [made.id]


async def test_whoever_was_cut_off_gets_no_grant_until_they_sign_in_anew(store: Store) -> None:
    await store.grants.cut_off(ANN.key, NOW, "left")
    for identity in (ANN, Identity("bot", acts_for=ANN, authenticated_at=NOW)):
        late = grant(identity, not_before=NOW + 1)
        assert not await store.grants.add(late, token(late), 10)
    again = grant(Identity("ann", authenticated_at=NOW + 2), not_before=NOW + 3)
    assert await store.grants.add(again, token(again), 10)


async def test_an_earlier_cut_off_never_replaces_a_later_one(store: Store) -> None:
    await store.grants.cut_off(ANN.key, NOW, "left")
    await store.grants.cut_off(ANN.key, NOW - 1000, "a node whose clock is behind")
    late = grant(ANN, not_before=NOW + 1)
    assert not await store.grants.add(late, token(late), 10)


async def test_what_has_lapsed_stays_so_when_the_clock_goes_back(store: Store) -> None:
    made = grant()
    assert await store.grants.add(made, token(made, token_hash="h"), 10)
    await store.grants.lapse(made.expires_at - 0.001)
    assert await store.grants.by_token("h") is not None
    await store.grants.lapse(made.expires_at)
    assert await store.grants.by_token("h") is None
    assert await store.grants.find(GrantSelector(), NOW + 1, 10) == ()


async def test_find_is_newest_first_and_keeps_to_its_limit(store: Store) -> None:
    made = [await add_grant(store, not_before=NOW + at) for at in (2.0, 0.0, 1.0)]
    found = await store.grants.find(GrantSelector(person=ANN.key), NOW + 3, 2)
    assert found == (made[0], made[2])


async def test_the_sequence_has_no_gaps_whoever_revokes_at_once(place: Place) -> None:
    # A PostgreSQL sequence would fail here: a later number can be committed before an earlier.
    async with place.open() as first, place.open() as second:
        made = [await add_grant(first, not_before=NOW + at) for at in range(20)]
        seen: list[int] = []
        done = False

        async def follow() -> None:
            while not done or len(seen) < len(made):
                for one in await second.grants.revocations_after(seen[-1] if seen else 0, 100):
                    seen.append(one.sequence)

        async def end_all() -> None:
            nonlocal done
            await asyncio.gather(
                *(
                    (first, second)[number % 2].grants.revoke(
                        GrantSelector(grant_id=one.id), NOW + 1, "x"
                    )
                    for number, one in enumerate(made)
                )
            )
            done = True

        await asyncio.gather(follow(), end_all())
        assert seen == list(range(1, len(made) + 1))
        assert await first.grants.last_revocation() == len(made)


async def test_of_two_who_revoke_one_grant_one_does(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        made = await add_grant(first)
        selector = GrantSelector(grant_id=made.id)
        ended = await asyncio.gather(
            *(node.grants.revoke(selector, NOW + 1, "x") for node in (first, second) * 5)
        )
        assert sum(len(one) for one in ended) == 1


async def test_no_grant_slips_past_a_cut_off_at_the_same_moment(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        made = [grant(not_before=NOW + 1 + at) for at in range(10)]
        await asyncio.gather(
            *(first.grants.add(one, token(one), 100) for one in made[:5]),
            second.grants.cut_off(ANN.key, NOW, "left"),
            *(second.grants.add(one, token(one), 100) for one in made[5:]),
        )
        assert await first.grants.find(GrantSelector(person=ANN.key), NOW + 100, 100) == ()
