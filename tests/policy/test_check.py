"""Rules that can never take effect are errors; rules that can are none."""

import pytest

from tests.policy.making import RESOURCE, errors_of, task

LEADS = "{groups: [leads]}"


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ('permit:\n- select: [s.a]\ndeny:\n- select: ["s.*"]', 6, "always comes first"),
        ('permit:\n- select: [s.a]\ndeny:\n- any: ["*"]', 6, "always comes first"),
        ('permit:\n- select: ["s.a(x)"]\ndeny:\n- select: ["s.a(x, y)"]', 6, "always comes first"),
        ("permit:\n- truncate: [s.a]\ndeny:\n- delete: [s.a]", 6, "always comes first"),
        (f"hold:\n- drop: [s.a]\n  for: {LEADS}\ndeny:\n- drop: ['*']", 6, "always comes first"),
        (f"permit:\n- drop: [s.a]\nhold:\n- drop: ['*']\n  for: {LEADS}", 6, "always comes first"),
        ("permit:\n- write: [s.a]\ndeny:\n- write: ['s.*']", 6, "always comes first"),
        ("permit:\n- select: [s.a]\n- select: [s.a]", 7, "adds nothing"),
        ("permit:\n- select: [s.a]\n- select: ['s.*']", 6, "adds nothing"),
        ("permit:\n- select: ['s.*', 's.a(x)']", 6, "adds nothing"),
        ("permit:\n- any: ['*']\n- select: [s.a]", 7, "adds nothing"),
        ("permit:\n- any: ['*']\n- select: ['@catalog']", 7, "adds nothing"),
        ("permit:\n- select: ['@catalog']\n- select: ['@catalog']", 7, "adds nothing"),
        ("permit:\n- write: [s.a]\n- insert: [s.a]", 7, "adds nothing"),
        ("deny:\n- drop: [s.a]\n- drop: [s.a]", 7, "repeats t/deny[0]"),
        (
            f"hold:\n- drop: [s.a]\n  for: {LEADS}\n- drop: [s.a]\n  for: {LEADS}",
            8,
            "repeats t/hold[0]",
        ),
        (
            "mask:\n- {columns: ['*.*.x'], as: hash}\n- {columns: [s.a.x], as: redact}",
            7,
            "the mask of s.a.x never takes effect",
        ),
        ("mask:\n- {kinds: [email], as: hash}\n- {kinds: [email], as: null}", 7, "masked already"),
    ],
)
def test_dead_rules(body: str, line: int, said: str) -> None:
    found = errors_of(body)
    assert [where for where, _, _ in found] == [f"t.yaml:{line}"], found
    assert said in found[0][1]
    assert found[0][2]


@pytest.mark.parametrize(
    "body",
    [
        "permit: [{select: ['s.*']}]\ndeny: [{select: [s.a]}]",
        "permit: [{select: [s.a]}]\ndeny: [{select: ['s.a(x)']}]",
        "permit: [{any: ['*']}]\ndeny: [{drop: ['*']}]",
        "permit: [{write: [s.a]}]\ndeny: [{truncate: ['*']}]",
        "permit: [{delete: [s.a]}]\ndeny: [{truncate: ['*']}]",
        f"permit: [{{update: ['s.*']}}]\nhold: [{{update: [s.a], for: {LEADS}}}]",
        f"hold: [{{drop: [s.a], for: {LEADS}}}, {{drop: [s.a], for: {{groups: [b]}}}}]",
        f"hold: [{{drop: ['s.*'], for: {LEADS}}}, {{drop: [s.a], for: {{groups: [b]}}}}]",
        "permit: [{select: ['s.a(x)']}, {select: ['s.a(y)']}]",
        # The wider pattern does not reach the system's schemas.
        "permit: [{select: ['*']}, {select: ['@catalog', 'pg_catalog.pg_stats']}]",
        # Needed where columns are masked.
        "permit: [{any: ['*']}, {select: [pg_catalog.pg_stats]}]",
        "permit: [{call: ['s.*']}, {call: [s.f], trusted: true}]",
        # A deny without a permit beside it still says why.
        "deny: [{drop: ['*'], reason: by migrations}]",
        "mask: [{columns: [s.a.x], as: hash}, {columns: ['*.*.x'], as: redact}]",
        # A mask may wait for a permit to come.
        "mask: [{columns: [nowhere.a.x], as: hash}]",
    ],
)
def test_living_rules(body: str) -> None:
    assert task(body).name == "t"


ROLE = "kind: Role\nname: {0}\nfor: {1}\nmay: {2}\n---\n"


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (ROLE.format("a", "{groups: [x]}", "[administer, audit]"), "no auditor"),
        (ROLE.format("a", "{groups: [x]}", "[administer, replay]"), "no auditor"),
        (
            ROLE.format("a", "{groups: [x]}", "administer")
            + ROLE.format("b", "{groups: [x, y]}", "audit"),
            "x would administer by role a and audit by role b",
        ),
        (
            ROLE.format("a", "{people: [x]}", "administer")
            + ROLE.format("b", "{people: ['local:x']}", "replay"),
            "local:x would administer",
        ),
        (ROLE.format("a", "{groups: [x]}", "[agree]"), "may"),
        (ROLE.format("a", "{groups: [x]}", "[]"), "empty"),
    ],
)
def test_administering_and_auditing_are_kept_apart(roles: str, said: str) -> None:
    found = errors_of({"r.yaml": RESOURCE, "roles.yaml": roles})
    assert any(said in f"{message}; {hint}" for _, message, hint in found), found
