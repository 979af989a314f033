"""What a caller's own standing takes away from its task: a narrowed grant, and being an agent.

Neither ever adds anything: the task's word comes first, and a refusal stays one. Pure.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from taskgate.model import limits
from taskgate.model.action import Action
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import BadConfig
from taskgate.model.grant import Grant, Permitted
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.masks import MaskSet
from taskgate.policy.judge import judge, judge_each
from taskgate.policy.patterns import parse_object
from taskgate.policy.rules import AgentHold, Effect, Entry, Rule, Task, index_rules
from taskgate.policy.shapes import PatternError
from taskgate.policy.vocabulary import ANY_VERB, NameShape, VerbSpec, nearest
from taskgate.policy.wording import approvers, denied_hint, held_hint, plain, said_action

_ANY_SPEC = VerbSpec(ANY_VERB, "everything", NameShape.FLEXIBLE, columns=False)
_MAX_TEXT_CHARS = 64 * limits.KIB


@dataclass(frozen=True, slots=True)
class Bounds:
    """Compiled for one task. `levels` has a task for each level of a derived grant that named
    any lines: those lines are all it permits."""

    agent: bool = False
    levels: tuple[Task, ...] = ()


def is_agent(identity: Identity) -> bool:
    """Whether what runs is an agent's doing, or somebody's who acts for another."""
    return identity.kind is IdentityKind.AGENT or identity.acts_for is not None


def lens_of(grant: Grant) -> str:
    """What tells apart grants of one task that may be judged differently; empty for plain ones.

    Whoever remembers decisions must keep those of different lenses apart.
    """
    if not grant.narrowings and not is_agent(grant.identity):
        return ""
    digest = hashlib.sha256(repr(grant.narrowings).encode("utf-8", "backslashreplace"))
    return f"{'agent' if is_agent(grant.identity) else 'self'} {digest.hexdigest()}"


def bounds_of(task: Task, grant: Grant) -> Bounds:
    """Raises: BadConfig where a line makes no sense for the task as it is now."""
    return Bounds(
        is_agent(grant.identity),
        tuple(narrowed(task, lines, grant.id) for lines in grant.narrowings),
    )


def judge_within(
    policy_version: str, task: Task, resource: str, actions: Sequence[Action], bounds: Bounds
) -> Decision:
    """`judge`, and then what the caller's own standing takes away."""
    decision = judge(policy_version, task, resource, actions)
    if decision.outcome is Outcome.DENY:
        return decision
    for level in bounds.levels:
        inner = judge(policy_version, level, resource, actions)
        if inner.outcome is not Outcome.PERMIT:
            return replace(
                inner,
                outcome=Outcome.DENY,
                demands=(),
                reason=f"{inner.reason}: the grant was narrowed when it was derived",
                hint=f"use a grant that permits it; {denied_hint(task.name)}",
                trusted=frozenset(),
            )
    if bounds.agent and decision.outcome is Outcome.PERMIT:
        return _held(task, actions, decision)
    return decision


def _held(task: Task, actions: Sequence[Action], decision: Decision) -> Decision:
    """What the task permits, but holds where an agent does it."""
    if task.hold_agents is AgentHold.NOTHING or task.hold_for is None:
        return decision
    for action, verdict in zip(actions, judge_each(task, actions), strict=True):
        if verdict.weak or (task.hold_agents is AgentHold.WRITES and not action.write):
            continue
        demands = (task.hold_for,)
        return replace(
            decision,
            outcome=Outcome.HOLD,
            rule=f"{task.name}/hold_agents",
            source=task.source,
            reason=f"{said_action(action)}: permitted to people, held for agents, for"
            f" {approvers(demands)}",
            demands=demands,
            hint=held_hint(demands),
        )
    return decision


def narrowed(task: Task, lines: Sequence[Permitted], grant_id: str) -> Task:
    """The task with nothing but `lines` permitted, and nothing held, denied or masked: the task
    itself sees to those.

    Raises: BadConfig with what is wrong, and what to write.
    """
    entries: list[Entry] = []
    vocabulary = task.vocabulary
    for line in lines:
        if line.verb not in vocabulary.words():
            raise BadConfig(
                f"unknown verb {plain(line.verb)}", hint=nearest(line.verb, vocabulary.words())
            )
        for verb in vocabulary.expand(line.verb):
            spec = vocabulary.spec(verb) or _ANY_SPEC
            if spec.ungated:
                raise BadConfig(f"{line.verb} needs no permit", hint="leave it out")
            for text in line.objects:
                try:
                    pattern = parse_object(text, spec, vocabulary)
                except PatternError as error:
                    raise BadConfig(f"{line.verb}: {error}", hint=error.hint) from None
                entries.append(Entry(verb, pattern, line.verb, f"grant {grant_id}"))
    rules = (Rule(f"{task.name}/narrowed", f"grant {grant_id}", Effect.PERMIT, tuple(entries)),)
    return replace(
        task,
        source=f"grant {grant_id}",
        rules=rules,
        otherwise=Outcome.DENY,
        hold_for=None,
        hold_agents=AgentHold.NOTHING,
        masks=MaskSet(),
        mask_patterns=(),
        permits=index_rules(rules, Effect.PERMIT, vocabulary),
        holds=index_rules(rules, Effect.HOLD, vocabulary),
        denies=index_rules(rules, Effect.DENY, vocabulary),
    )


def parse_lines(rules: Sequence[Mapping[str, object]]) -> tuple[Permitted, ...]:
    """Rules as under a task's `permit`: each a mapping of verbs to one pattern or several.

    Raises: BadConfig.
    """
    lines: list[Permitted] = []
    for rule in rules:
        for verb, objects in rule.items():
            patterns = [objects] if isinstance(objects, str) else objects
            if (
                not isinstance(patterns, list)
                or not patterns
                or not all(isinstance(one, str) and one.strip() for one in patterns)
            ):
                raise BadConfig(
                    f"{plain(str(verb))} names no objects", hint='write "select: [sales.orders]"'
                )
            lines.append(Permitted(str(verb), tuple(patterns)))
    count = sum(len(line.objects) for line in lines)
    if count > limits.MAX_NARROWING_LINES:
        raise BadConfig(f"a grant is narrowed by {limits.MAX_NARROWING_LINES} patterns at most")
    return tuple(lines)


def read_rule(text: str) -> dict[str, list[str]]:
    """One rule from a command line: `select: [sales.orders]`, or `select: sales.orders`.

    Raises: BadConfig.
    """
    hint = 'write "select: [sales.orders]", as under permit in a policy file'
    if len(text) > _MAX_TEXT_CHARS:
        raise BadConfig("the rule is too long", hint=hint)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadConfig(f"{plain(text)} is no rule", hint=hint) from None
    if not isinstance(value, dict) or not value:
        raise BadConfig(f"{plain(text)} is no rule", hint=hint)
    return {
        line.verb: list(line.objects)
        for line in parse_lines([{str(verb): objects for verb, objects in value.items()}])
    }
