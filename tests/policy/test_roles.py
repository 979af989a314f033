"""Rights, and the tasks that they reach."""

import pytest

from taskgate.model.audit import fits
from taskgate.model.identity import Identity
from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.roles import Scope, holds, scope_of
from taskgate.policy.rules import Policy

BASE = """
kind: Resource
name: shop
protocol: postgres
address: localhost:5432
credential: {username: gate}
---
{kind: Task, name: sales-report, resource: shop, for: {groups: [a]}, permit: [{select: [x.y]}]}
---
{kind: Task, name: sales-fix, resource: shop, for: {groups: [a]}, permit: [{select: [x.y]}]}
---
{kind: Task, name: wages, resource: shop, for: {groups: [a]}, permit: [{select: [x.y]}]}
---
"""
ANN = Identity("ann", groups=frozenset({"g"}))


def loaded(*roles: str) -> Policy:
    return load_files({"p.yaml": BASE + "\n---\n".join(roles)})


def test_a_right_without_tasks_reaches_everything() -> None:
    policy = loaded("{kind: Role, name: r, for: {groups: [g]}, may: [audit]}")
    assert scope_of(policy, ANN, "audit") == Scope(everything=True)
    assert holds(policy, ANN, "audit")
    assert not scope_of(policy, ANN, "replay")
    assert not scope_of(policy, Identity("bob"), "audit")


def test_a_right_over_tasks_reaches_those_alone_and_no_whole() -> None:
    policy = loaded('{kind: Role, name: r, for: {groups: [g]}, may: [audit], tasks: ["sales-*"]}')
    assert not holds(policy, ANN, "audit")
    assert holds(policy, ANN, "audit", "sales-report")
    assert not holds(policy, ANN, "audit", "wages")
    assert not holds(policy, ANN, "audit", "")


def test_roles_add_up() -> None:
    policy = loaded(
        "{kind: Role, name: r, for: {groups: [g]}, may: [audit], tasks: wages}",
        "{kind: Role, name: s, for: {groups: [g]}, may: [audit], tasks: sales-fix}",
    )
    assert scope_of(policy, ANN, "audit").patterns == {"wages", "sales-fix"}


@pytest.mark.parametrize(
    ("task", "pattern", "fitting"),
    [
        ("sales-report", "sales-*", True),
        ("sales-report", "*", True),
        ("sales-report", "sales-report", True),
        ("sales-report", "sales.report", False),
        ("sales-report", "sales", False),
        ("xsales-report", "sales-*", False),
        ("sales-report\n", "sales-report", False),
        ("", "*", False),
    ],
)
def test_a_star_is_the_only_sign(task: str, pattern: str, fitting: bool) -> None:
    assert fits(task, pattern) is fitting


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("may: [administer], tasks: wages", "tasks does not narrow administer"),
        ("may: [audit, offboard], tasks: wages", "tasks does not narrow offboard"),
        ("may: [audit], tasks: wagse", "no task is named so"),
        ("may: [audit], tasks: 'Sales?'", "no task's name"),
        ("may: [audit], tasks: []", "the list is empty"),
    ],
)
def test_a_scope_that_means_nothing_is_refused(role: str, told: str) -> None:
    with pytest.raises(PolicyErrors, match=told):
        loaded(f"{{kind: Role, name: r, for: {{groups: [g]}}, {role}}}")


def test_the_approvers_of_a_role_are_asked_where_the_task_does_not_say() -> None:
    held = """{kind: Task, name: fixes, resource: shop, for: {groups: [a]},
 hold: [{update: [x.y]}], hold_agents: true, permit: [{select: [x.y]}]}"""
    with pytest.raises(PolicyErrors, match="nobody approves"):
        loaded(held)
    with pytest.raises(PolicyErrors, match="nobody approves"):
        loaded(held, "{kind: Role, name: r, for: {groups: [g]}, may: [approve], tasks: wages}")
    policy = loaded(
        held,
        '{kind: Role, name: r, for: {groups: [g]}, may: [approve], tasks: ["fix*"]}',
        "{kind: Role, name: s, for: {people: [lou]}, may: [approve]}",
    )
    (rule,) = (one for one in policy.tasks["fixes"].rules if one.demand is not None)
    assert rule.demand is not None
    assert rule.demand.groups == {"g"}
    assert rule.demand.subjects == {"local:lou"}


def test_only_people_may_be_made_approvers() -> None:
    with pytest.raises(PolicyErrors, match="only people approve"):
        loaded("{kind: Role, name: r, for: {groups: [g], kinds: [agent]}, may: [approve]}")
