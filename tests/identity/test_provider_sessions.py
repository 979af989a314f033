"""The end of a session at a provider ends what rests on it: sign-ins, grants, what was derived, and
what would renew them; and nothing else."""

from dataclasses import replace

import pytest

from taskgate.identity.logins import Logins
from taskgate.model.authentication import Authentication
from taskgate.model.errors import Denied, NotAuthenticated
from taskgate.model.identity import Identity, IdentityKind, session_key
from tests.identity.around import Node
from tests.store.samples import ANN, NOW

WHY = "the weekly report"


def of(session: str, at: float = NOW - 60) -> Identity:
    return replace(
        ANN, issuer="corp", authenticated_at=at, authentication=Authentication(session=session)
    )


async def test_one_session_s_end_ends_what_rests_on_it_alone(here: Node) -> None:
    logins = Logins(here.store.logins, here.clock)
    one, two = of("s1"), of("s2")
    first, second = await logins.issue(one), await logins.issue(two)
    mine = await here.grants.request(one, "sales-report", WHY)
    theirs = await here.grants.request(two, "sales-report", WHY)
    agent = Identity("bot", kind=IdentityKind.AGENT, authenticated_at=NOW, acts_for=one)
    borrowed = await logins.issue(agent)
    ended = await here.grants.cut_off(session_key("corp", "s1"), "signed out")
    assert [one.grant_id for one in ended] == [mine.grant.id]
    with pytest.raises(Denied, match="signed out"):
        here.grants.ensure(mine.grant)
    here.grants.ensure(theirs.grant)
    for token in (first.token, borrowed.token):
        with pytest.raises(NotAuthenticated):
            await logins.check(token)
    assert (await logins.check(second.token)).key == "corp:ann"
    # Renewing rests on the same authentication, and does not come back.
    with pytest.raises(NotAuthenticated):
        await logins.issue(one)
    with pytest.raises(NotAuthenticated):
        await here.grants.request(one, "sales-report", WHY)
    await logins.issue(of("s3", here.clock.now()))


async def test_sign_ins_may_end_without_the_grants(here: Node) -> None:
    logins = Logins(here.store.logins, here.clock)
    login = await logins.issue(of("s1"))
    grant = (await here.grants.request(of("s1"), "sales-report", WHY)).grant
    assert await here.grants.cut_off("corp:ann", "signed out", grants_too=False) == ()
    with pytest.raises(NotAuthenticated):
        await logins.check(login.token)
    here.grants.ensure(grant)
    with pytest.raises(NotAuthenticated):
        await here.grants.request(of("s1"), "sales-report", WHY)


async def test_a_session_is_no_person(here: Node) -> None:
    await here.grants.request(of("s1"), "sales-report", WHY)
    assert await here.store.leaving.seen((), "s1") == ()
    # A person whose name is like a session's is not that session.
    named = replace(of("s2"), subject="s1", issuer="session")
    grant = (await here.grants.request(named, "sales-report", WHY)).grant
    await here.grants.cut_off(session_key("corp", "s1"), "signed out")
    here.grants.ensure(grant)
