"""Who may take up a task, who may vote on a held request, and how people are counted.

Decided, because it can be read two ways:

- Two approvals are two people. Where several demands stand, one person fills one place of one of
  them, also if in the groups of both: two holds that each want one approver want two people.
  (Demands of the very same approvers are merged before, so they want the higher count.)
- A person in three groups is one person. Keys that differ only in letter case or Unicode form are
  one person: better one real person too few than one counted twice.
- Nobody approves for themselves: neither the requester nor anyone the requester acts for.
- One refusal by anyone who may approve ends it, whatever came before or after.

Two accounts of one person at different issuers cannot be told apart here; `people: 2` and groups
kept by the identity provider are the answer to that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskgate.model.approval import Vote
from taskgate.model.decision import ApprovalDemand
from taskgate.model.identity import Identity, IdentityKind, same_person
from taskgate.policy.answer import ALLOWED, Answer
from taskgate.policy.hours import open_at, opens_at, spell_moment
from taskgate.policy.rules import Members, Task


def may_take_up(task: Task, identity: Identity, now: float | None = None) -> Answer:
    """Whether `identity` may take up `task`. With `now` (epoch seconds) its hours count too."""
    refusal = why_not_member(task.members, identity)
    if refusal:
        return Answer(False, f"task {task.name} is not for you: {refusal}")
    if now is not None and not open_at(task, now):
        return Answer(False, closed_reason(task, now))
    return ALLOWED


def sign_in_unmet(task: Task, identity: Identity, now: float) -> tuple[str, ...]:
    """What the task's `sign_in` asks for and this caller's sign-in is not, at `now` (epoch
    seconds). For whoever acts for somebody, that one's sign-in counts: it is their right that is
    used."""
    if task.sign_in is None:
        return ()
    return task.sign_in.unmet(identity.principal.authentication, now)


def closed_reason(task: Task, now: float) -> str:
    """What to say outside the hours: when they are, and when they next begin."""
    hours = "; ".join(task.hours.text) if task.hours is not None else ""
    opens = opens_at(task, now)
    when = f", and opens next at {spell_moment(opens)}" if opens is not None else ""
    return f"task {task.name} is open {hours} only{when}"


def why_not_member(members: Members, identity: Identity) -> str:
    """Why `identity` is not among `members`; empty where it is.

    Whoever acts for somebody gets no more than that somebody has: both must be members. An agent
    that is none itself enters through the person it acts for only if `kinds` lists agents.
    """
    if members.kinds and identity.kind not in members.kinds:
        return f"it is for {_listed(members)}, not for a {identity.kind.value}"
    behind = identity.acts_for
    if behind is not None and not _is_named_behind(members, behind):
        return f"{behind.subject}, for whom you act, is not among those it is for"
    borrowed = (
        behind is not None
        and identity.kind is IdentityKind.AGENT
        and IdentityKind.AGENT in members.kinds
    )
    if borrowed or _is_named(members, identity):
        return ""
    named = [*sorted(members.groups), *sorted(members.subjects), *sorted(members.trusts)]
    return f"it is for {', '.join(named)}"


def _is_named(members: Members, identity: Identity) -> bool:
    return (
        identity.key in members.subjects
        or identity.issuer in members.trusts
        or bool(members.groups & identity.groups)
    )


def _is_named_behind(members: Members, identity: Identity) -> bool:
    """The same for a principal, and for whoever stands behind that one."""
    further = identity.acts_for
    return _is_named(members, identity) and (further is None or _is_named_behind(members, further))


def _listed(members: Members) -> str:
    return " and ".join(sorted(f"{kind.value}s" for kind in members.kinds))


@dataclass(frozen=True, slots=True)
class Tally:
    """How far votes have come. `missing` has each demand that is not met and how many people it
    still needs. `denied_by` ended it; then `met` is False. True where met."""

    met: bool
    denied_by: Vote | None = None
    missing: tuple[tuple[ApprovalDemand, int], ...] = ()

    def __bool__(self) -> bool:
        return self.met


def may_vote(demands: Iterable[ApprovalDemand], key: str, groups: Iterable[str]) -> bool:
    """Whether a person with this key and these groups is among those who are asked."""
    kept = frozenset(groups)
    return any(_is_eligible(demand, key, kept) for demand in demands)


def _is_eligible(demand: ApprovalDemand, key: str, groups: frozenset[str]) -> bool:
    return key in demand.subjects or bool(demand.groups & groups)


def votes_meet(
    demands: Sequence[ApprovalDemand], votes: Sequence[Vote], requester_keys: Iterable[str]
) -> Tally:
    """Counts `votes` against `demands`. No demands at all are never met, nor is a request of
    nobody known.

    `requester_keys` are the keys of the requester and of everyone the requester acts for; their
    votes count for nothing.
    """
    own = {same_person(key) for key in requester_keys}
    people: dict[str, list[Vote]] = {}
    for vote in votes:
        person = same_person(vote.subject_key)
        if person in own or not may_vote(demands, vote.subject_key, vote.groups):
            continue
        if not vote.approve:
            return Tally(False, vote, tuple((d, d.people) for d in demands))
        people.setdefault(person, []).append(vote)
    places = [at for at, demand in enumerate(demands) for _ in range(demand.people)]
    may_fill = [
        {
            at
            for at, d in enumerate(demands)
            if any(_is_eligible(d, v.subject_key, v.groups) for v in cast)
        }
        for cast in people.values()
    ]
    filled = _fill(places, may_fill)
    missing = tuple(
        (demand, demand.people - count)
        for at, demand in enumerate(demands)
        if (count := sum(places[place] == at for place in filled)) < demand.people
    )
    return Tally(bool(demands and own) and not missing, None, missing)


def _fill(places: list[int], may_fill: list[set[int]]) -> dict[int, int]:
    """The most places that can be filled, one person each (augmenting paths): place -> person."""
    holder: dict[int, int] = {}

    def seat(person: int, tried: set[int]) -> bool:
        for place, demand in enumerate(places):
            if demand not in may_fill[person] or place in tried:
                continue
            tried.add(place)
            if place not in holder or seat(holder[place], tried):
                holder[place] = person
                return True
        return False

    for person in range(len(may_fill)):
        seat(person, set())
    return holder
