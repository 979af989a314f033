"""Columns that try to get past a column list or a mask: shown, compared, copied, or unsaid."""

import pytest

from taskgate.model.action import Action
from tests.policy.making import act, outcome, task

LISTED = 'permit: [{select: ["s.people(id, region)"]}, {update: ["s.people(region)"]}]'


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        (act("select", "s.people", ["id", "region"]), "permit"),
        (act("select", "s.people", ["id", "card"]), "deny"),
        # Guessing: not shown, but compared.
        (act("select", "s.people", ["id"], compared=["card"]), "deny"),
        (act("select", "s.people", [], compared=["card"]), "deny"),
        # Not said which: a whole row, a star, a system column.
        (act("select", "s.people"), "deny"),
        (act("select", "s.people", ["*"]), "deny"),
        (act("select", "s.people", ["id"], compared=["*"]), "deny"),
        (act("select", "s.people", ["ctid"]), "deny"),
        # Letter case and look-alikes of a listed column.
        (act("select", "s.people", ["ID"]), "deny"),
        (act("select", "s.people", ["regi\u043en"]), "deny"),
        (act("select", "s.people", ["id "]), "deny"),
        # A read permit writes nothing, a write permit reads nothing more.
        (act("update", "s.people", ["id"]), "deny"),
        (act("update", "s.people", ["region"]), "permit"),
        (act("update", "s.people", ["region"], compared=["id"]), "deny"),
        (act("update", "s.people", ["region"], compared=["card"]), "deny"),
        (act("delete", "s.people", compared=["id"]), "deny"),
        (act("copy_to_file", "s.people", ["id"]), "deny"),
    ],
)
def test_a_column_list_opens_its_columns_and_no_more(action: Action, verdict: str) -> None:
    assert outcome(task(LISTED), action) == verdict


def test_an_approval_of_one_column_is_none_of_another() -> None:
    given = task('hold: [{update: ["s.people(region)"], for: {groups: [leads]}}]')
    assert outcome(given, act("update", "s.people", ["region"])) == "hold"
    assert outcome(given, act("update", "s.people", ["region", "salary"])) == "deny"
    assert outcome(given, act("update", "s.people")) == "deny"
    assert outcome(given, act("update", "s.people", ["region"], compared=["salary"])) == "deny"


MASKED = """\
permit: [{any: ["*"]}]
mask:
  - {columns: ["s.people.email", "*.*.card"], as: redact}
"""


@pytest.mark.parametrize(
    ("actions", "verdict"),
    [
        ([act("select", "s.people", ["email"])], "permit"),
        # Bit by bit.
        ([act("select", "s.people", ["id"], compared=["email"])], "deny"),
        ([act("update", "s.people", ["region"], compared=["email"])], "deny"),
        ([act("delete", "s.people", compared=["email"])], "deny"),
        ([act("select", "s.orders", ["id"], compared=["card"])], "deny"),
        # Through a view, an ancestor, a partition.
        (
            [
                act("select", "s.v", ["n"]),
                act("select", "s.people", [], compared=["email"], via="s.v"),
            ],
            "deny",
        ),
        # Carried off to where no mask is.
        ([act("insert", "s.copy", ["x"]), act("select", "s.people", ["email"])], "deny"),
        ([act("create", "s.copy"), act("select", "s.people", ["id", "email"])], "deny"),
        ([act("create", "s.copy", kind="view"), act("select", "s.people", ["email"])], "deny"),
        ([act("update", "s.orders", ["note"]), act("select", "s.people", ["email"])], "deny"),
        ([act("refresh", "s.people"), act("select", "s.people", ["email"])], "deny"),
        ([act("insert", "s.copy", ["x"]), act("select", "s.people")], "deny"),
        ([act("insert", "s.copy", ["x"]), act("select", "s.people", ["*"])], "deny"),
        ([act("insert", "s.copy", ["x"]), act("select", "?.people", ["email"])], "deny"),
        (
            [
                act("insert", "s.copy", ["x"]),
                act("select", "s.v", ["n"]),
                act("select", "s.people", ["email"], via="s.v"),
            ],
            "deny",
        ),
        ([act("copy_to_program", "s.people", ["email"]), act("select", "s.people", [])], "permit"),
        (
            [act("copy_to_program", "s.people"), act("select", "s.people", ["email"])],
            "deny",
        ),
        # Shown by another relation.
        ([act("select", "pg_catalog.pg_stats", ["most_common_vals"])], "deny"),
        ([act("select", "pg_catalog.pg_stats", ["tablename"], kind="metadata")], "deny"),
        ([act("select", "pg_catalog.pg_largeobject", ["data"])], "deny"),
        ([act("select", "pg_toast.pg_toast_16384", ["chunk_data"])], "deny"),
        ([act("select", "?.pg_stats", ["most_common_vals"])], "deny"),
        (
            [act("select", "s.v", []), act("select", "pg_catalog.pg_statistic", [], via="s.v")],
            "deny",
        ),
    ],
)
def test_a_masked_column_cannot_be_guessed_copied_or_read_elsewhere(
    actions: list[Action], verdict: str
) -> None:
    assert outcome(task(MASKED), *actions) == verdict
