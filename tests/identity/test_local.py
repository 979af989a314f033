"""Local users: signing in, and what it tells nobody."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Literal

import pytest
from argon2 import PasswordHasher

from taskgate.identity.local import LocalUsers, normal_name
from taskgate.identity.passwords import Passwords
from taskgate.model import limits
from taskgate.model.authentication import Authentication
from taskgate.model.errors import BadConfig, Conflict, NotAuthenticated, OverLimit, StoreUnavailable
from taskgate.model.identity import Identity, IdentityKind
from taskgate.store.open import Store
from tests.identity.factors import second_factors
from tests.patience import PATIENCE_S
from tests.store.places import Place
from tests.store.samples import NOW

GOOD = "correct horse battery"
# As weak as the library lets it be: these tests are not about the hash.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Watched(Passwords):
    """Counts the work that is done."""

    def __init__(self, hasher: PasswordHasher = CHEAP) -> None:
        super().__init__(hasher)
        self.verified: list[bool] = []

    async def matches(self, password_hash: str | None, password: str) -> bool:
        same = await super().matches(password_hash, password)
        self.verified.append(same)
        return same


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open() as store:
        yield store


@pytest.fixture
async def passwords() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    made.close()


@pytest.fixture
async def users(store: Store, passwords: Watched) -> LocalUsers:
    made = LocalUsers(store.users, store.attempts, passwords, second_factors(store))
    await made.add("Ann", GOOD, frozenset({"analysts"}), NOW)
    return made


async def test_a_person_signs_in_with_the_groups_of_now(users: LocalUsers) -> None:
    identity = await users.sign_in(" ANN ", GOOD, NOW + 1, source="10.0.0.1")
    assert identity == Identity(
        "ann",
        "local",
        IdentityKind.HUMAN,
        frozenset({"analysts"}),
        authenticated_at=NOW + 1,
        method="password",
        authentication=Authentication(frozenset({"pwd"}), auth_time=NOW + 1),
    )
    await users.set_groups("ann", frozenset({"data-leads"}), NOW + 2)
    again = await users.sign_in("ann", GOOD, NOW + 3)
    assert again.groups == {"data-leads"}


async def test_a_workload_is_no_person(users: LocalUsers) -> None:
    await users.add("ci", GOOD, frozenset(), NOW, kind=IdentityKind.WORKLOAD)
    assert (await users.sign_in("ci", GOOD, NOW)).kind is IdentityKind.WORKLOAD


async def refused(users: LocalUsers, name: str, password: str, at: float = NOW) -> tuple[str, ...]:
    with pytest.raises(NotAuthenticated) as caught:
        await users.sign_in(name, password, at, source="10.0.0.9")
    error = caught.value
    return (error.message, error.hint, error.sqlstate, repr(error))


async def test_every_refusal_is_the_same_and_does_the_same_work(
    users: LocalUsers, passwords: Watched
) -> None:
    await users.add("dis", GOOD, frozenset(), NOW)
    await users.set_disabled("dis", True, NOW)
    told = {
        await refused(users, "ann", "wrong password"),
        await refused(users, "nobody", GOOD),
        await refused(users, "nobody", "nobody has this password"),
        await refused(users, "not a name!", GOOD),
        await refused(users, "", ""),
        await refused(users, "\ud800\0", "\ud800\0"),
        await refused(users, "dis", GOOD),
        await refused(users, "ann", GOOD + "\0"),
        await refused(users, "ann", "x" * 100_000),
    }
    assert len(told) == 1
    # One argon2 check each, whether there is such a user or not.
    assert len(passwords.verified) == 9


async def test_too_many_tries_say_nothing_else_and_check_nothing(
    users: LocalUsers, passwords: Watched
) -> None:
    told = {await refused(users, "ann", "wrong password") for _ in range(6)}
    checked = len(passwords.verified)
    # Now even the right password waits, and nobody can tell that it was right.
    told.add(await refused(users, "ann", GOOD))
    assert len(told) == 1
    assert len(passwords.verified) == checked == 6
    assert (await users.sign_in("ann", GOOD, NOW + 1)).subject == "ann"


async def test_an_unknown_name_is_locked_out_just_as_a_known_one(
    users: LocalUsers, passwords: Watched
) -> None:
    for _ in range(7):
        await refused(users, "nobody", "wrong password")
    assert len(passwords.verified) == 6


async def test_spelling_a_name_otherwise_is_no_way_round_the_wait(
    users: LocalUsers, passwords: Watched
) -> None:
    for name in ("ann", "ANN", " ann", "Ann", "aNN", "ａｎｎ"):
        await refused(users, name, "wrong password")
    await refused(users, "ann", GOOD)
    assert len(passwords.verified) == 6


async def test_one_source_that_tries_many_names_must_wait(
    users: LocalUsers, passwords: Watched
) -> None:
    for at in range(31):
        with pytest.raises(NotAuthenticated):
            await users.sign_in(f"name{at}", "wrong password", NOW, source=f"2001:db8::{at:x}")
    with pytest.raises(NotAuthenticated):
        await users.sign_in("ann", GOOD, NOW, source="2001:db8::ffff")
    assert len(passwords.verified) == 31
    assert await users.sign_in("ann", GOOD, NOW, source="2001:db8:1::1")


async def test_success_starts_the_count_anew(users: LocalUsers) -> None:
    for _ in range(3):
        for _ in range(4):
            await refused(users, "ann", "wrong password")
        assert await users.sign_in("ann", GOOD, NOW, source="10.0.0.2")


async def test_a_hundred_guesses_at_once_are_five(users: LocalUsers, passwords: Watched) -> None:
    await asyncio.gather(
        *(users.sign_in("ann", f"guess number {n}", NOW) for n in range(40)),
        return_exceptions=True,
    )
    assert len(passwords.verified) <= 6


async def test_a_store_that_is_gone_lets_nobody_in(users: LocalUsers) -> None:
    class Gone:
        async def begin(self, *_: object) -> float:
            raise StoreUnavailable("gone")

        async def succeeded(self, *_: object) -> None:
            raise StoreUnavailable("gone")

    users._attempts = Gone()
    with pytest.raises(StoreUnavailable):
        await users.sign_in("ann", GOOD, NOW)


@pytest.mark.cap("MAX_PASSWORD_CHECKS")
async def test_the_password_check_runs_beside_the_loop_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_PASSWORD_CHECKS", 3)
    passwords = Passwords()
    try:
        kept = await passwords.hash(GOOD)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        # A machine that was busy elsewhere may keep the loop from its turns, but not each time.
        for _ in range(5):
            ticks = 0
            ticking = asyncio.create_task(tick())
            results = await asyncio.gather(
                *(passwords.matches(kept, GOOD) for _ in range(5)), return_exceptions=True
            )
            ticking.cancel()
            assert results.count(True) == 3
            assert sum(isinstance(one, OverLimit) for one in results) == 2
            assert await passwords.matches(kept, GOOD)
            if ticks > 5:
                break
        assert ticks > 5
    finally:
        passwords.close()


async def test_older_hashes_are_renewed_at_the_next_sign_in(store: Store) -> None:
    old = LocalUsers(store.users, store.attempts, Watched(), second_factors(store))
    await old.add("ann", GOOD, frozenset(), NOW)
    before = await store.users.get("ann")
    stronger = Watched(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    try:
        users = LocalUsers(store.users, store.attempts, stronger, second_factors(store))
        await users.sign_in("ann", GOOD, NOW)
        after = await store.users.get("ann")
        assert before is not None
        assert after is not None
        assert before.password_hash != after.password_hash
        assert not stronger.outdated(after.password_hash)
        assert await users.sign_in("ann", GOOD, NOW)
    finally:
        stronger.close()


async def test_a_password_is_nowhere_in_the_store_or_in_what_is_shown(
    users: LocalUsers, store: Store
) -> None:
    user = await store.users.get("ann")
    assert user is not None
    assert user.password_hash.startswith("$argon2id$")
    assert GOOD not in repr(user)
    assert user.password_hash not in repr(user)


async def test_one_name_is_one_person(users: LocalUsers) -> None:
    for again in ("ann", "ANN", "ａｎｎ", " Ann "):
        with pytest.raises(Conflict):
            await users.add(again, GOOD, frozenset(), NOW)


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a:b", "a/b", "a\nb", "аnn", "a" * 65])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadConfig):
        normal_name(name)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
async def test_a_password_that_is_none_is_refused(users: LocalUsers, password: str) -> None:
    with pytest.raises(BadConfig):
        await users.add("bob", password, frozenset(), NOW)
    with pytest.raises(BadConfig):
        await users.set_password("ann", password, NOW)


async def test_a_group_with_control_characters_is_refused(users: LocalUsers) -> None:
    with pytest.raises(BadConfig):
        await users.set_groups("ann", frozenset({"a\nb"}), NOW)
    assert await users.get("no name!") is None
    assert [one.name for one in await users.list()] == ["ann"]


@pytest.mark.cap("PASSWORD_WORKERS")
async def test_so_many_passwords_are_checked_at_once() -> None:
    class Counting(PasswordHasher):
        """Knows how many of its checks run beside each other."""

        running = most = 0
        lock = threading.Lock()
        together = threading.Barrier(limits.PASSWORD_WORKERS)

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            self.together.wait(PATIENCE_S)
            time.sleep(0.1)
            with self.lock:
                self.running -= 1
            return True

    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    passwords = Passwords(hasher)
    try:
        kept = await passwords.hash(GOOD)
        assert all(await asyncio.gather(*(passwords.matches(kept, GOOD) for _ in range(8))))
    finally:
        passwords.close()
    assert hasher.most == limits.PASSWORD_WORKERS
