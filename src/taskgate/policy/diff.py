"""What one policy lets happen more or less than another, task by task."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from taskgate.model.authentication import SignInDemand
from taskgate.model.masks import Transform, TransformKind
from taskgate.policy.rules import AgentHold, BreakGlassRule, Effect, Policy, Role, Task
from taskgate.policy.units import spell_duration
from taskgate.policy.wording import approvers


class Direction(StrEnum):
    """What a change does to what may happen."""

    MORE = "permits more"
    LESS = "permits less"
    OTHER = "changes"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `subject` is `task NAME`, `role NAME`, `trust NAME` or
    `resource NAME`."""

    subject: str
    direction: Direction
    what: str

    def __str__(self) -> str:
        return f"{self.subject} {self.direction.value}: {self.what}"


_MORE, _LESS, _OTHER = Direction.MORE, Direction.LESS, Direction.OTHER


def diff(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Every difference that matters to a decision, in the order of names. Files that only moved
    or changed their comments make none."""
    return (
        *_resources(old, new),
        *_both("task", old.tasks, new.tasks),
        *_both("role", old.roles, new.roles),
        *_trusts(old, new),
    )


def _resources(old: Policy, new: Policy) -> Iterator[Change]:
    for name in sorted({*old.resources, *new.resources}):
        before, after = old.resources.get(name), new.resources.get(name)
        if before == after:
            continue
        what = "is new" if before is None else "is gone" if after is None else "is set up otherwise"
        yield Change(f"resource {name}", _OTHER, what)


def _trusts(old: Policy, new: Policy) -> Iterator[Change]:
    for name in sorted({*old.trusts, *new.trusts}):
        before, after = old.trusts.get(name), new.trusts.get(name)
        subject = f"trust {name}"
        if before is None:
            yield Change(subject, _MORE, "is new")
        elif after is None:
            yield Change(subject, _LESS, "is gone")
        elif replace(before, source="", description="") != replace(
            after, source="", description=""
        ):
            yield from _sets(subject, "task ", before.tasks, after.tasks)
            if before.lasts_s != after.lasts_s:
                direction = _MORE if after.lasts_s > before.lasts_s else _LESS
                yield Change(subject, direction, f"lasts {spell_duration(after.lasts_s)}")
            asked = ("issuer", "audiences", "conditions", "jwks_uri", "ca_file")
            if any(getattr(before, name) != getattr(after, name) for name in asked):
                conditions = "; ".join(str(one) for one in after.conditions)
                yield Change(subject, _OTHER, f"whom it lets in: {after.issuer}, {conditions}")


def _both(
    sort: str, old: Mapping[str, Task | Role], new: Mapping[str, Task | Role]
) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        subject = f"{sort} {name}"
        if before is None:
            yield Change(subject, _MORE, "is new")
        elif after is None:
            yield Change(subject, _LESS, "is gone")
        elif isinstance(before, Task) and isinstance(after, Task):
            yield from _task(subject, before, after)
        elif isinstance(before, Role) and isinstance(after, Role):
            yield from _role(subject, before, after)


def _role(subject: str, old: Role, new: Role) -> Iterator[Change]:
    yield from _sets(subject, "may ", old.rights, new.rights)
    if old.tasks != new.tasks:
        # From everything to something is less, though the list grows.
        before, after = old.tasks or {"all of them"}, new.tasks or {"all of them"}
        yield from _sets(subject, "over tasks ", before, after)
    yield from _members(subject, old, new)


def _members(subject: str, old: Task | Role, new: Task | Role) -> Iterator[Change]:
    before, after = old.members, new.members
    yield from _sets(subject, "for ", before.groups, after.groups)
    yield from _sets(subject, "for ", before.subjects, after.subjects)
    yield from _sets(subject, "for ", before.trusts, after.trusts)
    if before.kinds != after.kinds:
        kinds = ", ".join(sorted(after.kinds)) or "all"
        yield Change(subject, _OTHER, f"for kinds of caller: {kinds}")


def _sets(subject: str, word: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    before, after = set(old), set(new)
    for item in sorted(after - before):
        yield Change(subject, _MORE, f"{word}{item} (new)")
    for item in sorted(before - after):
        yield Change(subject, _LESS, f"{word}{item} (gone)")


def _rules(task: Task, effect: Effect) -> set[str]:
    found: set[str] = set()
    for rule in task.rules:
        if rule.effect is effect:
            extra = " (trusted)" if rule.trusted else ""
            if rule.demand is not None:
                extra = f" for {approvers([rule.demand])}"
            found.update(f"{entry.verb} {entry.pattern.text}{extra}" for entry in rule.entries)
    return found


def _task(subject: str, old: Task, new: Task) -> Iterator[Change]:
    yield from _sets(subject, "permit ", _rules(old, Effect.PERMIT), _rules(new, Effect.PERMIT))
    for effect in (Effect.HOLD, Effect.DENY):
        before, after = _rules(old, effect), _rules(new, effect)
        # A hold that comes may open what was refused, or close what was free.
        fewer, more = (_LESS, _MORE) if effect is Effect.DENY else (_OTHER, _OTHER)
        for item in sorted(after - before):
            yield Change(subject, fewer, f"{effect.value} {item} (new)")
        for item in sorted(before - after):
            yield Change(subject, more, f"{effect.value} {item} (gone)")
    yield from _members(subject, old, new)
    yield from _sets(subject, "at ", old.resources, new.resources)
    yield from _masks(subject, old, new)
    if old.otherwise != new.otherwise or old.hold_for != new.hold_for:
        yield Change(subject, _OTHER, f"otherwise: {new.otherwise.value}")
    if old.hold_agents != new.hold_agents:
        order = list(AgentHold)
        stricter = order.index(new.hold_agents) > order.index(old.hold_agents)
        yield Change(subject, _LESS if stricter else _MORE, f"hold_agents: {new.hold_agents.value}")
    if old.lasts != new.lasts:
        direction = _MORE if new.lasts.at_most_s > old.lasts.at_most_s else _LESS
        if new.lasts.at_most_s == old.lasts.at_most_s:
            direction = _OTHER
        spelled = f"{spell_duration(new.lasts.default_s)}, at most "
        yield Change(subject, direction, f"lasts {spelled}{spell_duration(new.lasts.at_most_s)}")
    if _hours(old) != _hours(new):
        yield Change(subject, _OTHER, f"hours: {_hours(new) or 'always'}")
    if old.sign_in != new.sign_in:
        yield Change(subject, _sign_in_direction(old, new), f"sign_in: {_sign_in(new)}")
    if old.direct != new.direct:
        yield Change(subject, _MORE if new.direct else _LESS, f"direct: {str(new.direct).lower()}")
    yield from _break_glass(subject, old.break_glass, new.break_glass)
    if _others(old) != _others(new):
        yield Change(subject, _OTHER, "limits, recording or approvals in advance")


def _others(task: Task) -> tuple[object, ...]:
    return task.limits, task.record_rows, task.record_output, task.keep_files, task.standing


def _break_glass(
    subject: str, old: BreakGlassRule | None, new: BreakGlassRule | None
) -> Iterator[Change]:
    if old == new:
        return
    if old is None or new is None:
        word = "(new)" if old is None else "(gone)"
        yield Change(subject, _MORE if old is None else _LESS, f"break_glass {word}")
        return
    word = "break_glass for "
    yield from _sets(subject, word, old.members.groups, new.members.groups)
    yield from _sets(subject, word, old.members.subjects, new.members.subjects)
    if old.second != new.second:
        told = approvers([new.second]) if new.second is not None else "nobody"
        looser = new.second is None
        yield Change(subject, _MORE if looser else _OTHER, f"break_glass second person: {told}")
    if old.lasts_s != new.lasts_s:
        longer = new.lasts_s > old.lasts_s
        yield Change(
            subject, _MORE if longer else _LESS, f"break_glass lasts {spell_duration(new.lasts_s)}"
        )
    if old.review != new.review:
        yield Change(subject, _OTHER, f"break_glass review by {approvers([new.review])}")


def _masks(subject: str, old: Task, new: Task) -> Iterator[Change]:
    before, after = _mask_lines(old), _mask_lines(new)
    for item in after:
        if item not in before:
            yield Change(subject, _LESS, f"{item} (new)")
    for item in before:
        if item not in after:
            yield Change(subject, _MORE, f"{item} (gone)")
    if old.masks.pass_binary != new.masks.pass_binary:
        passes = new.masks.pass_binary
        yield Change(
            subject, _MORE if passes else _LESS, f"binary: {'pass' if passes else 'refuse'}"
        )
    if before != after and set(before) == set(after):
        yield Change(subject, _OTHER, "the order of masks")


def _mask_lines(task: Task) -> list[str]:
    return [
        f"mask {pattern} as {pattern.mask.transform.kind.value}"
        f"{_constant(pattern.mask.transform)}, compared {pattern.mask.compared.value}"
        for pattern in task.mask_patterns
    ] + [
        f"mask {mask.kind} as {mask.transform.kind.value}{_constant(mask.transform)}"
        for mask in task.masks.kinds
    ]


def _constant(transform: Transform) -> str:
    return f" {transform.constant!r}" if transform.kind is TransformKind.CONSTANT else ""


def _sign_in(task: Task) -> str:
    demand = task.sign_in
    if demand is None:
        return "any"
    said = ["mfa"] if demand.mfa else []
    if demand.within_s is not None:
        said.append(f"within {spell_duration(demand.within_s)}")
    if demand.acr:
        said.append(f"acr {' or '.join(demand.acr)}")
    return ", ".join(said)


def _sign_in_direction(old: Task, new: Task) -> Direction:
    before, after = old.sign_in or SignInDemand(), new.sign_in or SignInDemand()
    looser, stricter = _no_stricter(after, before), _no_stricter(before, after)
    return _OTHER if looser == stricter else _MORE if looser else _LESS


def _no_stricter(one: SignInDemand, other: SignInDemand) -> bool:
    """Whether every sign-in that meets `other` meets `one`."""
    return (
        (other.mfa or not one.mfa)
        and (one.within_s is None or (other.within_s or float("inf")) <= one.within_s)
        and (not one.acr or (bool(other.acr) and set(other.acr) <= set(one.acr)))
    )


def _hours(task: Task) -> str:
    return "; ".join(task.hours.text) if task.hours is not None else ""
