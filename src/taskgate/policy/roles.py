"""Who holds which right over the gate itself, and over which tasks."""

from collections.abc import Iterable
from dataclasses import dataclass

from taskgate.model.audit import fits
from taskgate.model.identity import Identity
from taskgate.policy.people import why_not_member
from taskgate.policy.rules import Policy, Right


@dataclass(frozen=True, slots=True)
class Scope:
    """What a right reaches: `everything`, or what belongs to a task of one of `patterns` (names,
    in which `*` stands for any characters). False where it reaches nothing."""

    everything: bool = False
    patterns: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.patterns)

    @property
    def tasks(self) -> frozenset[str] | None:
        """The patterns; None for everything."""
        return None if self.everything else self.patterns

    def covers(self, task: str) -> bool:
        """Whether it reaches what belongs to `task`; what belongs to none is of everything."""
        return self.everything or any(fits(task, pattern) for pattern in self.patterns)


def scope_of(policy: Policy, identity: Identity, *rights: Right | str) -> Scope:
    """What any of `rights` reaches, over all the roles that `identity` holds. Nobody holds one by
    default.

    Raises: ValueError for a right that does not exist.
    """
    wanted = {Right(right) for right in rights}
    patterns: set[str] = set()
    for role in policy.roles.values():
        if wanted & role.rights and not why_not_member(role.members, identity):
            if not role.tasks:
                return Scope(everything=True)
            patterns |= role.tasks
    return Scope(patterns=frozenset(patterns))


def holds(policy: Policy, identity: Identity, right: Right | str, task: str | None = None) -> bool:
    """Whether any role gives `identity` the right over `task`; over everything, if that is left
    out.

    Raises: ValueError for a right that does not exist.
    """
    scope = scope_of(policy, identity, right)
    return scope.everything if task is None else scope.covers(task)


def unmatched(patterns: Iterable[str], tasks: Iterable[str]) -> tuple[str, ...]:
    """The patterns that no task fits."""
    known = tuple(tasks)
    return tuple(p for p in patterns if not any(fits(task, p) for task in known))
