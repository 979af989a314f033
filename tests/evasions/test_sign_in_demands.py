"""Tasks that want a strong, recent sign-in, and the ways to get by with another: refused, told what
is missing, and nothing opens."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgate.identity.delegation import Delegation, Wish
from taskgate.identity.oidc.claims import Spans
from taskgate.identity.oidc.people import identity_of
from taskgate.identity.oidc.settings import GroupMapping, ProviderSettings
from taskgate.identity.proof import Proof, ProvenGrants
from taskgate.identity.ssh_access import HeldGrants, Proven
from taskgate.model.authentication import Authentication
from taskgate.model.errors import Denied, StepUpNeeded
from taskgate.model.identity import Identity, IdentityKind
from tests.identity.around import POLICY, Node, Policies, node
from tests.identity.clocks import SteppedClock
from tests.store.places import new_place
from tests.store.samples import ANN, NOW

WHY = "a look at payroll"
STRICT = (
    POLICY
    + """
---
kind: Task
name: payroll
resource: warehouse
for: {groups: [analysts], kinds: [human, agent, workload]}
sign_in: {mfa: true, within: 15m}
direct: true
permit:
  - select: [sales.orders]
"""
)
STRONG = replace(ANN, authentication=Authentication(frozenset({"pwd", "otp"}), auth_time=NOW - 60))


@pytest.fixture
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    with new_place(request, tmp_path, "sqlite") as place:
        async with node(place, SteppedClock(NOW), Policies(STRICT)) as running:
            yield running


async def refused(there: Node, who: Identity) -> str:
    with pytest.raises(StepUpNeeded) as caught:
        await there.grants.request(who, "payroll", WHY)
    assert caught.value.rule == "payroll/sign_in"
    assert caught.value.demand.mfa
    return caught.value.message


async def test_a_strong_and_recent_sign_in_is_let_in(there: Node) -> None:
    issued = await there.grants.request(STRONG, "payroll", WHY)
    assert await there.grants.check(issued.token, "payroll", "warehouse") == issued.grant


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        pytest.param(
            Authentication(frozenset({"pwd"}), auth_time=NOW), "a second factor", id="pwd"
        ),
        pytest.param(
            Authentication(frozenset({"mfa"})), "within the last 15 minutes", id="no-time"
        ),
        pytest.param(
            Authentication(frozenset({"mfa"}), auth_time=NOW - 901),
            "within the last 15 minutes",
            id="old",
        ),
        pytest.param(Authentication(), "a second factor and a sign-in within", id="nothing-told"),
    ],
)
async def test_a_weaker_sign_in_is_refused(
    there: Node, shown: Authentication, missing: str
) -> None:
    assert missing in await refused(there, replace(ANN, authentication=shown))


async def test_a_weaker_sign_in_gets_no_token_of_a_grant_that_a_stronger_one_took_up(
    there: Node,
) -> None:
    grant = (await there.grants.request(STRONG, "payroll", WHY)).grant
    weak = replace(ANN, authentication=Authentication(frozenset({"pwd"}), auth_time=NOW))
    with pytest.raises(StepUpNeeded, match="a second factor"):
        await there.grants.issue_token(weak, grant.id)
    assert (await there.grants.issue_token(STRONG, grant.id)).grant == grant


async def test_a_weaker_sign_in_s_key_does_not_use_a_grant_that_a_stronger_one_took_up(
    there: Node,
) -> None:
    proven = ProvenGrants(there.grants, there.store.grants, there.policies, there.clock)
    held = HeldGrants(there.grants, proven, there.policies, there.clock)
    grant = (await there.grants.request(STRONG, "payroll", WHY)).grant
    weak = replace(ANN, authentication=Authentication(frozenset({"pwd"}), auth_time=NOW))
    with pytest.raises(StepUpNeeded, match="a second factor"):
        await held.find(Proven(weak, stale=True), "payroll", "")
    found, resource, fresh = await held.find(Proven(STRONG, stale=True), "payroll", "")
    assert (found, resource, fresh) == (grant, "warehouse", False)


async def test_a_grant_kept_for_later_opens_nothing_once_the_sign_in_is_old(there: Node) -> None:
    issued = await there.grants.request(STRONG, "payroll", WHY)
    there.clock.pass_s(15 * 60)
    with pytest.raises(StepUpNeeded, match="within the last 15 minutes"):
        await there.grants.check(issued.token, "payroll", "warehouse")


async def test_a_demand_that_comes_later_counts_for_grants_that_are_there(there: Node) -> None:
    issued = await there.grants.request(ANN, "sales-report", WHY)
    there.policies.change("lasts: {default: 1h", "sign_in: {mfa: true}\nlasts: {default: 1h")
    with pytest.raises(StepUpNeeded, match="a second factor"):
        await there.grants.check(issued.token, "sales-report", "warehouse")


async def test_an_agent_s_own_sign_in_does_not_stand_for_its_person_s(there: Node) -> None:
    fresh = Authentication(frozenset({"mfa"}), auth_time=NOW)
    agent = Identity(
        "bot", kind=IdentityKind.AGENT, authenticated_at=NOW, acts_for=ANN, authentication=fresh
    )
    assert "a second factor" in await refused(there, agent)


async def test_a_child_derived_later_is_refused(there: Node) -> None:
    derive = Delegation(there.store.grants, there.grants, there.policies, there.clock).derive
    parent = (await there.grants.request(STRONG, "payroll", WHY)).grant
    child = await derive(parent, Wish(agent="claude"))
    assert (await there.grants.check(child.token, "payroll", "warehouse")).id == child.grant.id
    there.clock.pass_s(15 * 60)
    await there.catch_up()
    with pytest.raises(StepUpNeeded):
        await derive(parent, Wish(step="later"))
    with pytest.raises(StepUpNeeded):
        await there.grants.check(child.token, "payroll", "warehouse")


async def test_a_workload_in_the_right_group_is_refused(there: Node) -> None:
    job = replace(ANN, kind=IdentityKind.WORKLOAD, authenticated_at=NOW)
    with pytest.raises(StepUpNeeded) as caught:
        await there.grants.request(job, "payroll", WHY)
    assert caught.value.hint == "this task is for people who sign in themselves"


async def test_a_token_straight_from_the_provider_is_held_to_it_each_time(there: Node) -> None:
    proven = ProvenGrants(there.grants, there.store.grants, there.policies, there.clock)
    weak = Proof(replace(ANN, authentication=Authentication()), "a" * 64, NOW + 3600)
    with pytest.raises(StepUpNeeded):
        await proven.take_up(weak, "payroll", WHY, use="direct")
    strong = Proof(STRONG, "b" * 64, NOW + 3600)
    grant, fresh = await proven.take_up(strong, "payroll", WHY, use="direct")
    assert fresh
    there.clock.pass_s(15 * 60)
    # The grant lives on, but a new connection with the same token is a new use.
    assert grant.live(there.clock.now())
    with pytest.raises(StepUpNeeded):
        await proven.take_up(strong, "payroll", WHY, use="direct")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param({"amr": ["pwd", "mfa"]}, True, id="told"),
        pytest.param({"acr": "gold"}, True, id="acr-that-stands-for-it"),
        pytest.param({"amr": "mfa"}, False, id="amr-as-text"),
        pytest.param({"amr": {"mfa": True}}, False, id="amr-as-object"),
        pytest.param({"amr": [["mfa"]]}, False, id="amr-in-a-list"),
        pytest.param({"amr": ["x"] * 32 + ["mfa"]}, False, id="amr-too-long"),
        pytest.param({"acr": "GOLD"}, False, id="acr-in-capitals"),
        pytest.param({"acr": ["gold"]}, False, id="acr-as-list"),
        pytest.param({"acrs": ["gold"]}, False, id="another-claim"),
        pytest.param({"mfa": True}, False, id="a-claim-of-that-name"),
    ],
)
def test_a_token_that_only_seems_to_tell_of_a_second_factor(
    claims: dict[str, Any], expected: bool
) -> None:
    settings = ProviderSettings("corp", "https://idp", "gate", mfa_acr=("gold",))
    found = identity_of(settings, {"sub": "ann"} | claims, Spans(NOW, NOW + 60), "oidc")
    assert found.authentication.multi_factor is expected


def test_a_token_whose_sign_in_is_after_its_issue_is_no_newer_for_it() -> None:
    settings = ProviderSettings("corp", "https://idp", "gate")
    later = {"sub": "ann", "auth_time": NOW + 10**6}
    assert (
        identity_of(settings, later, Spans(NOW - 600, NOW + 60), "oidc").authentication.auth_time
        == NOW - 600
    )
    assert (
        identity_of(settings, later, Spans(None, NOW + 60), "oidc").authentication.auth_time is None
    )


async def test_an_agent_s_token_of_the_provider_opens_no_task_that_is_for_people(
    there: Node,
) -> None:
    """A token for ann that names an actor is the actor's: a task that refuses agents refuses it."""
    settings = ProviderSettings("corp", "https://idp", "gate", groups=GroupMapping())
    claims = {"sub": "ann", "groups": ["analysts"], "act": {"sub": "claude"}}
    agent = identity_of(settings, claims, Spans(NOW - 60, NOW + 60), "oidc-token")
    person = identity_of(
        settings, {n: v for n, v in claims.items() if n != "act"}, Spans(NOW - 60, NOW + 60), "x"
    )
    assert (await there.grants.request(person, "sales-report", WHY)).grant
    with pytest.raises(Denied, match="may take up"):
        await there.grants.request(agent, "sales-report", WHY)
