"""Policy files that would mean something else than they say, or give a secret away."""

import pytest

from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors, said
from tests.policy.making import HEAD, RESOURCE, errors_of

SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    "credential",
    [
        f"{{username: gate, password: {SECRET}}}",
        f"{{username: gate, password: {{value: {SECRET}}}}}",
        f"{{username: gate, password: {{{SECRET}: x}}}}",
        f"{{username: gate, password: [{SECRET}]}}",
        f"{{username: gate, password: {{env: {SECRET}}}}}",
        f"{{username: gate, password: {{env: [{SECRET}]}}}}",
        f"{{username: gate, private_key: {SECRET}, certificate: {{file: x}}}}",
        f"{SECRET}",
        f"[{SECRET}]",
        f"{{username: gate, password: !secret {SECRET}}}",
    ],
)
def test_a_secret_in_a_policy_file_is_refused_and_not_repeated(credential: str) -> None:
    text = RESOURCE[: RESOURCE.index("credential")] + f"credential: {credential}\n"
    with pytest.raises(PolicyErrors) as caught:
        load_files({"r.yaml": text})
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(said(error) for error in caught.value.errors)
    # Neither in what a traceback or a log of the cause would show.
    assert caught.value.__cause__ is None
    assert all(error.__cause__ is None for error in caught.value.errors)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    text = RESOURCE.replace("db.internal", f"gate:{SECRET}@db.internal")
    with pytest.raises(PolicyErrors) as caught:
        load_files({"r.yaml": text})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        # The second of two keys would win, and the deny be gone.
        ("deny: [{drop: ['*']}]\ndeny: []\n", 6),
        ("permit:\n- {select: [s.a], select: ['*']}\n", 6),
        # Merged in from afar.
        ("permit: &all [{any: ['*']}]\n", 5),
        ("<<: {permit: [{any: ['*']}]}\n", 5),
        # Misspelled: the rule would be missing.
        ("Deny: [{drop: ['*']}]\n", 5),
        ("deny : [{drops: ['*']}]\n", 5),
        ("den\u0443: [{drop: ['*']}]\n", 5),
        ("deny\u200b: [{drop: ['*']}]\n", 5),
        ("deny: [{DROP: ['*']}]\n", 5),
        ("deny: {drop: ['*']}\n", 5),
        # Empty: nothing would be denied.
        ("deny: [{drop: []}]\n", 5),
        ("deny: [{drop: null, reason: x}]\n", 5),
        ("deny: [{}]\n", 5),
        ("deny: [null]\n", 5),
        ("deny: null\n", 5),
        ("deny:\n", 5),
        ("deny:\n- drop: ['*']\n  truncate:\n", 7),
        ("hours:\n", 5),
        ("limits: {rows: }\n", 5),
        ("mask:\n- columns: [s.a.x]\n  as: hash\n  compared:\n", 8),
        ("hold:\n- drop: s.a\n  for: {groups: [a], people: }\n", 7),
        # YAML 1.1 would read numbers and booleans here.
        ("record: {rows: on}\n", 5),
        ("hold: [{drop: s.a, for: {groups: [a], people: 0x1}}]\n", 5),
        ("hold: [{drop: s.a, for: {groups: [a], people: 1.0}}]\n", 5),
        ("hold: [{drop: s.a, for: {groups: [a], people: true}}]\n", 5),
        ("hold: [{drop: s.a, for: {groups: [a], people: -1}}]\n", 5),
        ("hold: [{drop: s.a, for: {groups: [], subjects: []}}]\n", 5),
        ("limits: {rows: 1_000}\n", 5),
        ("limits: {idle: 22:00}\n", 5),
        # A permit that looks as if it narrowed.
        ("permit:\n- select: ['s.*', 's.people(id)']\n", 6),
    ],
)
def test_a_file_that_says_less_than_it_seems_does_not_load(body: str, line: int) -> None:
    found = errors_of({"r.yaml": RESOURCE, "t.yaml": HEAD + body})
    assert f"t.yaml:{line}" in [where for where, _, _ in found], found


def test_a_second_task_of_the_same_name_does_not_replace_the_first() -> None:
    wide = HEAD + "permit: [{any: ['*']}]\n"
    found = errors_of({"a.yaml": RESOURCE, "b.yaml": HEAD, "z.yaml": wide})
    assert [where for where, _, _ in found] == ["z.yaml:2"]


def test_nothing_of_a_set_with_one_error_is_loaded() -> None:
    with pytest.raises(PolicyErrors):
        load_files({"r.yaml": RESOURCE, "t.yaml": HEAD, "x.yaml": "kind: Nothing"})
