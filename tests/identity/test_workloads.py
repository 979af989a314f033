"""CI jobs and other workloads, mimicked as their platforms document their tokens: who gets a grant,
for how long, and that one token buys one grant."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.identity.proof import ProvenGrants
from taskgate.identity.workloads import Workloads
from taskgate.model.errors import Denied, NotAuthenticated
from taskgate.model.identity import IdentityKind
from taskgate.model.token import GrantSelector
from tests.identity.around import Node, Policies, node
from tests.identity.clocks import SteppedClock
from tests.identity.oidc.issuing import Issuing, issuing, rsa_key
from tests.store.places import Place

GATE = "https://gate.example.com"
POLICY = """
kind: Resource
name: warehouse
protocol: postgres
address: db:5432
credential: {username: gate}
---
kind: Task
name: export
resource: warehouse
lasts: 15m
permit: [{select: [sales.orders]}]
---
kind: Task
name: migrate
resource: warehouse
for: {groups: [dba]}
permit: [{alter: [sales.orders]}]
---
kind: Trust
name: nightly
issuer: ISSUER
audience: https://gate.example.com
claims: {repository: acme/shop, ref: refs/heads/main, environment: [production, staging]}
tasks: export
lasts: 10m
"""
KEYS: list[Any] = []


@dataclass(frozen=True, slots=True)
class Setting:
    node: Node
    workloads: Workloads
    platform: Issuing

    def job(self, **changed: Any) -> str:
        """The token of a run, with GitHub Actions' claims."""
        claims: dict[str, Any] = {
            "aud": GATE, "sub": "repo:acme/shop:environment:production", "jti": "run-1",
            "repository": "acme/shop", "ref": "refs/heads/main", "environment": "production",
            "workflow": "nightly", "run_id": "42", "actor": "ann", "groups": None,
        }  # fmt: skip
        return self.platform.token(**(claims | changed))


@pytest.fixture
def platform() -> Iterator[Issuing]:
    if not KEYS:
        KEYS.append(rsa_key())
    with issuing(*KEYS) as running:
        yield running


@pytest.fixture
async def setting(place: Place, platform: Issuing) -> AsyncIterator[Setting]:
    policies = Policies(POLICY.replace("ISSUER", platform.issuer))
    async with node(place, SteppedClock(time.time()), policies) as here:
        proven = ProvenGrants(here.grants, here.store.grants, policies, here.clock)
        workloads = Workloads(proven, here.grants, policies, here.clock)
        yield Setting(here, workloads, platform)
        await workloads.close()


async def refused(setting: Setting, token: str, task: str = "export") -> str:
    with pytest.raises(TokenRefused) as caught:
        await setting.workloads.exchange(token, task)
    return caught.value.why


async def test_a_job_gets_a_grant_for_minutes_bound_to_its_run(setting: Setting) -> None:
    issued, fresh = await setting.workloads.exchange(setting.job(), "export")
    grant = issued.grant
    assert fresh
    assert grant.identity.key == "trust/nightly:repo:acme/shop:environment:production"
    assert grant.identity.kind is IdentityKind.WORKLOAD
    assert grant.identity.groups == frozenset()
    assert 590 < grant.expires_at - setting.node.clock.now() <= 600
    claims = dict(grant.identity.claims)
    assert claims["run_id"] == "42"
    assert claims["jti"] == "run-1"
    assert "nightly" in grant.reason
    checked = await setting.node.grants.check(issued.token, "export", "warehouse")
    assert checked.identity == grant.identity
    setting.node.clock.pass_s(600)
    with pytest.raises(NotAuthenticated):
        await setting.node.grants.check(issued.token, "export", "warehouse")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"repository": "acme/shop-fork"}, "repository"),
        ({"repository": "evil/shop"}, "repository"),
        ({"repository": None}, "repository"),
        ({"ref": "refs/heads/evil"}, "ref"),
        ({"ref": "refs/heads/main\n"}, "ref"),
        ({"environment": "test"}, "environment"),
        ({"environment": None}, "environment"),
        ({"aud": "https://another.example"}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": 1}, "expired"),
        ({"nbf": int(time.time()) + 9999}, "not valid yet"),
        ({"sub": None}, "subject"),
        ({"iss": "https://evil.example"}, "no trust rule"),
        ({"events": {}}, "events"),
    ],
)
async def test_another_run_is_refused(setting: Setting, changed: dict[str, Any], why: str) -> None:
    assert why in await refused(setting, setting.job(**changed))


async def test_a_task_that_the_rule_does_not_list_is_refused_like_one_that_is_not_there(
    setting: Setting,
) -> None:
    for task in ("migrate", "nothing-of-that-name"):
        assert "no trust rule" in await refused(setting, setting.job(), task)


async def test_the_issuer_of_a_token_is_not_asked_unless_the_policy_names_it(
    setting: Setting,
) -> None:
    with issuing(rsa_key()) as stranger:
        assert "no trust rule" in await refused(setting, stranger.token(aud=GATE))
        assert stranger.asked == []


async def test_a_forged_signature_is_refused(setting: Setting) -> None:
    token = setting.job()
    with issuing(rsa_key()) as other:
        forged = other.token(**setting.platform.claims(
            aud=GATE, repository="acme/shop", ref="refs/heads/main", environment="production"
        ))  # fmt: skip
    assert "signature" in await refused(setting, forged)
    assert "signature" in await refused(setting, token.rpartition(".")[0] + ".AAAA")


async def test_the_same_token_is_one_grant_however_often_it_is_shown(setting: Setting) -> None:
    token = setting.job()
    found = await asyncio.gather(*(setting.workloads.exchange(token, "export") for _ in range(8)))
    assert len({issued.grant.id for issued, _ in found}) == 1
    assert len({issued.token for issued, _ in found}) == 8
    assert sum(fresh for _, fresh in found) == 1


async def test_a_grant_that_was_ended_is_not_bought_again_with_the_same_token(
    setting: Setting,
) -> None:
    token = setting.job()
    issued, _ = await setting.workloads.exchange(token, "export")
    await setting.node.grants.revoke(GrantSelector(grant_id=issued.grant.id), "done")
    with pytest.raises(NotAuthenticated, match="over"):
        await setting.workloads.exchange(token, "export")
    again, fresh = await setting.workloads.exchange(setting.job(jti="run-1-again"), "export")
    assert fresh
    assert again.grant.id != issued.grant.id


async def test_a_grant_that_ran_out_is_not_renewed_with_the_same_token(setting: Setting) -> None:
    token = setting.job(exp=int(time.time()) + 3600)
    await setting.workloads.exchange(token, "export")
    setting.node.clock.pass_s(601)
    for _ in range(2):
        with pytest.raises(NotAuthenticated, match="over"):
            await setting.workloads.exchange(token, "export")
        await setting.node.grants.lapse()


async def test_a_workload_that_was_cut_off_needs_a_token_issued_since(setting: Setting) -> None:
    issued, _ = await setting.workloads.exchange(setting.job(), "export")
    await setting.node.grants.cut_off(issued.grant.identity.key, "its repository was sold")
    with pytest.raises(NotAuthenticated):
        await setting.workloads.exchange(setting.job(jti="before"), "export")
    # Their clock may be ahead of ours: what they say was issued just after may have been before.
    soon = setting.job(jti="soon", iat=int(time.time()) + 30)
    with pytest.raises(NotAuthenticated):
        await setting.workloads.exchange(soon, "export")
    setting.node.clock.pass_s(120)
    later = setting.job(jti="after", iat=int(time.time()) + 100)
    assert (await setting.workloads.exchange(later, "export"))[1]


async def test_dropping_the_rule_ends_what_rests_on_it(setting: Setting) -> None:
    issued, _ = await setting.workloads.exchange(setting.job(), "export")
    setting.node.policies.change("name: nightly", "name: renamed")
    with pytest.raises(Denied, match="may not take up"):
        await setting.node.grants.check(issued.token, "export", "warehouse")


async def test_a_platform_that_is_down_is_said(setting: Setting) -> None:
    setting.platform.status = 502
    with pytest.raises(ProviderUnavailable):
        await setting.workloads.exchange(setting.job(), "export")
