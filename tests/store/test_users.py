"""The store's users, sign-ins and failed attempts."""

import asyncio

import pytest

from taskgate.model.account import Backoff, Login, User
from taskgate.model.errors import Conflict, NotFound
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity, IdentityKind
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import ANN, DAN, NOW, add_grant, grant, token

USER = User("ann", "$argon2id$1", frozenset({"analysts", "on-call"}), NOW)
QUICK = Backoff(free=2, first_s=1.0, most_s=8.0, forget_s=60.0)


def login(identity: Identity = ANN, at: float = NOW, name: str = "t") -> Login:
    return Login(f"{name}-{at}", identity, at, at + 3600)


async def test_a_user_comes_back_as_it_went_in(store: Store) -> None:
    robot = User("ci", "x", frozenset(), NOW, kind=IdentityKind.WORKLOAD)
    await store.users.add(USER)
    await store.users.add(robot)
    assert await store.users.get("ann") == USER
    assert await store.users.get("bob") is None
    assert await store.users.list() == (USER, robot)
    with pytest.raises(Conflict):
        await store.users.add(USER)


async def test_nobody_unknown_can_be_changed(store: Store) -> None:
    for change in (
        store.users.set_password("bob", "x", NOW),
        store.users.set_groups("bob", frozenset(), NOW),
        store.users.set_disabled("bob", True, NOW),
    ):
        with pytest.raises(NotFound):
            await change
    assert not await store.users.rehash("bob", "x", "y")


async def everything_of(store: Store) -> tuple[Grant, Login]:
    await store.users.add(USER)
    mine, kept = await add_grant(store), login()
    assert await store.logins.add(kept, 10)
    return mine, kept


@pytest.mark.parametrize("change", ["password", "groups", "disabled"])
async def test_taking_rights_away_ends_grants_and_sign_ins_with_it(
    store: Store, change: str
) -> None:
    mine, kept = await everything_of(store)
    others = await add_grant(store, DAN)
    match change:
        case "password":
            await store.users.set_password("ann", "new", NOW + 1)
        case "groups":
            await store.users.set_groups("ann", frozenset({"analysts"}), NOW + 1)
        case _:
            await store.users.set_disabled("ann", True, NOW + 1)
    ended = await store.grants.get(mine.id)
    assert ended is not None
    assert ended.revoked_at == NOW + 1
    assert await store.logins.get(kept.token_hash) is None
    assert await store.grants.get(others.id) == others
    assert [one.grant_id for one in await store.grants.revocations_after(0, 9)] == [mine.id]
    # Nor does what was authenticated before open anything new.
    late = grant(not_before=NOW + 2)
    assert not await store.grants.add(late, token(late), 10)
    assert not await store.logins.add(login(at=NOW + 2), 10)


async def test_giving_rights_ends_nothing(store: Store) -> None:
    mine, kept = await everything_of(store)
    await store.users.set_groups("ann", USER.groups | {"more"}, NOW + 1)
    await store.users.set_disabled("ann", False, NOW + 1)
    assert await store.users.rehash("ann", USER.password_hash, "$argon2id$2")
    assert await store.grants.get(mine.id) == mine
    assert await store.logins.get(kept.token_hash) == kept


async def test_a_rehash_never_undoes_a_new_password(store: Store) -> None:
    await store.users.add(USER)
    await store.users.set_password("ann", "new", NOW)
    assert not await store.users.rehash("ann", USER.password_hash, "old one again")


async def test_the_oldest_sign_in_goes_when_there_are_too_many(store: Store) -> None:
    made = [login(at=NOW + at) for at in range(3)]
    for one in made:
        assert await store.logins.add(one, 2)
    assert [await store.logins.get(one.token_hash) for one in made] == [None, made[1], made[2]]


async def test_signing_out_and_expiry(store: Store) -> None:
    first, second = login(name="a"), login(at=NOW + 10, name="b")
    for one in (first, second):
        assert await store.logins.add(one, 9)
    await store.logins.forget(first.expires_at)
    assert await store.logins.get(first.token_hash) is None
    assert await store.logins.get(second.token_hash) == second
    await store.logins.end(second.token_hash)
    assert await store.logins.get(second.token_hash) is None


async def test_a_cut_off_ends_sign_ins_of_agents_too(store: Store) -> None:
    kept = login(Identity("bot", kind=IdentityKind.AGENT, acts_for=ANN))
    assert await store.logins.add(kept, 9)
    await store.grants.cut_off(ANN.key, NOW, "left")
    assert await store.logins.get(kept.token_hash) is None


async def test_failures_double_the_wait_up_to_the_most(store: Store) -> None:
    at = NOW
    waits = []
    for _ in range(8):
        wait_s = await store.attempts.begin({"u": QUICK}, at)
        waits.append(wait_s)
        at += wait_s
        if wait_s:
            assert await store.attempts.begin({"u": QUICK}, at) == 0
    assert waits == [0, 0, 0, 1, 2, 4, 8, 8]


async def test_waiting_is_not_counted_as_another_failure(store: Store) -> None:
    for _ in range(3):
        await store.attempts.begin({"u": QUICK}, NOW)
    for _ in range(5):
        assert await store.attempts.begin({"u": QUICK}, NOW + 0.5) == 0.5
    assert await store.attempts.begin({"u": QUICK}, NOW + 1) == 0


async def test_any_key_that_must_wait_holds_the_attempt_back(store: Store) -> None:
    for _ in range(3):
        await store.attempts.begin({"source": QUICK}, NOW)
    assert await store.attempts.begin({"u": QUICK, "source": QUICK}, NOW) == 1
    # The user is not charged for what the source did.
    for _ in range(3):
        assert await store.attempts.begin({"u": QUICK}, NOW) == 0


async def test_success_clears_the_user_and_forgives_the_source_one(store: Store) -> None:
    both = {"u": QUICK, "source": QUICK}
    for _ in range(2):
        await store.attempts.begin(both, NOW)
    await store.attempts.succeeded("u", ("source",))
    assert [await store.attempts.begin({"u": QUICK}, NOW) for _ in range(4)] == [0, 0, 0, 1]
    assert [await store.attempts.begin({"source": QUICK}, NOW) for _ in range(3)] == [0, 0, 1]


async def test_failures_are_forgotten_in_time(store: Store) -> None:
    for _ in range(2):
        await store.attempts.begin({"u": QUICK}, NOW)
    assert await store.attempts.begin({"u": QUICK}, NOW + 60) == 0
    assert await store.attempts.begin({"u": QUICK}, NOW + 60) == 0


async def test_a_clock_turned_back_never_waits_longer_than_the_most(store: Store) -> None:
    for _ in range(3):
        await store.attempts.begin({"u": QUICK}, NOW)
    assert await store.attempts.begin({"u": QUICK}, NOW - 1_000_000) == QUICK.most_s


async def test_many_guesses_at_once_are_not_many_free_guesses(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        waits = await asyncio.gather(
            *(node.attempts.begin({"u": QUICK}, NOW) for node in (first, second) * 10)
        )
        # Two are free, and the third starts the waiting.
        assert sum(wait_s == 0 for wait_s in waits) == 3
