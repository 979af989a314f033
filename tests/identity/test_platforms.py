"""Each platform's tokens, minted as it documents them, under the rule that the docs show for it."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.proof import ProvenGrants
from taskgate.identity.workloads import Workloads
from taskgate.model.errors import NotAuthenticated
from taskgate.policy.platforms import PLATFORMS
from tests.docs.test_identity import POLICY, TRUSTS
from tests.identity.around import Policies, node
from tests.identity.clocks import SteppedClock
from tests.identity.oidc.issuing import Issuing, issuing, rsa_key
from tests.store.places import new_place

GATE = "https://gate.example.com"
KEYS: list[Any] = []
SHA = "9f3c1d0e5b7a4c2f8e6d1a0b9c8d7e6f5a4b3c2d"


@dataclass(frozen=True, slots=True)
class Minted:
    """A platform's claims; `other` are those of a job next door."""

    rule: str
    platform: str
    claims: dict[str, Any]
    other: dict[str, Any]


MINTED = (
    Minted(
        "nightly",
        "github-actions",
        {
            "jti": "run", "sub": "repo:acme/shop:environment:production", "aud": GATE,
            "ref": "refs/heads/main", "sha": SHA, "repository": "acme/shop",
            "repository_owner": "acme", "actor_id": "12", "repository_visibility": "private",
            "repository_id": "74", "repository_owner_id": "65", "run_id": "4242",
            "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted",
            "actor": "ann", "workflow": "nightly", "head_ref": "", "base_ref": "",
            "event_name": "schedule", "ref_type": "branch", "environment": "production",
            "job_workflow_ref": "acme/shop/.github/workflows/nightly.yml@refs/heads/main",
        },
        {"repository": "acme/other", "sub": "repo:acme/other:environment:production"},
    ),
    Minted(
        "gitlab-nightly",
        "gitlab-ci",
        {
            "jti": "c82e", "sub": "project_path:acme/shop:ref_type:branch:ref:main", "aud": GATE,
            "namespace_id": "72", "namespace_path": "acme", "project_id": "20",
            "project_path": "acme/shop", "user_id": "1", "user_login": "ann",
            "user_email": "ann@example.com", "pipeline_id": "574", "pipeline_source": "schedule",
            "job_id": "302", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
            "ref_protected": "true", "environment": "production", "environment_protected": "false",
            "deployment_tier": "production", "environment_action": "start", "runner_id": 1,
            "runner_environment": "self-hosted", "sha": SHA, "project_visibility": "private",
            "ci_config_ref_uri": "gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main",
            "ci_config_sha": SHA,
        },
        {"ref_protected": "false"},
    ),
    Minted(
        "cluster-nightly",
        "kubernetes",
        {
            "jti": "k1", "sub": "system:serviceaccount:shop:nightly", "aud": [GATE],
            "kubernetes.io": {
                "namespace": "shop", "node": {"name": "n1", "uid": "u0"},
                "pod": {"name": "export", "uid": "u1"},
                "serviceaccount": {"name": "nightly", "uid": "u2"},
            },
        },
        {
            "sub": "system:serviceaccount:shop:web",
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web", "uid": "u3"}},
        },
    ),
    Minted(
        "buildkite-nightly",
        "buildkite",
        {
            "sub": "organization:acme:pipeline:shop-nightly:ref:refs/heads/main:commit:9f:step:",
            "aud": GATE, "organization_slug": "acme", "organization_id": "o1",
            "pipeline_slug": "shop-nightly", "pipeline_id": "p1", "build_number": 7,
            "build_branch": "main", "build_commit": SHA, "build_source": "schedule",
            "step_key": "export", "job_id": "j1", "agent_id": "a1", "cluster_id": "c1",
            "cluster_name": "default", "queue_id": "q1", "queue_key": "default",
            "runner_environment": "self-hosted",
        },
        {"pipeline_slug": "other"},
    ),
    Minted(
        "spiffe-nightly",
        "spiffe",
        {"sub": "spiffe://example.org/ns/shop/sa/nightly", "aud": [GATE]},
        {"sub": "spiffe://example.org/ns/shop/sa/web"},
    ),
    Minted(
        "batch",
        "",
        {"sub": "service-account-nightly", "azp": "nightly-batch", "aud": "taskgate"},
        {"azp": "other-batch"},
    ),
)  # fmt: skip


@pytest.fixture
def signing() -> Iterator[Issuing]:
    if not KEYS:
        KEYS.append(rsa_key())
    with issuing(*KEYS) as running:
        yield running


@pytest.fixture(params=MINTED, ids=lambda minted: minted.rule)
def minted(request: pytest.FixtureRequest) -> Minted:
    found: Minted = request.param
    return found


@pytest.fixture
async def workloads(
    request: pytest.FixtureRequest, tmp_path: Path, signing: Issuing, minted: Minted
) -> AsyncIterator[tuple[Workloads, Any]]:
    # The rule as the docs show it, with the issuer of this test in its place.
    text = re.sub(r"(?m)^(issuer|jwks_uri|ca_file):.*\n", "", TRUSTS[minted.rule])
    policies = Policies(POLICY + text + f"issuer: {signing.issuer}\n")
    with new_place(request, tmp_path, "sqlite") as place:
        async with node(place, SteppedClock(time.time()), policies) as here:
            proven = ProvenGrants(here.grants, here.store.grants, policies, here.clock)
            made = Workloads(proven, here.grants, policies, here.clock)
            yield made, here
            await made.close()


async def test_its_job_gets_a_grant_for_minutes_and_the_job_next_door_none(
    workloads: tuple[Workloads, Any], signing: Issuing, minted: Minted
) -> None:
    exchange, here = workloads
    claims = minted.claims | {"groups": None}
    issued, fresh = await exchange.exchange(signing.token(**claims), "nightly-export")
    assert fresh
    grant = issued.grant
    assert grant.identity.key == f"trust/{minted.rule}:{minted.claims['sub']}"
    assert 0 < grant.expires_at - here.clock.now() <= 600
    kept = dict(grant.identity.claims)
    assert kept["sub"] == minted.claims["sub"]
    for name in ("run_id", "pipeline_id", "job_id", "build_number"):
        if name in minted.claims and name in kept:
            assert kept[name] == str(minted.claims[name])
    assert (await here.grants.check(issued.token, "nightly-export", "shop")).id == grant.id
    with pytest.raises(TokenRefused):
        await exchange.exchange(signing.token(**(claims | minted.other)), "nightly-export")
    with pytest.raises(TokenRefused):
        await exchange.exchange(signing.token(**(claims | {"aud": "sts"})), "nightly-export")


async def test_it_goes_on_only_by_a_new_token_of_the_run(
    workloads: tuple[Workloads, Any], signing: Issuing, minted: Minted
) -> None:
    exchange, here = workloads
    claims = minted.claims | {"groups": None}
    now = int(time.time())
    first = signing.token(**claims, iat=now, exp=now + 3600)
    issued, _ = await exchange.exchange(first, "nightly-export")
    here.clock.pass_s(601)
    await here.catch_up()
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "nightly-export", "shop")
    # The platform's token is good for an hour, and bought one grant all the same.
    with pytest.raises(NotAuthenticated):
        await exchange.exchange(first, "nightly-export")
    again = signing.token(**claims, iat=now + 1, exp=now + 3600)
    renewed, fresh = await exchange.exchange(again, "nightly-export")
    assert fresh
    assert renewed.grant.id != issued.grant.id


def test_the_documented_claims_are_those_the_rules_may_ask_for() -> None:
    assert {minted.platform for minted in MINTED} == {*PLATFORMS, ""}
    for minted in MINTED:
        if minted.platform:
            assert set(minted.claims) <= PLATFORMS[minted.platform].claims
