"""Trust rules: what loads, what is refused at load, and which claims meet a condition."""

from typing import Any

import pytest

from taskgate.model.identity import Identity, IdentityKind
from taskgate.policy.diff import diff
from taskgate.policy.load import load_files
from taskgate.policy.people import may_take_up
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.rules import Policy
from taskgate.policy.trusts import ClaimCondition

GITHUB = "https://token.actions.githubusercontent.com"
BASE = """
kind: Resource
name: shop
protocol: postgres
address: db:5432
credential: {username: gate}
---
kind: Task
name: export
resource: shop
permit: [{select: [shop.orders]}]
---
kind: Task
name: by-people
resource: shop
for: {groups: [analysts], kinds: [human]}
permit: [{select: [shop.orders]}]
---
kind: Trust
name: nightly
issuer: ISSUER
audience: https://gate.example.com
claims: CLAIMS
tasks: export
lasts: 10m
"""


def load(claims: str = "{repository: acme/shop}", issuer: str = GITHUB, **changed: str) -> Policy:
    text = BASE.replace("ISSUER", issuer).replace("CLAIMS", claims)
    for old, new in changed.items():
        name = old.replace("_", " ")
        assert name in text, name
        text = text.replace(name, new)
    return load_files({"policy.yaml": text})


def errors(*arguments: str, **changed: str) -> str:
    with pytest.raises(PolicyErrors) as caught:
        load(*arguments, **changed)
    return "\n".join(error.message for error in caught.value.errors)


def worker(trust: str = "nightly", kind: IdentityKind = IdentityKind.WORKLOAD) -> Identity:
    return Identity("repo:acme/shop", f"trust/{trust}", kind)


def test_a_trust_opens_its_tasks_to_those_who_come_under_it_and_nobody_else() -> None:
    task = load().tasks["export"]
    assert may_take_up(task, worker())
    assert not may_take_up(task, worker("another"))
    assert not may_take_up(task, Identity("ann", groups=frozenset({"trust/nightly", "nightly"})))
    assert not may_take_up(load().tasks["by-people"], worker())


def test_a_task_for_nobody_is_an_error() -> None:
    text = BASE.partition("---\nkind: Trust")[0]
    with pytest.raises(PolicyErrors, match="for is missing: nobody may take it up"):
        load_files({"policy.yaml": text})


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ("{}", "at least one claim"),
        ("{repository: []}", "the list is empty"),
        ('{repository: "*"}', "takes every value"),
        ('{repository: "**"}', "takes every value"),
        ('{repository: "*/shop"}', "signs for everybody"),
        ('{repository: "acme*"}', "signs for everybody"),
        ('{repository: ["acme/shop", "*/shop"]}', "signs for everybody"),
        ("{ref: refs/heads/main}", "signs for everybody"),
        ('{sub: "repo:*:ref:refs/heads/main"}', "signs for everybody"),
        ('{repository: "acme/a*b*c*d*e*"}', "at most 4 stars"),
        ("{repository: 1.5}", "a value is"),
        ("{repository: {}}", "asks for nothing"),
        ("{a: {b: {c: {d: {e: x}}}}}", "no claim can be there"),
        ("[repository]", "at least one claim"),
    ],
)
def test_claims_that_let_in_more_than_was_meant(claims: str, why: str) -> None:
    found = errors(claims)
    assert why in found
    assert "policy.yaml:" in found


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ("http://issuer.example", "must begin with https"),
        ("https://u:p@issuer.example", "no plain address"),
        ("https://issuer.example?x=1", "no plain address"),
        ("issuer", "must begin with https"),
    ],
)
def test_issuers_that_cannot_be(issuer: str, why: str) -> None:
    assert why in errors("{sub: x}", issuer)


def test_a_trust_names_tasks_that_are_there_and_are_for_workloads() -> None:
    assert "unknown task exporting" in errors(**{"tasks:_export": "tasks: exporting"})
    assert "not for workloads" in errors(**{"tasks:_export": "tasks: [export, by-people]"})
    assert "lasts is at most 1h" in errors(**{"lasts:_10m": "lasts: 2h"})


@pytest.mark.parametrize(
    ("wanted", "claim", "holds"),
    [
        ("acme/shop", "acme/shop", True),
        ("acme/shop", "acme/shop2", False),
        ("acme/shop", "ACME/shop", False),
        ("acme/shop", None, False),
        ("acme/shop", ["x", "acme/shop"], True),
        ("acme/shop", {"acme/shop": 1}, False),
        ("acme/*", "acme/shop", True),
        ("acme/*", "acme/shop/evil", False),
        ("acme/*", "acme-evil/shop", False),
        ("acme/*", "evil/acme/shop", False),
        ("acme/**", "acme/a/b", True),
        ("refs/heads/release-*", "refs/heads/release-1", True),
        ("refs/heads/release-*", "refs/heads/release-1\n", True),
        ("refs/heads/release-*", "refs/heads/release-1/x", False),
        ("repo:acme/*:environment:production", "repo:acme/shop:environment:production", True),
        ("repo:acme/*:environment:production", "repo:acme/x:y:environment:production", False),
        ("a.c/*", "abc/x", False),
        ("a+(b)/*", "a+(b)/x", True),
        (42, 42, True),
        (42, "42", True),
        (42, 42.0, False),
        (42, True, False),
        (1, True, False),
        (True, True, True),
        (True, "true", True),
        (True, 1, False),
        (True, "True", False),
        ("1", 1, False),
    ],
)
def test_a_condition(wanted: Any, claim: Any, holds: bool) -> None:
    assert ClaimCondition(("x",), (wanted,)).holds({"x": claim}) is holds


def test_claims_within_claims() -> None:
    policy = load(
        "{kubernetes.io: {namespace: shop, serviceaccount: {name: [nightly, weekly]}}}",
        "https://cluster.example",
    )
    trust = policy.trusts["nightly"]
    good: dict[str, Any] = {
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "weekly", "uid": "1"}}
    }
    assert trust.unmet(good) is None
    assert trust.unmet(good | {"kubernetes.io": {"namespace": "shop"}}) is not None
    assert trust.unmet({"kubernetes.io.namespace": "shop"}) is not None
    assert dict(trust.kept(good))["kubernetes.io.serviceaccount.name"] == "weekly"


def test_the_diff_tells_of_trusts() -> None:
    old = load()
    told = [str(change) for change in diff(old, load("{repository: acme/*}"))]
    assert any("trust nightly changes: whom it lets in" in line for line in told)
    gone = load_files({"p.yaml": BASE.partition("---\nkind: Trust")[0].replace(
        "name: export\nresource: shop", "name: export\nresource: shop\nfor: {groups: [a]}"
    )})  # fmt: skip
    told = [str(change) for change in diff(old, gone)]
    assert "trust nightly permits less: is gone" in told
    assert "task export permits less: for trust/nightly (gone)" in told


@pytest.mark.cap("MAX_WORKLOAD_GRANT_S")
def test_a_workload_s_grant_lasts_so_long_at_most() -> None:
    assert load(**{"lasts:_10m": "lasts: 1h"}).trusts
    assert "lasts is at most 1h" in errors(**{"lasts:_10m": "lasts: 61m"})


def of_platform(claims: str, platform: str, issuer: str = "") -> str:
    line = f"platform: {platform}" + (f"\nissuer: {issuer}" if issuer else "")
    text = BASE.replace("issuer: ISSUER", line).replace("CLAIMS", claims)
    try:
        (trust,) = load_files({"policy.yaml": text}).trusts.values()
    except PolicyErrors as caught:
        return "\n".join(f"{error.message}; {error.hint}" for error in caught.errors)
    return trust.issuer


@pytest.mark.parametrize(
    ("claims", "platform", "issuer", "expected"),
    [
        ("{repository: acme/shop}", "github-actions", "", GITHUB),
        ("{project_path: acme/shop}", "gitlab-ci", "", "https://gitlab.com"),
        ("{project_path: acme/shop}", "gitlab-ci", "https://git.acme.com", "https://git.acme.com"),
        ("{organization_slug: acme}", "buildkite", "", "https://agent.buildkite.com"),
        ("{kubernetes.io: {namespace: a}}", "kubernetes", "https://k8s.acme.com", "https://k8s"),
        ("{sub: 'spiffe://acme/shop'}", "spiffe", "https://spire.acme.com", "https://spire"),
        ("{repositry: acme/shop}", "github-actions", "", "did you mean repository?"),
        ("{sub: x, project_path: acme/shop}", "github-actions", "", "have no claim project_path"),
        ("{sub: 'spiffe://acme/shop', azp: x}", "spiffe", "https://spire.acme.com", "no claim azp"),
        ("{ref: refs/heads/main}", "github-actions", "", "claims must say whose"),
        ("{ref: main}", "gitlab-ci", "https://git.acme.com", "claims must say whose"),
        ("{kubernetes.io: {namespace: shop}}", "kubernetes", "", "issuer is missing"),
        ("{sub: x}", "github", "", "platform"),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_platform_says_what_a_rule_need_not(
    claims: str, platform: str, issuer: str, expected: str
) -> None:
    assert expected in of_platform(claims, platform, issuer)
