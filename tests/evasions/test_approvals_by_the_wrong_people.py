"""Verdict: refused, or still held. Whoever asked does not approve, however they come."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.gateway.hold import Hold
from taskgate.identity.logins import Logins
from taskgate.model.account import User
from taskgate.model.approval import ApprovalState
from taskgate.model.errors import Conflict, Denied, NotAuthenticated
from taskgate.model.identity import Identity, IdentityKind
from tests.gateway.holding import LEADS, UPDATE, Desk, desk
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import DAN, EVE, NOW

# The requester is a data lead as well: only who they are stands in the way.
LEAD = Identity("ann", groups=frozenset({"analysts", "data-leads"}), authenticated_at=NOW - 60)
HER_AGENT = Identity(
    "bot",
    kind=IdentityKind.AGENT,
    groups=frozenset({"analysts", "data-leads"}),
    authenticated_at=NOW - 60,
    acts_for=LEAD,
)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Desk]:
    async with desk(place) as made:
        yield made


async def held(here: Desk, requester: Identity = LEAD, people: int = 1) -> Hold:
    here.node.policies.change("groups: [analysts], people: [carl]", "groups: [data-leads]")
    grant = await here.grant(requester)
    decision = here.decision(demands=(replace(LEADS, people=people),))
    return await here.holds.ask(UPDATE, decision, here.session(grant), grant)


@pytest.mark.parametrize(
    "voter",
    [
        LEAD,
        replace(LEAD, authenticated_at=NOW, method="another device"),
        replace(LEAD, subject="ANN"),
        replace(LEAD, subject="ａｎｎ"),
        replace(LEAD, groups=frozenset({"data-leads", "owners", "admins"})),
        HER_AGENT,
        replace(HER_AGENT, kind=IdentityKind.HUMAN),
        replace(HER_AGENT, subject="bot-2"),
        replace(HER_AGENT, acts_for=replace(HER_AGENT, subject="bot-3")),
        replace(HER_AGENT, acts_for=DAN),
        replace(HER_AGENT, acts_for=None),
        replace(DAN, kind=IdentityKind.WORKLOAD),
        replace(DAN, groups=frozenset({"analysts"})),
        replace(DAN, issuer="https://elsewhere", groups=frozenset()),
    ],
)
async def test_refused_for_the_requester_in_any_dress(here: Desk, voter: Identity) -> None:
    hold = await held(here)
    with pytest.raises(Denied):
        await here.holds.vote(hold.approval.id, voter, approve=True)
    found = await here.holds.get(hold.approval.id)
    assert (found.state, found.votes) == (ApprovalState.WAITING, ())


@pytest.mark.parametrize("voter", [LEAD, HER_AGENT, replace(LEAD, subject="ANN")])
async def test_refused_for_whom_an_agent_asked(here: Desk, voter: Identity) -> None:
    here.node.policies.change("groups: [analysts], people: [carl]", "groups: [data-leads]")
    hold = await held_by_agent(here)
    with pytest.raises(Denied):
        await here.holds.vote(hold.approval.id, voter, approve=True)
    closed = await here.holds.vote(hold.approval.id, DAN, approve=True)
    assert closed.state is ApprovalState.APPROVED


async def held_by_agent(here: Desk) -> Hold:
    grant = await here.grant(HER_AGENT)
    return await here.holds.ask(UPDATE, here.decision(), here.session(grant), grant)


@pytest.mark.parametrize(
    "again",
    [
        DAN,
        replace(DAN, subject="DAN"),
        replace(DAN, subject="ｄａｎ"),
        replace(DAN, groups=frozenset({"data-leads", "owners"})),
        replace(DAN, authenticated_at=NOW + 1),
    ],
)
async def test_still_held_when_one_person_votes_twice(here: Desk, again: Identity) -> None:
    hold = await held(here, people=2)
    await here.holds.vote(hold.approval.id, DAN, approve=True)
    try:
        after = await here.holds.vote(hold.approval.id, again, approve=True)
    except Conflict:
        after = await here.holds.get(hold.approval.id)
    assert after.state is ApprovalState.WAITING
    closed = await here.holds.vote(hold.approval.id, EVE, approve=True)
    assert closed.state is ApprovalState.APPROVED


@pytest.mark.parametrize("how", ["group", "disabled", "password", "cut off"])
async def test_refused_for_an_approver_who_was_one_until_a_moment_ago(here: Desk, how: str) -> None:
    store, logins = here.node.store, Logins(here.node.store.logins, here.clock)
    await store.users.add(User("dan", "x", frozenset({"data-leads"}), NOW - 100))
    issued = await logins.issue(DAN)
    match how:
        case "group":
            await store.users.set_groups("dan", frozenset(), NOW)
        case "disabled":
            await store.users.set_disabled("dan", True, NOW)
        case "password":
            await store.users.set_password("dan", "y", NOW)
        case _:
            await here.node.grants.cut_off(DAN.key, "left")
    with pytest.raises(NotAuthenticated):
        await logins.check(issued.token)
