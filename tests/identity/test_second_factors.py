"""Signing in with a second factor, and what a code is good for."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from taskgate.identity.local import LocalUsers
from taskgate.identity.passwords import Passwords
from taskgate.identity.second_factors import (
    RECENT_SIGN_IN_S,
    RECOVERY_CODES,
    SecondFactors,
    ensure_may_change,
)
from taskgate.identity.totp import STEP_S, code_of, step_at
from taskgate.model import limits
from taskgate.model.errors import (
    Conflict,
    Denied,
    NotAuthenticated,
    NotFound,
    OverLimit,
    SecondFactorNeeded,
)
from taskgate.model.identity import Identity
from taskgate.store.open import Store
from tests.identity.factors import MemoryVault, second_factors
from tests.identity.test_local import CHEAP
from tests.store.places import Place
from tests.store.samples import NOW

GOOD = "correct horse battery"
STEP = STEP_S


@dataclass(frozen=True, slots=True)
class World:
    store: Store
    vault: MemoryVault
    second: SecondFactors
    users: LocalUsers

    async def enrolled(self, at: float = NOW) -> tuple[bytes, tuple[str, ...], str]:
        """An app of ann's that counts: its secret, the recovery codes, its id."""
        begun = await self.second.enrol("ann", "phone", at)
        secret = base64.b32decode(begun.secret)
        one = begun.authenticator.id
        codes = await self.second.confirm("ann", one, code_of(secret, step_at(at)), at)
        return secret, codes, one

    async def refused(self, code: str, at: float, password: str = GOOD) -> str:
        with pytest.raises(NotAuthenticated) as caught:
            await self.users.sign_in("ann", password, at, code=code)
        assert not isinstance(caught.value, SecondFactorNeeded)
        return caught.value.message


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    passwords = Passwords(CHEAP)
    async with place.open() as store:
        vault = MemoryVault()
        second = second_factors(store, vault)
        users = LocalUsers(store.users, store.attempts, passwords, second)
        await users.add("ann", GOOD, frozenset(), NOW)
        yield World(store, vault, second, users)
    passwords.close()


async def test_an_app_counts_only_once_its_code_was_seen(world: World) -> None:
    begun = await world.second.enrol("ann", "", NOW)
    alone = await world.users.sign_in("ann", GOOD, NOW)
    assert (alone.method, alone.authentication.multi_factor) == ("password", False)
    with pytest.raises(Conflict):
        await world.second.confirm("ann", begun.authenticator.id, "000000", NOW)
    assert (await world.users.sign_in("ann", GOOD, NOW)).method == "password"
    secret = base64.b32decode(begun.secret)
    code = code_of(secret, step_at(NOW))
    codes = await world.second.confirm("ann", begun.authenticator.id, code, NOW)
    assert len(set(codes)) == RECOVERY_CODES
    with pytest.raises(SecondFactorNeeded):
        await world.users.sign_in("ann", GOOD, NOW)


async def test_a_code_is_taken_once_and_none_before_it_any_more(world: World) -> None:
    secret, _, _ = await world.enrolled()
    at = NOW + 10 * STEP
    code, earlier = code_of(secret, step_at(at)), code_of(secret, step_at(at) - 1)
    identity = await world.users.sign_in("ann", GOOD, at, code=code)
    assert identity.method == "password+otp"
    assert identity.authentication.multi_factor
    assert identity.authentication.auth_time == at
    told = {await world.refused(code, at), await world.refused(earlier, at)}
    later = code_of(secret, step_at(at) + 1)
    assert await world.users.sign_in("ann", GOOD, at, code=later)
    told.add(await world.refused(later, at + STEP))
    told.add(await world.refused("000000", at, "a wrong password"))
    assert len(told) == 1


async def test_the_code_that_confirmed_an_app_signs_nobody_in(world: World) -> None:
    secret, _, _ = await world.enrolled()
    assert await world.refused(code_of(secret, step_at(NOW)), NOW)


async def test_of_many_who_show_one_code_at_once_one_gets_in(world: World) -> None:
    secret, codes, _ = await world.enrolled()
    at = NOW + 10 * STEP
    factors = await world.second.of("ann")
    for code, how in ((code_of(secret, step_at(at)), "otp"), (codes[0], "recovery")):
        proved = await asyncio.gather(
            *(world.second.check("ann", factors, code, at) for _ in range(8))
        )
        assert sorted(proved) == [""] * 7 + [how]


async def test_a_recovery_code_is_good_once_however_it_is_written(world: World) -> None:
    _, codes, _ = await world.enrolled()
    at = NOW + 10 * STEP
    written = f" {codes[3].upper().replace('-', ' ')} "
    identity = await world.users.sign_in("ann", GOOD, at, code=written)
    assert identity.method == "password+recovery"
    assert await world.refused(codes[3], at)
    assert (await world.second.of("ann")).recovery_left == RECOVERY_CODES - 1
    fresh = await world.second.renew_codes("ann")
    assert await world.refused(codes[4], at)
    assert await world.users.sign_in("ann", GOOD, at, code=fresh[0])


async def test_a_recovery_code_is_its_owner_s_alone(world: World) -> None:
    _, codes, _ = await world.enrolled()
    await world.users.add("bob", GOOD, frozenset(), NOW)
    begun = await world.second.enrol("bob", "", NOW)
    code = code_of(base64.b32decode(begun.secret), step_at(NOW))
    await world.second.confirm("bob", begun.authenticator.id, code, NOW)
    with pytest.raises(NotAuthenticated):
        await world.users.sign_in("bob", GOOD, NOW + 1, code=codes[0])
    with pytest.raises(NotFound):
        await world.second.remove("bob", (await world.second.of("ann")).authenticators[0].id)


async def test_guesses_at_the_code_are_slowed_down_as_guesses_at_the_password(
    world: World,
) -> None:
    secret, _, _ = await world.enrolled()
    at = NOW + 10 * STEP
    for guess in range(6):
        await world.refused(f"{guess:06d}", at)
    # The right code must wait now as well.
    await world.refused(code_of(secret, step_at(at)), at)
    assert await world.users.sign_in("ann", GOOD, at + 2, code=code_of(secret, step_at(at + 2)))


async def test_asking_whether_the_password_is_right_costs_a_try(world: World) -> None:
    await world.enrolled()
    for _ in range(6):
        with pytest.raises(SecondFactorNeeded):
            await world.users.sign_in("ann", GOOD, NOW + 100)
    await world.refused("", NOW + 100)


async def test_a_wrong_password_is_told_nothing_of_the_second_factor(world: World) -> None:
    secret, _, _ = await world.enrolled()
    at = NOW + 10 * STEP
    await world.users.add("bob", GOOD, frozenset(), NOW)
    told = {await world.refused("", at, "wrong"), await world.refused("123456", at, "wrong")}
    with pytest.raises(NotAuthenticated) as caught:
        await world.users.sign_in("bob", "wrong", at)
    assert told == {caught.value.message}
    # And the code was not spent on it.
    code = code_of(secret, step_at(at))
    assert await world.refused(code, at, "wrong")
    assert await world.users.sign_in("ann", GOOD, at, code=code)


async def test_removing_the_last_factor_takes_the_recovery_codes_along(world: World) -> None:
    _, _, one = await world.enrolled()
    await world.second.remove("ann", one)
    found = await world.second.of("ann")
    assert (found.demanded, found.recovery_left, found.count) == (False, 0, 0)
    assert world.vault.kept == {}
    assert (await world.users.sign_in("ann", GOOD, NOW + 100)).method == "password"


@pytest.mark.cap("MAX_FACTORS_PER_USER")
async def test_beginning_again_drops_what_was_not_confirmed_and_there_is_a_cap(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        await world.second.enrol("ann", "", NOW)
    assert (await world.second.of("ann")).count == 1
    assert len(world.vault.kept) == 1
    monkeypatch.setattr(limits, "MAX_FACTORS_PER_USER", 1)
    await world.enrolled()
    with pytest.raises(OverLimit):
        await world.second.enrol("ann", "", NOW)


async def test_an_app_whose_secret_is_lost_lets_nobody_in(world: World) -> None:
    secret, codes, _ = await world.enrolled()
    world.vault.kept.clear()
    at = NOW + 10 * STEP
    assert await world.refused(code_of(secret, step_at(at)), at)
    assert await world.users.sign_in("ann", GOOD, at, code=codes[0])


@pytest.mark.parametrize(
    ("method", "age_s", "told"),
    [
        ("password+otp", RECENT_SIGN_IN_S, ""),
        ("password+recovery", 0.0, ""),
        ("password+otp", RECENT_SIGN_IN_S + 1, "needs a sign-in of the last"),
        ("password", 0.0, "from before the second factor"),
    ],
)
async def test_only_a_recent_sign_in_with_the_factor_changes_it(
    world: World, method: str, age_s: float, told: str
) -> None:
    await world.enrolled()
    found = await world.second.of("ann")
    identity = Identity("ann", authenticated_at=NOW, method=method)
    if not told:
        ensure_may_change(identity, found, NOW + age_s)
        return
    with pytest.raises(Denied) as refused:
        ensure_may_change(identity, found, NOW + age_s)
    assert told in refused.value.message


async def test_neither_secret_nor_codes_are_in_the_store(world: World) -> None:
    secret, codes, _ = await world.enrolled()
    found = await world.second.of("ann")
    assert base64.b32encode(secret).decode() not in repr(found)
    async with world.store._database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT code_hash FROM recovery_codes")
        kept = {row[0] for row in rows}
    assert len(kept) == RECOVERY_CODES
    assert not kept & set(codes)
