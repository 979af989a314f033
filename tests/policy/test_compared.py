"""Masked columns that are compared, copied, or shown by another relation."""

import pytest

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand
from taskgate.policy.vocabulary import POSTGRES
from taskgate.sql.known import REVEALING, REVEALING_SCHEMAS
from tests.policy.making import act, decide, outcome, task

VIEW = act("select", "s.v", ["x"], kind="view")

MASKED = """\
permit:
  - any: ["*"]
mask:
  - {columns: [s.a.email], as: redact}
  - {columns: [s.a.phone], as: redact, compared: hold, for: {groups: [leads]}}
  - {columns: [s.a.city], as: redact, compared: permit}
"""


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([act("select", "s.a", ["email", "phone", "city"])], "permit"),
        ([act("select", "s.a", ["id"], compared=["email"])], "deny"),
        ([act("select", "s.a", ["id"], compared=["phone"])], "hold"),
        ([act("select", "s.a", ["id"], compared=["city"])], "permit"),
        ([act("select", "s.a", ["id"], compared=["phone", "email"])], "deny"),
        ([act("select", "s.a", ["id"], compared=["*"])], "deny"),
        ([act("select", "s.b", ["id"], compared=["email"])], "permit"),
        # Through a view, a partition or a parent: its own action says so.
        ([VIEW, act("select", "s.a", ["id"], compared=["email"], via="s.v")], "deny"),
        # Copied to where no mask reaches.
        ([act("insert", "s.b", ["x"]), act("select", "s.a", ["email"])], "deny"),
        ([act("create", "s.b"), act("select", "s.a", ["phone"])], "hold"),
        ([act("insert", "s.b", ["x"]), act("select", "s.a", ["city"])], "permit"),
        ([act("insert", "s.b", ["x"]), act("select", "s.a", ["id"])], "permit"),
        ([act("insert", "s.b", ["x"]), act("select", "s.a")], "deny"),
        # Returned from the row that is written: it stays where its mask is.
        ([act("update", "s.a", ["x"]), act("select", "s.a", ["email"])], "permit"),
        ([act("update", "s.a", ["x"]), act("select", "s.a", ["id"], compared=["email"])], "deny"),
        ([act("copy_to_program", "s.a", ["email"]), act("select", "s.a", ["email"])], "deny"),
        ([act("unheard_of", "s.b"), act("select", "s.a", ["email"])], "deny"),
        ([act("insert", "s.a", ["email"])], "permit"),
        ([act("delete", "s.a"), act("select", "s.a", ["email"])], "permit"),
        # Where the relation is not known for sure.
        ([act("select", "?.a", ["id"], compared=["email"])], "deny"),
        ([act("select", "?.a", ["id"], compared=["city"])], "permit"),
        # Statistics and other sessions' statements.
        ([act("select", "pg_catalog.pg_stats", ["most_common_vals"], kind="view")], "deny"),
        ([act("select", "pg_catalog.pg_stat_activity", ["query"], kind="view")], "deny"),
        ([act("select", "pg_catalog.pg_class", ["relname"], kind="metadata")], "permit"),
        ([VIEW, act("select", "pg_catalog.pg_statistic", ["x"], via="s.v")], "deny"),
        ([act("select", "pg_toast.pg_toast_123", ["chunk_data"])], "deny"),
        ([act("select", "?.pg_stats", ["x"])], "deny"),
        ([act("select", "?.pg_toast_123", ["x"])], "deny"),
        ([act("select", "pg_catalog.?", ["x"])], "deny"),
        ([act("select", "?.orders", ["x"])], "permit"),
        ([act("select", "s.pg_stats", ["x"])], "permit"),
        ([act("call", "?.pg_stats", kind="function")], "permit"),
        ([act("vacuum", "?.?")], "permit"),
    ],
)
def test_masked_columns(actions: list[Action], expected: str) -> None:
    assert outcome(task(MASKED), *actions) == expected


def test_a_comparison_says_which_mask_and_who_is_asked() -> None:
    decision = decide(task(MASKED), act("select", "s.a", ["id"], compared=["phone"]))
    assert (decision.rule, decision.source) == ("t/mask[1]", "t.yaml:9")
    assert decision.demands == (ApprovalDemand(frozenset({"leads"}), frozenset(), 1, 900.0),)
    assert "column phone is masked and steers the result" in decision.reason


def test_statistics_need_to_be_named_outright_where_columns_are_masked() -> None:
    body = """\
    permit:
      - any: ["*"]
      - select: [pg_catalog.pg_stats]
    mask: [{columns: [s.a.email], as: redact}]
    """
    stats = act("select", "pg_catalog.pg_stats", ["most_common_vals"], kind="view")
    inner = act("select", "pg_catalog.pg_statistic", ["x"], via="pg_catalog.pg_stats")
    assert outcome(task(body), stats, inner) == "permit"
    assert outcome(task('permit: [{any: ["*"]}]'), stats, inner) == "permit"


def test_where_the_relation_is_unsure_every_mask_it_might_have_counts() -> None:
    given = task(
        """\
        permit: [{any: ["*"]}]
        mask:
          - {columns: [s.a.email], as: redact, compared: permit}
          - {columns: [r.a.email], as: redact}
        """
    )
    assert outcome(given, act("select", "s.a", ["id"], compared=["email"])) == "permit"
    assert outcome(given, act("select", "r.a", ["id"], compared=["email"])) == "deny"
    assert outcome(given, act("select", "?.a", ["id"], compared=["email"])) == "deny"


def test_the_revealing_relations_are_those_the_analysis_cannot_trace() -> None:
    assert POSTGRES.revealing == REVEALING
    assert POSTGRES.revealing_schemas == REVEALING_SCHEMAS


def test_for_a_column_the_first_mask_counts() -> None:
    given = task(
        """\
        permit: [{select: [s.a]}]
        mask:
          - {columns: [s.a.email], as: redact, compared: permit}
          - {columns: ["*.*.email"], as: redact}
        """
    )
    assert outcome(given, act("select", "s.a", ["id"], compared=["email"])) == "permit"
