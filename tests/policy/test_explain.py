import pytest

from taskgate.model.errors import NotFound
from taskgate.policy.explain import explain, render_text
from tests.policy.making import act, person, policy

BODY = """\
hours: "Mon-Fri 08:00-19:00 Europe/Berlin"
permit:
  - select: ["s.a(x, y)", s.b]
hold:
  - {update: [s.a], for: {groups: [leads], people: 2}}
deny:
  - {drop: ["*"], reason: never}
mask:
  - {columns: [s.a.x], as: hash, compared: hold, for: {groups: [leads]}}
  - {kinds: [email], as: {constant: "-"}}
limits: {rows: 5, bytes: 2MB, statement: 30s, idle: 5m}
record: {rows: true}
"""
MONDAY_NOON = 1748858400.0


def text(*actions: object, **options: object) -> str:
    return render_text(
        explain(policy(BODY), "t", "", person("ann", "g"), actions, MONDAY_NOON),  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )


def test_a_refusal_rule_by_rule() -> None:
    assert text(act("select", "s.a", ["x", "card"])) == (
        """\
DENY  select on s.a: no rule of task t permits column card
  rule      t/otherwise (t.yaml:1)
  task      t at db
  policy    """
        + policy(BODY).version[:12]
        + """
  hours     open now (Mon-Fri 08:00-19:00 Europe/Berlin), until 2025-06-02 17:00 UTC
  identity  local:ann: may take up the task

deny: select on s.a
  + t/permit[0] permit select s.a(x, y): for its columns only, which leaves column card
  - t/permit[0] permit select s.b: s.b does not match
  - t/hold[0] hold update s.a: it is about update, not select
  - t/deny[0] deny drop *: it is about drop, not select

what next: "taskgate policy explain --task t" shows every rule; "taskgate tasks" lists what you"""
        """ may take up, and "taskgate request TASK --reason WHY" asks for it"""
    )


def test_a_permit_lists_what_comes_with_it() -> None:
    shown = text(act("select", "s.a", ["x"]), every_rule=False)
    for line in (
        "PERMIT  select on s.a: permitted by t/permit[0]",
        "  + t/permit[0] permit select s.a(x, y)\n",
        "  column s.a.x is shown as hash (t/mask[0])",
        "    comparing it: hold",
        "  any email is shown as the constant '-' (t/mask[1])",
        "  at most 5 rows an answer",
        "  at most 2MB an answer",
        "  a statement runs at most 30s",
        "  a session is silent at most 5m",
        "  the answer's rows are recorded, as shown",
    ):
        assert line in shown
    assert "t/deny[0]" not in shown


def test_a_hold_says_who_is_asked() -> None:
    assert "  approval  2 of leads within 15m" in text(act("update", "s.a", ["x"]))


def test_who_may_not_take_it_up_and_when_it_is_closed() -> None:
    given = policy(BODY)
    shown = explain(given, "t", "db", person("eve"), (), MONDAY_NOON + 86_400 * 5)
    assert "task t is not for you: it is for g" in shown.refusal
    assert shown.hours == (
        "task t is open Mon-Fri 08:00-19:00 Europe/Berlin only,"
        " and opens next at 2025-06-09 06:00 UTC"
    )
    assert explain(given, "t", "db", None, (), MONDAY_NOON).identity == ""


def test_an_unknown_task_is_not_found() -> None:
    with pytest.raises(NotFound):
        explain(policy(BODY), "tt", "", None, (), 0.0)


def test_names_cannot_write_on_the_terminal() -> None:
    shown = text(act("select", 's."a\x1b[2J\u202e\n"', ["\x07"]))
    assert not any(c in shown for c in "\x1b\u202e\x07")
    assert "\\u001b[2J\\u202e\\u000a" in shown
