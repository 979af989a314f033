"""Names that try to be another name. Each case: a task, a request, the verdict its user gets."""

import pytest

from taskgate.model.action import Action
from taskgate.model.names import spell
from tests.policy.making import act, errors_of, outcome, task

ONLY_ORDERS = "permit: [{select: [s.orders]}]"
ALL_BUT_SECRETS = 'permit: [{any: ["*"]}]\ndeny: [{any: ["s.secrets"]}, {drop: ["s.*"]}]'


@pytest.mark.parametrize(
    ("rules", "action", "verdict"),
    [
        # Letter case: PostgreSQL folds before names come here, so another case is another object.
        (ONLY_ORDERS, act("select", "s.Orders", []), "deny"),
        (ONLY_ORDERS, act("select", spell("s", "ORDERS"), []), "deny"),
        (ONLY_ORDERS, act("SELECT", "s.orders", []), "deny"),
        # A dot inside a name is no schema.
        (ONLY_ORDERS, act("select", spell("public", "s.orders"), []), "deny"),
        (ONLY_ORDERS, act("select", spell("s.orders"), []), "deny"),
        (ONLY_ORDERS, act("select", "db.s.orders", []), "deny"),
        ('permit: [{select: ["s.*"]}]', act("select", spell("s.x", "y"), []), "deny"),
        ('permit: [{select: ["s.*"]}]', act("select", "s.x.y", []), "deny"),
        ('permit: [{select: ["*"]}]', act("select", "s.x.y", []), "deny"),
        # A star, a question mark or quotes as parts of a real name are letters.
        (ONLY_ORDERS, act("select", spell("s", "*"), []), "deny"),
        ("permit: [{select: ['s.\"*\"']}]", act("select", "s.orders", []), "deny"),
        ("permit: [{select: ['s.\"?\"']}]", act("select", "s.?", []), "deny"),
        (ONLY_ORDERS, act("select", 's.orders"', []), "deny"),
        (ONLY_ORDERS, act("select", '"s.orders', []), "deny"),
        # Look-alikes and invisible letters.
        (ONLY_ORDERS, act("select", spell("s", "\u043erders"), []), "deny"),
        (ONLY_ORDERS, act("select", spell("s", "orders\u200b"), []), "deny"),
        (ONLY_ORDERS, act("select", spell("s", "ｏrders"), []), "deny"),
        (ONLY_ORDERS, act("select", "s.orders ", []), "deny"),
        (ONLY_ORDERS, act("select", "s.orders\n", []), "deny"),
        # What could not be resolved is permitted by a bare star alone.
        (ONLY_ORDERS, act("select", "?.orders", []), "deny"),
        ('permit: [{select: ["*.orders"]}]', act("select", "?.orders", []), "deny"),
        ('permit: [{select: ["*.*"]}]', act("select", "?.orders", []), "deny"),
        ('permit: [{select: ["*.*"]}]', act("select", "?.?", []), "deny"),
        ('permit: [{select: ["s.*"]}]', act("select", "?.?", []), "deny"),
        ('permit: [{grant: ["s.or*"]}]', act("grant", "s.?"), "deny"),
        ('permit: [{grant: ["r.*"]}]', act("grant", "s.?"), "deny"),
        ('permit: [{grant: ["s.*"]}]', act("grant", "s.?"), "permit"),
        ('permit: [{select: ["*"]}]', act("select", "?.orders", []), "permit"),
        # ... and denied or held by whatever it might be.
        (ALL_BUT_SECRETS, act("select", "?.secrets", []), "deny"),
        (ALL_BUT_SECRETS, act("delete", "s.?"), "deny"),
        (ALL_BUT_SECRETS, act("select", "?.orders", []), "permit"),
        (
            'permit: [{any: ["*"]}]\nhold: [{delete: [s.secrets], for: {groups: [a]}}]',
            act("delete", "?.secrets"),
            "hold",
        ),
        # An approval does not open what only might be the thing held.
        (
            "hold: [{delete: [s.secrets], for: {groups: [a]}}]",
            act("delete", "?.secrets"),
            "deny",
        ),
        # A name that cannot be read at all is permitted by nothing.
        (ALL_BUT_SECRETS, act("select", 's."', []), "deny"),
        (ALL_BUT_SECRETS, act("select", "", []), "deny"),
        ('permit: [{any: ["*"]}]', act("select", "a..b", []), "deny"),
        # The whole instead of the part.
        (ALL_BUT_SECRETS, act("drop", "s", kind="schema"), "deny"),
        (ALL_BUT_SECRETS, act("drop", "?", kind="schema"), "deny"),
        (ALL_BUT_SECRETS, act("drop", "shop", kind="database"), "deny"),
        (ALL_BUT_SECRETS, act("drop", "bob", kind="owned"), "deny"),
        (ALL_BUT_SECRETS, act("drop", "r", kind="schema"), "permit"),
        # Another verb with the same effect.
        (
            'permit: [{any: ["*"]}]\ndeny: [{delete: [s.orders]}]',
            act("truncate", "s.orders"),
            "deny",
        ),
        (
            'permit: [{any: ["*"]}]\ndeny: [{insert: [s.orders]}]',
            act("copy_from_program", "s.orders"),
            "deny",
        ),
        (
            'permit: [{any: ["*"]}]\ndeny: [{select: ["s.orders(card)"]}]',
            act("copy_to_file", "s.orders"),
            "deny",
        ),
        # A setting in another letter case is the same setting.
        (
            'permit: [{any: ["*"]}]\ndeny: [{set: [search_path]}]',
            act("set", "Search_Path", kind="setting"),
            "deny",
        ),
        (
            'permit: [{any: ["*"]}]\ndeny: [{set: [search_path]}]',
            act("set", '"SEARCH_PATH"', kind="setting"),
            "deny",
        ),
        # System catalogs are not among "all tables".
        ('permit: [{select: ["*"]}]', act("select", "pg_catalog.pg_shadow", []), "deny"),
        ('permit: [{select: ["*.*"]}]', act("select", "pg_catalog.pg_shadow", []), "deny"),
        ('permit: [{select: ["pg_*.*"]}]', act("select", "pg_catalog.pg_shadow", []), "deny"),
        ('permit: [{select: ["@catalog"]}]', act("select", "pg_catalog.pg_shadow", []), "deny"),
        ('permit: [{call: ["*"]}]', act("call", "pg_catalog.pg_read_file", []), "deny"),
    ],
)
def test_a_name_is_what_it_resolved_to_and_nothing_else(
    rules: str, action: Action, verdict: str
) -> None:
    assert outcome(task(rules), action) == verdict


@pytest.mark.parametrize(
    "pattern",
    [
        "s\u0430les.orders",  # Cyrillic a
        '"s\u0430les".orders',
        "sales.orders\u200b",
        "sales\u00ad.orders",
        "ｓales.orders",
        "Sales.Orders",
        "sales.Orders",
        "orders",
        "sales..orders",
        "sales.orders;",
        "sales.orders --",
        "sales. orders",
    ],
)
def test_a_deny_that_would_quietly_match_nothing_does_not_load(pattern: str) -> None:
    found = errors_of(f"permit: [{{any: ['*']}}]\ndeny:\n- drop: ['{pattern}']\n")
    assert [where for where, _, _ in found] == ["t.yaml:7"]


# Through something else.


@pytest.mark.parametrize(
    ("actions", "verdict"),
    [
        # The view is permitted, its tables with it.
        ([act("select", "s.v", ["x"]), act("select", "s.t", ["x"], via="s.v")], "permit"),
        # The claim to be reached through something is not enough.
        ([act("select", "s.t", ["x"], via="s.v")], "deny"),
        ([act("select", "s.t", ["x"], via="s.t")], "deny"),
        ([act("select", "s.t", [], via="s.u"), act("select", "s.u", [], via="s.t")], "deny"),
        ([act("select", "s.v", ["x"]), act("select", "s.t", ["x"], via="s.w")], "deny"),
        # A read does not excuse a write, not even through two steps.
        ([act("select", "s.v", ["x"]), act("delete", "s.t", via="s.v")], "deny"),
        (
            [
                act("select", "s.v", ["x"]),
                act("select", "s.w", ["x"], via="s.v"),
                act("delete", "s.t", via="s.w"),
            ],
            "deny",
        ),
        # A deny finds what lies behind.
        ([act("select", "s.v", ["x"]), act("select", "s.secrets", ["x"], via="s.v")], "deny"),
        (
            [
                act("select", "s.v", ["x"]),
                act("select", "s.w", ["x"], via="s.v"),
                act("select", "s.secrets", ["x"], via="s.w"),
            ],
            "deny",
        ),
        ([act("select", "s.v", ["x"]), act("select", "?.secrets", [], via="s.v")], "deny"),
        # One good action does not carry a bad one.
        ([act("select", "s.v", ["x"]), act("drop", "s.t")], "deny"),
        ([act("select", "s.v", ["x"], complete=False)], "deny"),
    ],
)
def test_what_is_reached_through_a_view(actions: list[Action], verdict: str) -> None:
    given = task("permit: [{select: [s.v]}]\ndeny: [{any: [s.secrets]}]")
    assert outcome(given, *actions) == verdict
