"""Who may take tasks up, who holds rights, and when votes are enough."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.approval import Vote
from taskgate.model.decision import ApprovalDemand
from taskgate.model.identity import Identity
from taskgate.policy.load import load_files
from taskgate.policy.people import may_take_up, may_vote, votes_meet
from taskgate.policy.roles import holds
from taskgate.policy.rules import Right
from tests.policy.making import RESOURCE, person, policy

ALICE = person("alice", "g")


def taking(members: str, who: Identity) -> str:
    head = f"kind: Task\nname: t\nresource: db\nfor: {members}\n"
    answer = may_take_up(policy("", head).tasks["t"], who)
    assert bool(answer) == (not answer.reason)
    return "yes" if answer else answer.reason


@pytest.mark.parametrize(
    ("members", "who", "expected"),
    [
        ("{groups: [g]}", ALICE, "yes"),
        ("{groups: [h]}", ALICE, "it is for h"),
        ("{groups: [G]}", ALICE, "it is for G"),
        ("{groups: [h], people: [alice]}", ALICE, "yes"),
        ("{people: [alice]}", Identity("alice", issuer="https://idp"), "local:alice"),
        ("{people: ['https://idp:alice']}", Identity("alice", issuer="https://idp"), "yes"),
        ("{people: ['https://idp:alice']}", ALICE, "it is for"),
        ("{groups: [g], kinds: [human]}", person("ci", "g", kind="workload"), "not for a workload"),
        ("{groups: [g], kinds: [workload]}", person("ci", "g", kind="workload"), "yes"),
        ("{groups: [g]}", person("ci", "g", kind="workload"), "yes"),
        # Agents: never more than whoever they act for.
        ("{groups: [g]}", person("bot", "g", kind="agent"), "yes"),
        ("{groups: [g]}", person("bot", "g", kind="agent", behind=person("eve")), "eve, for whom"),
        ("{groups: [g]}", person("bot", "g", kind="agent", behind=ALICE), "yes"),
        ("{groups: [g]}", person("bot", kind="agent", behind=ALICE), "it is for g"),
        ("{groups: [g], kinds: [agent]}", person("bot", kind="agent", behind=ALICE), "yes"),
        ("{groups: [g], kinds: [human]}", person("bot", kind="agent", behind=ALICE), "not for a"),
        (
            "{groups: [g], kinds: [agent]}",
            person("bot", "g", kind="agent", behind=person("mid", "g", behind=person("eve"))),
            "for whom",
        ),
    ],
)
def test_taking_up_a_task(members: str, who: Identity, expected: str) -> None:
    assert expected in taking(members, who)


def test_a_refusal_is_false_and_says_why() -> None:
    given_task = policy('hours: "08:00-09:00"').tasks["t"]
    assert may_take_up(given_task, ALICE)
    assert may_take_up(given_task, ALICE, 8.5 * 3600)
    closed = may_take_up(given_task, ALICE, 10 * 3600)
    assert not closed
    assert closed.reason == (
        "task t is open 08:00-09:00 only, and opens next at 1970-01-02 08:00 UTC"
    )


def test_rights_come_from_roles_alone() -> None:
    loaded = load_files(
        {
            "r.yaml": RESOURCE
            + "---\nkind: Role\nname: audit\nfor: {groups: [auditors]}\nmay: [audit, replay]\n"
            + "---\nkind: Role\nname: keep\nfor: {people: [ann], kinds: [human]}\nmay: administer\n"
        }
    )
    auditor, ann = person("x", "auditors"), person("ann")
    assert holds(loaded, auditor, "audit")
    assert holds(loaded, auditor, Right.REPLAY)
    assert not holds(loaded, auditor, "administer")
    assert holds(loaded, ann, "administer")
    assert not holds(loaded, ann, "audit")
    assert not holds(loaded, person("ann", kind="agent", behind=ann), "administer")
    assert not any(holds(loaded, person("bob"), right) for right in Right)
    assert not any(holds(policy("limits: {}"), auditor, right) for right in Right)
    with pytest.raises(ValueError):
        holds(loaded, ann, "everything")


# Votes.


def demand(*groups: str, people: int = 1, subjects: tuple[str, ...] = ()) -> ApprovalDemand:
    return ApprovalDemand(frozenset(groups), frozenset(subjects), people, 900)


def vote(name: str, *groups: str, approve: bool = True, key: str = "") -> Vote:
    return Vote(key or f"local:{name}", approve, "", 0.0, frozenset(groups))


REQUESTER = ("local:req",)


@pytest.mark.parametrize(
    ("demands", "votes", "met"),
    [
        ([demand("a")], [vote("x", "a")], True),
        ([demand("a")], [vote("x", "b")], False),
        ([demand("a")], [], False),
        ([], [vote("x", "a")], False),
        ([demand(subjects=("local:x",))], [vote("x")], True),
        ([demand(subjects=("local:x",))], [vote("y", key="other:x")], False),
        ([demand("a", people=2)], [vote("x", "a")], False),
        ([demand("a", people=2)], [vote("x", "a"), vote("x", "a")], False),
        ([demand("a", people=2)], [vote("x", "a"), vote("y", "a")], True),
        # One person in several groups is one person.
        ([demand("a", "b", "c", people=2)], [vote("x", "a", "b", "c")], False),
        ([demand("a", "b", people=2)], [vote("x", "a"), vote("x", "b")], False),
        # One person fills one place of one demand.
        ([demand("a"), demand("b")], [vote("x", "a", "b")], False),
        ([demand("a"), demand("b")], [vote("x", "a", "b"), vote("y", "a")], True),
        ([demand("a"), demand("b")], [vote("x", "a", "b"), vote("y", "b")], True),
        ([demand("a"), demand("b")], [vote("x", "a"), vote("y", "a")], False),
        (
            [demand("a", people=2), demand("b")],
            [vote("x", "a", "b"), vote("y", "a", "b"), vote("z", "a")],
            True,
        ),
        ([demand("a", people=2), demand("b")], [vote("x", "a", "b"), vote("y", "a", "b")], False),
        # The requester never counts.
        ([demand("a")], [vote("req", "a")], False),
        ([demand("a")], [vote("REQ", "a", key="Local:Req")], False),
        ([demand("a", people=2)], [vote("req", "a"), vote("x", "a")], False),
        # Letter case and Unicode forms make no second person.
        ([demand("a", people=2)], [vote("x", "a"), vote("", "a", key="local:X")], False),
        ([demand("a", people=2)], [vote("é", "a"), vote("e\u0301", "a")], False),
        ([demand("a", people=2)], [vote("ｘ", "a"), vote("x", "a")], False),
        # A refusal ends it, whenever it comes, from whoever was asked.
        ([demand("a")], [vote("x", "a"), vote("y", "a", approve=False)], False),
        ([demand("a")], [vote("y", "a", approve=False), vote("x", "a")], False),
        ([demand("a")], [vote("x", "a", approve=False), vote("x", "a")], False),
        ([demand("a"), demand("b")], [vote("x", "a"), vote("y", "b", approve=False)], False),
        # One from anybody else says nothing.
        ([demand("a")], [vote("x", "a"), vote("y", "b", approve=False)], True),
        ([demand("a")], [vote("x", "a"), vote("req", "a", approve=False)], True),
    ],
)
def test_counting_votes(demands: list[ApprovalDemand], votes: list[Vote], met: bool) -> None:
    for order in itertools.permutations(votes):
        tally = votes_meet(demands, order, REQUESTER)
        assert tally.met is met
        assert bool(tally) is met


def test_nobody_known_asking_is_never_answered() -> None:
    assert not votes_meet([demand("a")], [vote("x", "a")], ())


def test_an_agents_principal_does_not_approve_for_it() -> None:
    agent = person("bot", kind="agent", behind=person("alice", "a"))
    assert not votes_meet([demand("a")], [vote("alice", "a")], agent.keys)
    assert votes_meet([demand("a")], [vote("bob", "a")], agent.keys)


def test_what_is_missing_is_told() -> None:
    first, second = demand("a", people=2), demand("b")
    tally = votes_meet([first, second], [vote("x", "a")], REQUESTER)
    assert tally.missing == ((first, 1), (second, 1))
    refusal = vote("y", "b", approve=False)
    assert votes_meet([first, second], [vote("x", "a"), refusal], REQUESTER).denied_by == refusal


def test_who_may_vote() -> None:
    demands = [demand("a"), demand(subjects=("local:x",))]
    assert may_vote(demands, "local:y", {"a", "z"})
    assert may_vote(demands, "local:x", ())
    assert not may_vote(demands, "local:y", {"b"})
    assert not may_vote([], "local:x", {"a"})


people = st.sampled_from("vwxyz")
groups = st.lists(st.sampled_from("abc"), max_size=3)
vote_lists = st.lists(st.builds(lambda name, of: vote(name, *of), people, groups), max_size=6)
demand_lists = st.lists(
    st.builds(
        lambda of, count: demand(*of, people=count),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=2),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=3,
)


@given(demand_lists, vote_lists)
def test_votes_are_enough_only_if_people_can_be_told_apart(
    demands: list[ApprovalDemand], votes: list[Vote]
) -> None:
    """Against trying every way of seating one person in one place."""
    of: dict[str, set[str]] = {}
    for one in votes:
        of.setdefault(one.subject_key, set()).update(one.groups)
    places = [d for d in demands for _ in range(d.people)]
    possible = len(of) >= len(places) and any(
        all(of[who] & place.groups for who, place in zip(order, places, strict=True))
        for order in itertools.permutations(of, len(places))
    )
    assert votes_meet(demands, votes, REQUESTER).met == possible
