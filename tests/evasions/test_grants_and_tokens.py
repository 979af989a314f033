"""Verdict: refused. A token opens its own task and resources, while its grant holds, no more."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.identity.logins import Logins
from taskgate.identity.tokens import hash_token
from taskgate.model.errors import Denied, NotAuthenticated, NotFound
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.token import GrantSelector
from tests.identity.around import Node, Policies, node
from tests.identity.clocks import SteppedClock
from tests.patience import eventually, within
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import ANN, NOW

WHY = "the weekly report"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Node]:
    async with node(place) as made:
        yield made


async def test_refused_what_a_stolen_store_holds(here: Node) -> None:
    # The hash, and what its row says, open nothing: only what hashes to it does.
    issued = await here.grants.request(ANN, "sales-report", WHY)
    for stolen in (hash_token(issued.token), f"tg_{hash_token(issued.token)}", issued.grant.id):
        with pytest.raises(NotAuthenticated):
            await here.grants.check(stolen, "sales-report", "warehouse")


async def test_refused_as_the_other_kind_of_token(here: Node) -> None:
    logins = Logins(here.store.logins, here.clock)
    grant, login = await here.grants.request(ANN, "sales-report", WHY), await logins.issue(ANN)
    with pytest.raises(NotAuthenticated):
        await here.grants.check(login.token, "sales-report", "warehouse")
    with pytest.raises(NotAuthenticated):
        await logins.check(grant.token)


@pytest.mark.parametrize(
    ("task", "resource"),
    [
        ("night-job", "warehouse"),
        ("sales-report", "archive"),
        ("SALES-REPORT", "warehouse"),
        ("sales-report ", "warehouse"),
        ("sales-report", "warehouse\0"),
        ("sales-report", ""),
        ("", "warehouse"),
        ("", ""),
    ],
)
async def test_refused_for_another_task_or_resource(here: Node, task: str, resource: str) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY, resource="warehouse")
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, task, resource)


@pytest.mark.parametrize("jump_s", [-86_400, -3_600, -1])
async def test_refused_after_the_end_with_a_clock_turned_back(here: Node, jump_s: float) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY, lasts_s=60)
    await here.grants.check(issued.token, "sales-report", "warehouse")
    here.clock.pass_s(59)
    here.clock.jump_s(jump_s)
    here.clock.pass_s(1)
    await here.catch_up()
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    with pytest.raises(Denied):
        here.grants.ensure(issued.grant)
    assert here.grants.remaining_s(issued.grant) == 0


async def test_refused_a_whole_grant_to_who_comes_in_the_last_second(here: Node) -> None:
    issued = await here.grants.request(ANN, "night-job", WHY)
    here.clock.pass_s(1799.5)
    await here.catch_up()
    grant = await here.grants.check(issued.token, "night-job", "warehouse")
    assert here.grants.remaining_s(grant) == pytest.approx(0.5)
    here.clock.pass_s(0.5)
    assert here.grants.remaining_s(grant) == 0


def test_refused_on_every_node_within_a_second_of_being_revoked_on_one(place: Place) -> None:
    within(1.0, lambda: asyncio.run(refused_everywhere_after_s(place)))


async def refused_everywhere_after_s(place: Place) -> float:
    """How long it takes until three nodes refuse what one of them revoked."""
    clock, policies = SteppedClock(NOW), Policies()
    async with (
        node(place, clock, policies) as first,
        node(place, clock, policies) as second,
        node(place, clock, policies) as third,
    ):
        issued = await first.grants.request(ANN, "sales-report", WHY)
        for one in (first, second, third):
            await one.grants.check(issued.token, "sales-report", "warehouse")
        await second.grants.revoke(GrantSelector(person=ANN.key), "left")
        began = time.monotonic()
        for one in (first, second, third):
            await asyncio.to_thread(eventually, lambda one=one: ended(one, issued.grant))
        took = time.monotonic() - began
        for one in (first, second, third):
            with pytest.raises(Denied, match="left"):
                one.grants.ensure(issued.grant)
            with pytest.raises(NotAuthenticated):
                await one.grants.check(issued.token, "sales-report", "warehouse")
        return took


def ended(node: Node, grant: Grant) -> bool:
    try:
        node.grants.ensure(grant)
    except Denied:
        return True
    return False


async def test_refused_to_agents_of_who_has_left(here: Node) -> None:
    here.policies.change("people: [carl]}", "people: [carl], kinds: [human, agent]}")
    agent = Identity("bot", kind=IdentityKind.AGENT, acts_for=ANN, authenticated_at=NOW - 1)
    issued = await here.grants.request(agent, "sales-report", WHY)
    await here.grants.check(issued.token, "sales-report", "warehouse")
    await here.grants.cut_off(ANN.key, "left")
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    here.clock.pass_s(1)
    with pytest.raises(NotAuthenticated):
        await here.grants.request(agent, "sales-report", WHY)


async def test_refused_to_an_agent_whose_person_may_not(here: Node) -> None:
    here.policies.change("people: [carl]}", "people: [carl], kinds: [human, agent]}")
    agent = Identity(
        "bot",
        kind=IdentityKind.AGENT,
        groups=frozenset({"analysts"}),
        acts_for=replace(ANN, groups=frozenset()),
    )
    with pytest.raises(Denied):
        await here.grants.request(agent, "sales-report", WHY)


async def test_refused_a_second_token_for_somebody_else_s_grant(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    agent = Identity("bot", kind=IdentityKind.AGENT, acts_for=ANN)
    with pytest.raises(NotFound):
        await here.grants.issue_token(agent, issued.grant.id)
