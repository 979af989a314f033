"""Sign-ins to the API."""

import pytest

from taskgate.identity.logins import LASTS_S, Logins
from taskgate.identity.tokens import TokenKind, new_token
from taskgate.model import limits
from taskgate.model.errors import NotAuthenticated
from taskgate.model.identity import Identity
from tests.identity.around import Node
from tests.store.samples import ANN, NOW


@pytest.fixture
def logins(here: Node) -> Logins:
    return Logins(here.store.logins, here.clock)


async def test_a_token_stands_for_who_signed_in(logins: Logins) -> None:
    issued = await logins.issue(ANN)
    assert await logins.check(issued.token) == ANN
    assert issued.token not in repr(issued)
    assert issued.login.expires_at == NOW + LASTS_S


async def test_every_wrong_token_is_refused_in_the_same_words(here: Node, logins: Logins) -> None:
    issued, over = await logins.issue(ANN), await logins.issue(ANN)
    await logins.end(over.token)
    grant = await here.grants.request(ANN, "sales-report", "because")
    told = set()
    for token in (over.token, new_token(TokenKind.LOGIN)[0], grant.token, "", "\ud800"):
        with pytest.raises(NotAuthenticated) as caught:
            await logins.check(token)
        told.add((caught.value.message, caught.value.hint))
    assert len(told) == 1
    assert await logins.check(issued.token) == ANN


async def test_a_sign_in_ends_at_its_second_and_is_never_longer_than_a_day_s_half(
    here: Node, logins: Logins
) -> None:
    issued = await logins.issue(ANN, lasts_s=10**9)
    here.clock.pass_s(LASTS_S - 0.001)
    assert await logins.check(issued.token)
    here.clock.jump_s(-1000)
    here.clock.pass_s(0.001)
    with pytest.raises(NotAuthenticated):
        await logins.check(issued.token)


async def test_cutting_off_ends_it_at_once_until_signed_in_anew(here: Node, logins: Logins) -> None:
    issued = await logins.issue(ANN)
    await here.grants.cut_off(ANN.key, "left")
    with pytest.raises(NotAuthenticated):
        await logins.check(issued.token)
    with pytest.raises(NotAuthenticated):
        await logins.issue(ANN)
    assert await logins.issue(Identity("ann", authenticated_at=NOW + 1))


@pytest.mark.cap("MAX_LOGINS_PER_PERSON")
async def test_a_person_has_so_many_and_the_oldest_goes(
    here: Node, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_LOGINS_PER_PERSON", 2)
    issued = []
    for _ in range(3):
        issued.append(await logins.issue(ANN))
        here.clock.pass_s(1)
        if len(issued) == 2:
            assert await logins.check(issued[0].token)
    with pytest.raises(NotAuthenticated):
        await logins.check(issued[0].token)
    for kept in issued[1:]:
        assert await logins.check(kept.token) == ANN
