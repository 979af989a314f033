"""Decision tables: a task's rules, what a request does, and the verdict."""

import pytest
import yaml

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand, Outcome
from taskgate.policy.judge import judge, merge_demands
from tests.policy.making import act, decide, outcome, task

LEADS = "{groups: [leads]}"


@pytest.mark.parametrize(
    ("rules", "action", "expected"),
    [
        # What no rule names.
        ("permit: [{select: [s.a]}]", act("select", "s.b", ["x"]), "deny"),
        ("permit: [{select: [s.a]}]", act("delete", "s.a"), "deny"),
        ("permit: [{select: [s.a]}]", act("select", "s.a", ["x"]), "permit"),
        ("permit: [{select: [s.a]}]", act("select", "s.a"), "permit"),
        ("permit: [{select: s.a}]", act("select", "s.a", ["x"]), "permit"),
        # Wildcards.
        ('permit: [{select: ["s.*"]}]', act("select", "s.a", []), "permit"),
        ('permit: [{select: ["s.*"]}]', act("select", "ss.a", []), "deny"),
        ('permit: [{select: ["*.a"]}]', act("select", "s.a", []), "permit"),
        ('permit: [{select: ["*"]}]', act("select", "s.a", []), "permit"),
        ('permit: [{select: ["*"]}]', act("delete", "s.a", []), "deny"),
        ('permit: [{any: ["*"]}]', act("delete", "s.a"), "permit"),
        ('permit: [{any: ["*"]}]', act("frobnicate", "s.a"), "permit"),
        ('permit: [{any: ["s.*"]}]', act("delete", "s.a"), "permit"),
        ('permit: [{any: ["s.*"]}]', act("delete", "r.a"), "deny"),
        ('permit: [{write: ["s.*"]}]', act("insert", "s.a", ["x"]), "permit"),
        ('permit: [{write: ["s.*"]}]', act("copy_from", "s.a", ["x"]), "permit"),
        ('permit: [{write: ["s.*"]}]', act("select", "s.a", ["x"]), "deny"),
        # Columns.
        ('permit: [{select: ["s.a(x, y)"]}]', act("select", "s.a", ["x"]), "permit"),
        ('permit: [{select: ["s.a(x, y)"]}]', act("select", "s.a", ["x", "z"]), "deny"),
        ('permit: [{select: ["s.a(x, y)"]}]', act("select", "s.a", []), "permit"),
        ('permit: [{select: ["s.a(x, y)"]}]', act("select", "s.a"), "deny"),
        ('permit: [{select: ["s.a(x)"]}]', act("select", "s.a", ["x"], compared=["z"]), "deny"),
        (
            'permit: [{select: ["s.a(x, z)"]}]',
            act("select", "s.a", ["x"], compared=["z"]),
            "permit",
        ),
        ('permit: [{select: ["s.a(x)"]}]', act("select", "s.a", ["x", "*"]), "deny"),
        ('permit: [{select: ["s.a(a_*)"]}]', act("select", "s.a", ["a_1", "a_2"]), "permit"),
        (
            'permit: [{select: ["s.a(x)"]}, {select: ["s.a(y)"]}]',
            act("select", "s.a", ["x", "y"]),
            "permit",
        ),
        (
            'permit: [{select: ["s.a(x)"]}, {update: ["s.a(y)"]}]',
            act("select", "s.a", ["x", "y"]),
            "deny",
        ),
        # A column that steers a write is no column to write.
        ('permit: [{update: ["s.a(x)"]}]', act("update", "s.a", ["x"], compared=["id"]), "deny"),
        (
            'permit: [{update: ["s.a(x)"]}, {select: ["s.a(id)"]}]',
            act("update", "s.a", ["x"], compared=["id"]),
            "deny",
        ),
        (
            'permit: [{update: ["s.a(x)"]}, {select: ["s.a(id)"]}]',
            act("update", "s.a", ["id"], compared=["id"]),
            "deny",
        ),
        # Deny.
        ('{permit: [{any: ["*"]}], deny: [{drop: ["*"]}]}', act("drop", "s.a"), "deny"),
        ('{permit: [{any: ["*"]}], deny: [{drop: ["s.*"]}]}', act("drop", "r.a"), "permit"),
        (
            '{permit: [{select: ["s.*"]}], deny: [{select: ["s.a(secret)"]}]}',
            act("select", "s.a", ["x"]),
            "permit",
        ),
        (
            '{permit: [{select: ["s.*"]}], deny: [{select: ["s.a(secret)"]}]}',
            act("select", "s.a", ["x"], compared=["secret"]),
            "deny",
        ),
        (
            '{permit: [{select: ["s.*"]}], deny: [{select: ["s.a(secret)"]}]}',
            act("select", "s.a"),
            "deny",
        ),
        (
            '{permit: [{select: ["s.*"]}], deny: [{select: ["s.a(secret)"]}]}',
            act("select", "s.a", ["*"]),
            "deny",
        ),
        # Hold.
        (f"hold: [{{update: [s.a], for: {LEADS}}}]", act("update", "s.a", ["x"]), "hold"),
        (
            f'{{permit: [{{update: ["s.*"]}}], hold: [{{update: [s.a], for: {LEADS}}}]}}',
            act("update", "s.a", ["x"]),
            "hold",
        ),
        (
            f'{{hold: [{{update: ["s.a(x)"], for: {LEADS}}}]}}',
            act("update", "s.a", ["x", "y"]),
            "deny",
        ),
        (
            f'{{permit: [{{update: ["s.a(y)"]}}], hold: [{{update: ["s.a(x)"], for: {LEADS}}}]}}',
            act("update", "s.a", ["x", "y"]),
            "hold",
        ),
        (
            f'{{permit: [{{update: ["s.a(y)"]}}], hold: [{{update: ["s.a(x)"], for: {LEADS}}}]}}',
            act("update", "s.a", ["y"]),
            "permit",
        ),
        (f"{{otherwise: hold, hold_for: {LEADS}}}", act("update", "s.a", ["x"]), "hold"),
        (
            f"{{otherwise: hold, hold_for: {LEADS}, deny: [{{update: [s.a]}}]}}",
            act("update", "s.a", ["x"]),
            "deny",
        ),
        # What has the effect of something denied or held.
        ('{permit: [{any: ["*"]}], deny: [{delete: [s.a]}]}', act("truncate", "s.a"), "deny"),
        ('{permit: [{any: ["*"]}], deny: [{insert: [s.a]}]}', act("copy_from", "s.a"), "deny"),
        ('{permit: [{any: ["*"]}], deny: [{truncate: [s.a]}]}', act("delete", "s.a"), "permit"),
        (f"{{hold: [{{delete: [s.a], for: {LEADS}}}]}}", act("truncate", "s.a"), "deny"),
        # Kinds that need no permit.
        ("limits: {}", act("call", "pg_catalog.lower", kind="builtin"), "permit"),
        ("limits: {}", act("set", "client_encoding", kind="safe_setting"), "permit"),
        ("limits: {}", act("transaction", "begin", kind="statement"), "permit"),
        ("limits: {}", act("transaction", "begin", kind="other"), "deny"),
        ("limits: {}", act("call", "pg_catalog.lo_export", kind="function"), "deny"),
        (
            "deny: [{call: [pg_catalog.lower]}]",
            act("call", "pg_catalog.lower", kind="builtin"),
            "deny",
        ),
        ('deny: [{any: ["*"]}]', act("transaction", "begin", kind="statement"), "deny"),
        (
            f'hold: [{{any: ["*"], for: {LEADS}}}]',
            act("transaction", "begin", kind="statement"),
            "permit",
        ),
        (
            f"hold: [{{call: [pg_catalog.pg_sleep], for: {LEADS}}}]",
            act("call", "pg_catalog.pg_sleep", kind="builtin"),
            "hold",
        ),
        (
            f"{{otherwise: hold, hold_for: {LEADS}}}",
            act("transaction", "begin", kind="statement"),
            "permit",
        ),
        # The catalogs.
        (
            'permit: [{select: ["@catalog"]}]',
            act("select", "pg_catalog.pg_class", ["relname"], kind="metadata"),
            "permit",
        ),
        (
            'permit: [{select: ["@catalog"]}]',
            act("select", "pg_catalog.pg_authid", ["rolpassword"]),
            "deny",
        ),
        (
            'permit: [{select: ["*"]}]',
            act("select", "pg_catalog.pg_authid", ["x"]),
            "deny",
        ),
        (
            'permit: [{select: ["*.pg_authid"]}]',
            act("select", "pg_catalog.pg_authid", ["x"]),
            "deny",
        ),
        (
            'permit: [{select: ["pg_catalog.*"]}]',
            act("select", "pg_catalog.pg_authid", ["x"]),
            "permit",
        ),
        ('permit: [{any: ["*"]}]', act("select", "pg_catalog.pg_authid", ["x"]), "permit"),
        ('deny: [{select: ["*"]}]', act("select", "pg_catalog.pg_class", kind="metadata"), "deny"),
        # Single names.
        ("permit: [{set: [search_path]}]", act("set", "search_path", kind="setting"), "permit"),
        ("permit: [{set: [TimeZone]}]", act("set", "timezone", kind="setting"), "permit"),
        ('permit: [{set: ["app.*"]}]', act("set", "app.user", kind="setting"), "permit"),
        ('permit: [{set: ["app.*"]}]', act("set", "application.x", kind="setting"), "deny"),
        ("permit: [{listen: [jobs]}]", act("listen", "jobs", kind="channel"), "permit"),
        ("permit: [{listen: [jobs]}]", act("listen", "other", kind="channel"), "deny"),
        ("permit: [{do: [plpgsql]}]", act("do", "plpgsql", kind="language"), "permit"),
        # Objects without a schema, by kind.
        (
            'permit: [{create: ["schema:reports"]}]',
            act("create", "reports", kind="schema"),
            "permit",
        ),
        ('permit: [{create: ["schema:reports"]}]', act("create", "reports", kind="role"), "deny"),
        ('permit: [{create: ["reports.*"]}]', act("create", "reports", kind="schema"), "deny"),
        ('permit: [{create: ["view:s.*"]}]', act("create", "s.v", kind="view"), "permit"),
        ('permit: [{create: ["view:s.*"]}]', act("create", "s.v", kind="table"), "deny"),
        # CASCADE takes along who knows what.
        ('permit: [{drop: ["s.*"]}]', act("drop", "?.?", kind="dependent"), "deny"),
        ('permit: [{drop: ["*"]}]', act("drop", "?.?", kind="dependent"), "permit"),
        (
            '{permit: [{drop: ["*"]}], deny: [{drop: ["view:s.*"]}]}',
            act("drop", "?.?", kind="dependent"),
            "deny",
        ),
    ],
)
def test_one_action(rules: str, action: Action, expected: str) -> None:
    assert outcome(task(_lines(rules)), action) == expected


def _lines(rules: str) -> str:
    """A flow mapping's keys as lines of the task."""
    loaded = yaml.safe_load(rules if rules.startswith("{") else "{" + rules + "}")
    return str(yaml.safe_dump(loaded))


def test_an_empty_request_is_permitted_and_does_nothing() -> None:
    decision = decide(task("permit: [{select: [s.a]}]"))
    assert decision.outcome is Outcome.PERMIT


@pytest.mark.parametrize(
    "rules", ['permit: [{any: ["*"]}]', "{otherwise: hold, hold_for: {groups: [leads]}}"]
)
@pytest.mark.parametrize("kind", ["table", "builtin", "safe_setting"])
def test_a_name_that_cannot_be_read_is_always_denied(rules: str, kind: str) -> None:
    for name in ('s."', "s", "a.b.c", ".a", ""):
        decision = decide(task(_lines(rules)), act("select", name, [], kind=kind))
        assert decision.outcome is Outcome.DENY, name
        assert "name could not be read" in decision.reason


@pytest.mark.parametrize(
    "rules", ['permit: [{any: ["*"]}]', "{otherwise: hold, hold_for: {groups: [leads]}}"]
)
def test_what_is_not_understood_whole_is_always_denied(rules: str) -> None:
    decision = decide(task(_lines(rules)), act("select", "s.a", [], complete=False))
    assert decision.outcome is Outcome.DENY
    assert "could not be understood whole" in decision.reason


def test_the_worst_outcome_wins_and_names_the_action() -> None:
    given = task(
        """\
        permit: [{select: ["sales.*"]}]
        hold: [{update: [sales.orders], for: {groups: [leads]}}]
        """
    )
    reads, writes = act("select", "sales.orders", ["id"]), act("update", "sales.orders", ["id"])
    assert outcome(given, reads) == "permit"
    assert outcome(given, reads, writes) == "hold"
    decision = decide(given, reads, writes, act("delete", "sales.orders"))
    assert decision.outcome is Outcome.DENY
    assert decision.reason == "delete on sales.orders: no rule of task t permits it"
    assert decision.rule == "t/otherwise"
    assert "taskgate policy explain" in decision.hint
    assert "taskgate request" in decision.hint


def test_a_decision_names_rule_place_and_version_and_carries_the_obligations() -> None:
    given = task(
        """\
        permit:
          - select: [s.a]
          - select: [s.b]
        mask: [{columns: [s.a.x], as: "null"}]
        limits: {rows: 10, bytes: 1KB, idle: 1m, statement: 500ms}
        """
    )
    decision = decide(given, act("select", "s.b", ["y"]))
    assert (decision.rule, decision.source) == ("t/permit[1]", "t.yaml:7")
    assert decision.policy_version == "v1"
    assert decision.masks == given.masks
    assert decision.masks
    assert decision.limits.rows == 10
    assert decision.limits.max_bytes == 1000
    assert decision.limits.statement_s == 0.5
    refused = decide(given, act("drop", "s.b"))
    assert not refused.masks
    assert refused.demands == ()


def test_the_reason_of_a_deny_is_told() -> None:
    given = task("deny: [{drop: ['*'], reason: schema changes go through migrations}]")
    decision = decide(given, act("drop", "s.a"))
    assert decision.reason == (
        "drop on s.a: denied by t/deny[0]: schema changes go through migrations"
    )


def test_a_missing_column_is_named() -> None:
    given = task('permit: [{select: ["s.a(x)"]}]')
    assert "permits column card" in decide(given, act("select", "s.a", ["x", "card"])).reason
    assert (
        "permits columns card, pin" in decide(given, act("select", "s.a", ["pin", "card"])).reason
    )
    assert "permits all of its columns" in decide(given, act("select", "s.a")).reason


def test_the_deciding_permit_is_the_rule_that_gave_it_not_a_builtin() -> None:
    given = task("permit: [{select: [s.a]}]")
    lower = act("call", "pg_catalog.lower", kind="builtin")
    assert decide(given, lower, act("select", "s.a", [])).rule == "t/permit[0]"
    assert decide(given, lower).rule == "t/built-in"


def test_another_resource_is_denied() -> None:
    given = task('permit: [{any: ["*"]}]')
    assert judge("v1", given, "other", ()).outcome is Outcome.DENY


# What is reached through something else.

VIEW = act("select", "s.v", ["x"], kind="view")


@pytest.mark.parametrize(
    ("rules", "inner", "expected"),
    [
        ("permit: [{select: [s.v]}]", act("select", "s.a", ["x", "y"], via="s.v"), "permit"),
        (
            "{permit: [{select: [s.v]}], deny: [{select: [s.a]}]}",
            act("select", "s.a", ["x"], via="s.v"),
            "deny",
        ),
        (
            '{permit: [{select: [s.v]}], deny: [{select: ["s.a(y)"]}]}',
            act("select", "s.a", ["x"], via="s.v"),
            "permit",
        ),
        (
            "{permit: [{select: [s.v]}], hold: [{select: [s.a], for: {groups: [leads]}}]}",
            act("select", "s.a", ["x"], via="s.v"),
            "hold",
        ),
        # Reached through what is not in the request, or a write through a read: a permit is needed.
        ("permit: [{select: [s.v]}]", act("select", "s.a", ["x"], via="s.other"), "deny"),
        ("permit: [{select: [s.v]}]", act("delete", "s.a", via="s.v"), "deny"),
        ("permit: [{select: [s.v]}]", act("select", "s.a", ["x"], via="s.a"), "deny"),
    ],
)
def test_through_a_view(rules: str, inner: Action, expected: str) -> None:
    assert outcome(task(_lines(rules)), VIEW, inner) == expected


def test_a_chain_of_views_and_a_write_through_a_view() -> None:
    given = task("permit: [{select: [s.v], insert: [s.v]}]")
    assert (
        outcome(
            given,
            VIEW,
            act("select", "s.w", ["x"], via="s.v", kind="view"),
            act("select", "s.a", ["x"], via="s.w"),
        )
        == "permit"
    )
    assert (
        outcome(given, act("insert", "s.v", ["x"]), act("insert", "s.a", ["x"], via="s.v"))
        == "permit"
    )


# Who must agree.


def demand(*groups: str, people: int = 1, within_s: float = 900.0) -> ApprovalDemand:
    return ApprovalDemand(frozenset(groups), frozenset(), people, within_s)


def test_the_same_approvers_are_asked_once_and_others_each() -> None:
    assert merge_demands(
        [demand("a", within_s=60), demand("b"), demand("a", people=2), demand("b", "a")]
    ) == (demand("a", people=2, within_s=60), demand("a", "b"), demand("b"))


def test_all_matching_holds_are_demanded() -> None:
    given = task(
        """\
        hold:
          - {update: ["s.*"], for: {groups: [leads]}}
          - {update: [s.a], for: {groups: [security], people: 2, within: 5m}}
          - {delete: [s.a], for: {groups: [owners]}}
        """
    )
    decision = decide(given, act("update", "s.a", ["x"]))
    assert decision.demands == (demand("leads"), demand("security", people=2, within_s=300))
    assert "1 of leads within 15m and 2 of security within 5m" in decision.reason
    both = decide(given, act("update", "s.b", ["x"]), act("delete", "s.a"))
    assert both.demands == (demand("leads"), demand("owners"))


def test_a_hold_and_otherwise_hold_together() -> None:
    given = task(
        """\
        otherwise: hold
        hold_for: {groups: [leads]}
        hold: [{update: ["s.a(x)"], for: {groups: [security]}}]
        """
    )
    assert decide(given, act("update", "s.a", ["x"])).demands == (demand("security"),)
    assert decide(given, act("update", "s.a", ["x", "y"])).demands == (
        demand("leads"),
        demand("security"),
    )


# Functions whose results are trusted.


def test_trusted_functions_are_told_and_no_others() -> None:
    given = task(
        """\
        permit:
          - {call: [s.f, "pure.*"], trusted: true}
          - {call: ["s.*"]}
        """
    )
    decision = decide(
        given,
        act("call", "s.f", kind="function"),
        act("call", "s.g", kind="function"),
        act("call", "pure.h", kind="function"),
    )
    assert decision.outcome is Outcome.PERMIT
    assert decision.trusted == {"s.f", "pure.h"}
