"""The identity page's examples are what the gateway and its policy take."""

import re
from pathlib import Path

import pytest
import yaml

from taskgate.gateway.config import parse_config
from taskgate.policy.load import load_files
from taskgate.policy.trusts import Trust

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "identity.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
POLICY = """
kind: Resource
name: shop
protocol: postgres
address: localhost:5432
credential: {username: gate}
---
kind: Task
name: nightly-export
resource: shop
permit: [{select: [shop.orders]}]
---
"""
TRUSTS = {str(yaml.safe_load(b)["name"]): b for b in BLOCKS if b.startswith("kind: Trust")}
GATE = "https://gate.example.com"
# What each platform's documentation says that its tokens hold.
CLAIMS: dict[str, dict[str, object]] = {
    "nightly": {
        "sub": "repo:acme/shop:environment:production", "repository": "acme/shop",
        "repository_owner": "acme", "ref": "refs/heads/main", "environment": "production",
        "workflow": "nightly", "run_id": "1", "actor": "ann", "event_name": "schedule",
    },
    "gitlab-nightly": {
        "sub": "project_path:acme/shop:ref_type:branch:ref:main", "project_path": "acme/shop",
        "namespace_path": "acme", "ref": "main", "ref_protected": "true",
        "environment": "production", "pipeline_id": "1", "job_id": "2", "user_login": "ann",
    },
    "cluster-nightly": {
        "sub": "system:serviceaccount:shop:nightly",
        "kubernetes.io": {
            "namespace": "shop", "pod": {"name": "export", "uid": "1"},
            "serviceaccount": {"name": "nightly", "uid": "2"},
        },
    },
    "buildkite-nightly": {
        "sub": "organization:acme:pipeline:shop-nightly:ref:refs/heads/main:commit:9f3:step:",
        "organization_slug": "acme", "pipeline_slug": "shop-nightly", "build_number": 7,
        "build_branch": "main", "job_id": "1",
    },
    "batch": {"sub": "service-account-nightly", "azp": "nightly-batch"},
    "spiffe-nightly": {"sub": "spiffe://example.org/ns/shop/sa/nightly"},
}  # fmt: skip


def trust_of(name: str) -> Trust:
    return load_files({"p.yaml": POLICY + TRUSTS[name]}).trusts[name]


def test_every_platform_has_an_example() -> None:
    assert set(TRUSTS) == set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_an_example_takes_the_platforms_token_and_not_anothers(name: str) -> None:
    trust, claims = trust_of(name), CLAIMS[name]
    assert trust.unmet(claims) is None
    assert dict(trust.kept(claims))["sub"] == claims["sub"]
    for condition in trust.conditions:
        without = {key: value for key, value in claims.items() if key != condition.path[0]}
        assert trust.unmet(without) is not None


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.startswith("oidc:")], ids=["whole", "direct"]
)
def test_the_configuration_is_taken(block: str) -> None:
    config = parse_config(f"state_dir: state\n{block}", Path("gate.yaml"))
    assert config.oidc[0].name == "corp"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.startswith("saml:")], ids=["whole"])
def test_the_configuration_of_saml_is_taken(block: str) -> None:
    config = parse_config(f"state_dir: state\npublic_url: {GATE}\n{block}", Path("gate.yaml"))
    assert config.saml[0].name == "staff"


def test_every_block_is_yaml() -> None:
    for block in BLOCKS:
        assert list(yaml.safe_load_all(block))


def test_every_command_shown_exists() -> None:
    from typer.main import get_command

    from taskgate.cli.main import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = set(re.findall(r"(?m)(?:^|[`(\s])taskgate ([a-z]+)\b", PAGE)) - {"for"}
    assert {"login", "exec", "env", "done"} <= shown
    assert shown <= known
