"""Why a request is permitted, held or denied: every rule, with what it says of every action.

The actions are passed in, so that this knows no protocol. It asks the same functions as judge().
"""

from collections.abc import Sequence
from dataclasses import dataclass

from taskgate.model.action import Action
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import NotFound
from taskgate.model.identity import Identity
from taskgate.model.masks import Compared, Transform, TransformKind
from taskgate.policy.bounds import Bounds, is_agent, judge_within
from taskgate.policy.hours import closes_at, open_at, spell_moment
from taskgate.policy.judge import judge_each
from taskgate.policy.matching import Subject, covered_columns, subject_of, why_not
from taskgate.policy.people import closed_reason, may_take_up, sign_in_unmet
from taskgate.policy.rules import AgentHold, Effect, Entry, Policy, Rule, Task
from taskgate.policy.units import spell_duration, spell_size
from taskgate.policy.vocabulary import nearest
from taskgate.policy.wording import approvers, plain, said_action, said_columns


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """What one entry of a rule says of one action. `why` is empty where it matched outright."""

    address: str
    source: str
    effect: Effect
    entry: str
    matched: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class ActionTrace:
    """One action, its outcome, and every entry of every rule in the file's order."""

    action: Action
    outcome: Outcome
    rule: str
    reason: str
    rules: tuple[RuleTrace, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all that led to it.

    `refusal` says why the identity may not take the task up (empty: it may); `hours` whether
    the task is open. `obligations` and `approvers` are sentences for people.
    """

    task: str
    resource: str
    identity: str
    decision: Decision
    refusal: str
    hours: str
    actions: tuple[ActionTrace, ...]
    obligations: tuple[str, ...]
    approvers: str


def explain(
    policy: Policy,
    task_name: str,
    resource: str,
    identity: Identity | None,
    actions: Sequence[Action],
    now: float,
) -> Explanation:
    """Explains what `actions` at `resource` would lead to under a task; nothing is run.

    An empty `resource` means the task's first. No identity: only the rules are explained.

    Raises: NotFound for an unknown task.
    """
    task = policy.tasks.get(task_name)
    if task is None:
        raise NotFound(f"no task {plain(task_name)}", hint=nearest(task_name, policy.tasks))
    place = resource or task.resources[0]
    bounds = Bounds(identity is not None and is_agent(identity))
    decision = judge_within(policy.version, task, place, actions, bounds)
    return Explanation(
        task=task.name,
        resource=place,
        identity=identity.key if identity is not None else "",
        decision=decision,
        refusal=_refusal(task, identity, now) if identity is not None else "",
        hours=_hours(task, now),
        actions=tuple(_traces(task, actions)),
        obligations=tuple(_obligations(task)) if decision.outcome is not Outcome.DENY else (),
        approvers=approvers(decision.demands),
    )


def _refusal(task: Task, identity: Identity, now: float) -> str:
    why = may_take_up(task, identity).reason
    missing = sign_in_unmet(task, identity, now)
    return why or (f"task {task.name} needs {' and '.join(missing)}" if missing else "")


def _traces(task: Task, actions: Sequence[Action]) -> list[ActionTrace]:
    found: list[ActionTrace] = []
    for action, verdict in zip(actions, judge_each(task, actions), strict=True):
        subject = subject_of(action, task.vocabulary)
        rules = tuple(
            _trace(task, rule, entry, subject) for rule in task.rules for entry in rule.entries
        )
        found.append(ActionTrace(action, verdict.outcome, verdict.rule, verdict.reason, rules))
    return found


def _trace(task: Task, rule: Rule, entry: Entry, subject: Subject) -> RuleTrace:
    why = why_not(rule, entry, subject, task.vocabulary)
    matched = not why
    if matched and rule.effect is not Effect.DENY and entry.pattern.columns is not None:
        if subject.touched is None:
            why = "for its columns only, and which columns are meant cannot be told"
        else:
            left = subject.touched - covered_columns(entry, subject.touched)
            why = f"for its columns only, which leaves {said_columns(left)}" if left else ""
    return RuleTrace(rule.address, entry.source, rule.effect, str(entry), matched, why)


def _hours(task: Task, now: float) -> str:
    if task.hours is None:
        return "always open"
    if not open_at(task, now):
        return closed_reason(task, now)
    closes = closes_at(task, now)
    until = f", until {spell_moment(closes)}" if closes is not None else ""
    return f"open now ({'; '.join(task.hours.text)}){until}"


def _obligations(task: Task) -> list[str]:
    said: list[str] = []
    for mask in task.masks.columns:
        said.append(
            f"column {mask.relation}.{mask.column} is shown as {_said_transform(mask.transform)}"
            f" ({mask.rule})"
        )
        if mask.compared is not Compared.DENY:
            said.append(f"  comparing it: {mask.compared.value}")
    said += [
        f"any {mask.kind} is shown as {_said_transform(mask.transform)} ({mask.rule})"
        for mask in task.masks.kinds
    ]
    if task.masks.pass_binary:
        said.append("what is no text passes unmasked (binary: pass)")
    limits = task.limits
    if limits.rows is not None:
        said.append(f"at most {limits.rows} rows an answer")
    if limits.max_bytes is not None:
        said.append(f"at most {spell_size(limits.max_bytes)} an answer")
    if limits.statement_s is not None:
        said.append(f"a statement runs at most {spell_duration(limits.statement_s)}")
    if limits.idle_s is not None:
        said.append(f"a session is silent at most {spell_duration(limits.idle_s)}")
    if task.hold_agents is not AgentHold.NOTHING:
        said.append(f"an agent is held for what people may do ({task.hold_agents.value})")
    if task.record_rows:
        said.append("the answer's rows are recorded, as shown")
    if task.record_output:
        said.append("what commands answer is recorded, as shown")
    if task.keep_files:
        said.append("what is read from and written to files by SFTP and scp is recorded")
    return said


def _said_transform(transform: Transform) -> str:
    if transform.kind is TransformKind.CONSTANT:
        return f"the constant {plain(transform.constant)!r}"
    return transform.kind.value


def render_text(explanation: Explanation, *, every_rule: bool = True) -> str:
    """Plain text for a terminal. Without `every_rule`, only those that matched are listed."""
    decision = explanation.decision
    lines = [
        f"{decision.outcome.value.upper()}  {decision.reason}",
        f"  rule      {decision.rule} ({decision.source})",
        f"  task      {explanation.task} at {explanation.resource}",
        f"  policy    {decision.policy_version[:12]}",
        f"  hours     {explanation.hours}",
    ]
    if explanation.identity:
        standing = explanation.refusal or "may take up the task"
        lines.append(f"  identity  {plain(explanation.identity)}: {standing}")
    if explanation.approvers:
        lines.append(f"  approval  {explanation.approvers}")
    for trace in explanation.actions:
        lines += ["", f"{trace.outcome.value}: {said_action(trace.action)}"]
        if trace.reason != decision.reason:
            lines.append(f"  {trace.reason}")
        for rule in trace.rules:
            if not (every_rule or rule.matched):
                continue
            sign = "+" if rule.matched else "-"
            why = f": {rule.why}" if rule.why else ""
            lines.append(f"  {sign} {rule.address} {rule.effect.value} {rule.entry}{why}")
    if explanation.obligations:
        lines += ["", "then:", *(f"  {line}" for line in explanation.obligations)]
    if decision.outcome is Outcome.DENY:
        lines += ["", f"what next: {decision.hint}"]
    return "\n".join(lines)
