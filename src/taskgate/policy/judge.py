"""The decision point: actions in, a Decision out. Pure: no clock, no state.

For each action: what is not understood whole is denied; a deny beats a hold, a hold beats a
permit, and `otherwise` counts for what no rule names. The worst outcome of all actions is the
request's. A hold waits for what it names only: columns beyond its list need a rule of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand, Decision, Outcome, TaskLimits
from taskgate.model.masks import MaskSet
from taskgate.policy.compared import Comparison, comparisons, revealed
from taskgate.policy.matching import Subject, covered_columns, covers, subject_of, why_not
from taskgate.policy.rules import Entry, Rule, Task
from taskgate.policy.wording import (
    approvers,
    denied_hint,
    held_hint,
    plain,
    said_action,
    said_columns,
)

_WORSE = {Outcome.PERMIT: 0, Outcome.HOLD: 1, Outcome.DENY: 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one action. `weak` marks a permit that no rule had to give."""

    outcome: Outcome
    rule: str
    source: str
    reason: str
    demands: tuple[ApprovalDemand, ...] = ()
    weak: bool = False


def judge(policy_version: str, task: Task, resource: str, actions: Sequence[Action]) -> Decision:
    """What `task` says of a request that does `actions` at `resource`.

    An empty request does nothing and is permitted.
    """
    if resource not in task.resources:
        return _decision(
            policy_version,
            task,
            Verdict(
                Outcome.DENY,
                f"{task.name}/resource",
                task.source,
                f"task {task.name} is not for resource {plain(resource)}",
            ),
            (),
        )
    verdicts = judge_each(task, actions)
    if not verdicts:
        return _decision(
            policy_version,
            task,
            Verdict(Outcome.PERMIT, f"{task.name}/empty", task.source, "an empty request"),
            (),
        )
    worst = max(_WORSE[verdict.outcome] for verdict in verdicts)
    counting = [verdict for verdict in verdicts if _WORSE[verdict.outcome] == worst]
    # A permit that a rule gave says more than one that needed none.
    deciding = next((verdict for verdict in counting if not verdict.weak), counting[0])
    demands = merge_demands(demand for verdict in counting for demand in verdict.demands)
    trusted = frozenset(
        action.object
        for action, verdict in zip(actions, verdicts, strict=True)
        if verdict.outcome is not Outcome.DENY and is_trusted(task, action)
    )
    return _decision(policy_version, task, deciding, demands, trusted)


def _decision(
    policy_version: str,
    task: Task,
    verdict: Verdict,
    demands: tuple[ApprovalDemand, ...],
    trusted: frozenset[str] = frozenset(),
) -> Decision:
    denied = verdict.outcome is Outcome.DENY
    hint = ""
    if denied:
        hint = denied_hint(task.name)
    elif verdict.outcome is Outcome.HOLD:
        hint = held_hint(demands)
    return Decision(
        outcome=verdict.outcome,
        rule=verdict.rule,
        source=verdict.source,
        reason=verdict.reason,
        policy_version=policy_version,
        demands=demands,
        masks=MaskSet() if denied else task.masks,
        limits=TaskLimits() if denied else task.limits,
        hint=hint,
        trusted=frozenset() if denied else trusted,
        keep_files=task.keep_files and not denied,
    )


def judge_each(task: Task, actions: Sequence[Action]) -> list[Verdict]:
    """A verdict for each action, in order."""
    subjects = [subject_of(action, task.vocabulary) for action in actions]
    direct = _direct(actions)
    return [
        _judge_action(task, subject, comparisons(task, actions, subject.action), direct[at])
        if not (shown := revealed(task, subject, subjects))
        else Verdict(Outcome.DENY, f"{task.name}/mask", task.source, shown)
        for at, subject in enumerate(subjects)
    ]


def _direct(actions: Sequence[Action]) -> list[bool]:
    """For each action, whether it needs a permit of its own.

    One that is reached through another needs none, if that other is in the request too, and a
    write only if that other writes. A chain that leads nowhere, or round, excuses nothing.
    """
    reached = {(a.object, a.write) for a in actions if not a.via}
    while True:
        more = {
            (a.object, a.write)
            for a in actions
            if a.via and ((a.via, True) in reached or (not a.write and (a.via, False) in reached))
        }
        if more <= reached:
            break
        reached |= more
    return [
        not a.via or not ((a.via, True) in reached or (not a.write and (a.via, False) in reached))
        for a in actions
    ]


def _judge_action(
    task: Task, subject: Subject, compared: list[Comparison], direct: bool
) -> Verdict:
    action = subject.action
    said = said_action(action)
    if not action.complete:
        return Verdict(
            Outcome.DENY,
            f"{task.name}/incomplete",
            task.source,
            f"{said}: it could not be understood whole, and what is not understood is refused",
        )
    for rule, entry in task.denies.of(action.verb):
        if not why_not(rule, entry, subject, task.vocabulary):
            reason = f": {rule.reason}" if rule.reason else ""
            return Verdict(
                Outcome.DENY,
                rule.address,
                entry.source,
                f"{said}: denied by {rule.address}{reason}",
            )
    if subject.name is None:
        return Verdict(
            Outcome.DENY,
            f"{task.name}/unreadable",
            task.source,
            f"{said}: the object's name could not be read",
        )
    refused = next((c for c in compared if c.outcome is Outcome.DENY), None)
    if refused is not None:
        return Verdict(Outcome.DENY, refused.rule, refused.source, f"{said}: {refused.reason}")
    holding = [
        (rule, entry)
        for rule, entry in task.holds.of(action.verb)
        if not why_not(rule, entry, subject, task.vocabulary)
    ]
    base = _base(task, subject, holding, direct, said)
    if base.outcome is Outcome.DENY:
        return base
    held = [
        *base.demands,
        *(rule.demand for rule, _ in holding if rule.demand is not None),
        *(c.demand for c in compared if c.demand is not None),
    ]
    if not held:
        return base
    demands = merge_demands(held)
    who = approvers(demands)
    if holding:
        rule, entry = holding[0]
        reason = f" ({rule.reason})" if rule.reason else ""
        return Verdict(
            Outcome.HOLD,
            rule.address,
            entry.source,
            f"{said}: held by {rule.address}{reason} for {who}",
            demands,
        )
    if base.outcome is Outcome.HOLD:
        return Verdict(base.outcome, base.rule, base.source, f"{base.reason} for {who}", demands)
    asked = next(c for c in compared if c.demand is not None)
    return Verdict(
        Outcome.HOLD, asked.rule, asked.source, f"{said}: {asked.reason}, held for {who}", demands
    )


def _base(
    task: Task, subject: Subject, holding: list[tuple[Rule, Entry]], direct: bool, said: str
) -> Verdict:
    """The verdict without holds: whether anything lets the action run at all."""
    if subject.ungated:
        return Verdict(
            Outcome.PERMIT,
            f"{task.name}/built-in",
            task.source,
            f"{said}: needs no permit",
            weak=True,
        )
    if not direct:
        return Verdict(
            Outcome.PERMIT,
            f"{task.name}/through",
            task.source,
            f"{said}: reached through what a rule permits",
            weak=True,
        )
    matching = permitting(task, subject)
    covering = [*matching, *(pair for pair in holding if covers(*pair, subject))]
    left = _uncovered(subject, covering)
    if left is None:
        rule, entry = covering[0]
        return Verdict(
            Outcome.PERMIT, rule.address, entry.source, f"{said}: permitted by {rule.address}"
        )
    missing = said_columns(left) if covering else ""
    why = f"no rule of task {task.name} permits {missing or 'it'}"
    address = f"{task.name}/otherwise"
    if task.otherwise is Outcome.HOLD and task.hold_for is not None:
        return Verdict(
            Outcome.HOLD, address, task.source, f"{said}: {why}, so it is held", (task.hold_for,)
        )
    return Verdict(Outcome.DENY, address, task.source, f"{said}: {why}")


def permitting(task: Task, subject: Subject) -> list[tuple[Rule, Entry]]:
    """The permit entries that speak of the action's object; whole ones first."""
    found = [
        (rule, entry)
        for rule, entry in task.permits.of(subject.action.verb)
        if not why_not(rule, entry, subject, task.vocabulary)
    ]
    return sorted(found, key=lambda pair: pair[1].pattern.columns is not None)


def _uncovered(subject: Subject, entries: list[tuple[Rule, Entry]]) -> frozenset[str] | None:
    """The columns that no entry covers; None where the action is covered whole."""
    if any(entry.pattern.columns is None for _, entry in entries):
        return None
    if not entries or subject.touched is None:
        return frozenset()
    left = subject.touched
    for _, entry in entries:
        left -= covered_columns(entry, left)
    return left or None


def is_trusted(task: Task, action: Action) -> bool:
    """Whether a rule says that this function's results need no masking."""
    if action.verb != "call":
        return False
    subject = subject_of(action, task.vocabulary)
    return any(rule.trusted for rule, _ in permitting(task, subject))


def merge_demands(demands: Iterable[ApprovalDemand]) -> tuple[ApprovalDemand, ...]:
    """The same approvers asked twice are asked once: for the most people, in the least time.

    Different approvers stay different demands, and every one has to be met.
    """
    merged: dict[tuple[frozenset[str], frozenset[str]], ApprovalDemand] = {}
    for demand in demands:
        key = (demand.groups, demand.subjects)
        known = merged.get(key, demand)
        merged[key] = ApprovalDemand(
            demand.groups,
            demand.subjects,
            max(known.people, demand.people),
            min(known.within_s, demand.within_s),
        )
    # One order, whatever the order of rules: an approval is compared with what was asked.
    return tuple(sorted(merged.values(), key=_demand_order))


def _demand_order(demand: ApprovalDemand) -> tuple[list[str], list[str], int, float]:
    return sorted(demand.groups), sorted(demand.subjects), demand.people, demand.within_s
