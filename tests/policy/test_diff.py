import pytest

from taskgate.policy.diff import diff
from taskgate.policy.load import load_files
from tests.policy.making import HEAD, RESOURCE, policy


def changes(old: str, new: str) -> list[str]:
    return [str(change) for change in diff(policy(old), policy(new))]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("permit: [{select: s.a}]", "# moved\n\npermit: [{select: [s.a]}]", []),
        (
            "permit: [{select: s.a}]",
            "permit: [{select: s.b}]",
            [
                "task t permits more: permit select s.b (new)",
                "task t permits less: permit select s.a (gone)",
            ],
        ),
        ("limits: {}", "deny: [{drop: '*'}]", ["task t permits less: deny drop * (new)"]),
        ("deny: [{drop: '*'}]", "limits: {}", ["task t permits more: deny drop * (gone)"]),
        (
            "hold: [{drop: '*', for: {groups: [a], people: 2}}]",
            "hold: [{drop: '*', for: {groups: [a]}}]",
            [
                "task t changes: hold drop * for 1 of a within 15m (new)",
                "task t changes: hold drop * for 2 of a within 15m (gone)",
            ],
        ),
        ("lasts: 1h", "lasts: 2h", ["task t permits more: lasts 2h, at most 2h"]),
        ("limits: {}", "hours: 08:00-09:00", ["task t changes: hours: 08:00-09:00"]),
        (
            "limits: {}",
            "limits: {rows: 1}",
            ["task t changes: limits, recording or approvals in advance"],
        ),
        (
            "mask: [{columns: s.a.x, as: hash}]",
            "mask: [{columns: s.a.x, as: redact}, {kinds: email, as: {constant: x}}]",
            [
                "task t permits less: mask s.a.x as redact, compared deny (new)",
                "task t permits less: mask email as constant 'x' (new)",
                "task t permits more: mask s.a.x as hash, compared deny (gone)",
            ],
        ),
        (
            "mask: [{columns: 's.*.x', as: hash}, {columns: '*.a.x', as: redact}]",
            "mask: [{columns: '*.a.x', as: redact}, {columns: 's.*.x', as: hash}]",
            ["task t changes: the order of masks"],
        ),
        (
            "limits: {}",
            "otherwise: hold\nhold_for: {groups: [a]}",
            ["task t changes: otherwise: hold"],
        ),
        (
            "limits: {}",
            "sign_in: {mfa: true, within: 15m}",
            ["task t permits less: sign_in: mfa, within 15m"],
        ),
        (
            "sign_in: {mfa: true, within: 15m}",
            "sign_in: {mfa: true, within: 1h}",
            ["task t permits more: sign_in: mfa, within 1h"],
        ),
        (
            "sign_in: {acr: [gold]}",
            "sign_in: {acr: [silver, gold]}",
            ["task t permits more: sign_in: acr silver or gold"],
        ),
        (
            "sign_in: {within: 15m}",
            "sign_in: {mfa: true}",
            ["task t changes: sign_in: mfa"],
        ),
    ],
)
def test_what_changes_in_a_task(old: str, new: str, expected: list[str]) -> None:
    assert changes(old, new) == expected


def test_tasks_resources_roles_and_people_that_come_and_go() -> None:
    role = "---\nkind: Role\nname: r\nfor: {groups: [a]}\nmay: audit\n"
    old = load_files({"a.yaml": RESOURCE + "---\n" + HEAD + role})
    new = load_files(
        {
            "a.yaml": RESOURCE.replace("internal", "example")
            + "---\n"
            + HEAD.replace("name: t", "name: u")
            + role.replace("[a]", "[b]").replace("audit", "replay")
        }
    )
    assert [str(change) for change in diff(old, new)] == [
        "resource db changes: is set up otherwise",
        "task t permits less: is gone",
        "task u permits more: is new",
        "role r permits more: may replay (new)",
        "role r permits less: may audit (gone)",
        "role r permits more: for b (new)",
        "role r permits less: for a (gone)",
    ]
    assert diff(old, old) == ()
