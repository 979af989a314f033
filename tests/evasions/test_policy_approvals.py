"""Approvals of one's own, by one counted twice, or by the wrong ones."""

import pytest

from taskgate.model.approval import Vote
from taskgate.model.decision import ApprovalDemand
from taskgate.policy.people import votes_meet
from tests.policy.making import act, decide, person, task

TWO = ApprovalDemand(frozenset({"leads", "seniors"}), frozenset(), 2, 900)
ONE = ApprovalDemand(frozenset({"leads"}), frozenset({"local:kim"}), 1, 900)
ASKING = ("https://idp:bob", "local:ann")  # bob, who acts for ann


def yes(key: str, *groups: str) -> Vote:
    return Vote(key, True, "", 0.0, frozenset(groups))


@pytest.mark.parametrize(
    ("demands", "votes"),
    [
        # One's own, under any spelling, or of whom one acts for.
        ([ONE], [yes("https://idp:bob", "leads")]),
        ([ONE], [yes("HTTPS://IDP:BOB", "leads")]),
        ([ONE], [yes("https://idp:ｂob", "leads")]),
        ([ONE], [yes("local:ann", "leads")]),
        # Twice the same person.
        ([TWO], [yes("local:x", "leads"), yes("local:x", "seniors")]),
        ([TWO], [yes("local:x", "leads", "seniors")] * 5),
        ([TWO], [yes("local:x", "leads"), yes("Local:X", "leads")]),
        ([TWO], [yes("local:x", "leads"), yes("local:\u017f", "other")]),
        ([TWO], [yes("local:s", "leads"), yes("local:\u017f", "leads")]),
        # One who was asked, and one who was not.
        ([TWO], [yes("local:x", "leads"), yes("local:y", "interns")]),
        ([ONE], [yes("https://evil:kim")]),
        ([ONE], [yes("local:kim2")]),
        ([ONE], [yes("local:x", "Leads")]),
        # Two demands, one person in both groups.
        ([ONE, TWO], [yes("local:x", "leads"), yes("local:y", "leads")]),
        # Nobody asked for anything.
        ([], [yes("local:x", "leads")]),
    ],
)
def test_not_enough(demands: list[ApprovalDemand], votes: list[Vote]) -> None:
    assert not votes_meet(demands, votes, ASKING)
    assert not votes_meet(demands, votes[::-1], ASKING)


def test_a_mildly_worded_second_hold_does_not_lower_the_first() -> None:
    given = task(
        """\
        hold:
          - {delete: [s.t], for: {groups: [leads], people: 2, within: 5m}}
          - {delete: ["s.*"], for: {groups: [leads], people: 1, within: 1h}}
        """
    )
    (demand,) = decide(given, act("delete", "s.t")).demands
    assert (demand.people, demand.within_s) == (2, 300)


def test_a_statement_that_hides_a_held_action_behind_a_milder_one_asks_both() -> None:
    given = task(
        """\
        hold:
          - {delete: [s.t], for: {groups: [owners]}}
          - {update: [s.t], for: {groups: [leads]}}
        """
    )
    decision = decide(given, act("update", "s.t", ["x"]), act("delete", "s.t"))
    assert {min(demand.groups) for demand in decision.demands} == {"owners", "leads"}


def test_an_agent_of_the_requester_is_not_counted_apart() -> None:
    agent = person("bot", "leads", kind="agent", behind=person("ann", "leads"))
    assert not votes_meet([ONE], [yes("local:ann", "leads")], agent.keys)
    assert not votes_meet([ONE], [yes("local:bot", "leads")], agent.keys)
