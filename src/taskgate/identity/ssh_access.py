"""Who signs in by SSH without a token: by a certificate that the gate has signed, or a key that
they have registered. Neither holds a right: both find the grants that its holder has.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from taskgate.identity.grants import Grants, PolicySource, ensure_sign_in
from taskgate.identity.proof import Proof, ProvenGrants
from taskgate.identity.tokens import hash_token
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.clock import Clock
from taskgate.model.errors import Denied, NotAuthenticated, TaskgateError
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.token import GrantSelector
from taskgate.policy.people import may_take_up
from taskgate.policy.rules import Policy, Task

_USE: Final = "ssh"
REASON: Final = "signed in directly: ssh"


def _nothing() -> None:
    """For what rests on a grant alone."""


@dataclass(frozen=True, slots=True)
class Proven:
    """Somebody who has shown who they are, and not with a grant's token.

    `identity` is how they signed in; `stale` says that this was when they registered a key, so
    that it tells nothing of how lately they did. `proof` takes up tasks that are `direct`; None
    takes up none. `ensure` raises Denied once what was shown counts no longer. `facts` are for the
    records.
    """

    identity: Identity
    stale: bool = False
    proof: Proof | None = field(default=None, repr=False)
    ensure: Callable[[], None] = field(default=_nothing, repr=False)
    facts: tuple[tuple[str, str], ...] = ()


class HeldGrants:
    """The grant under which somebody proven comes in: one that they hold, or one that they take
    up by coming in, where the task allows that."""

    def __init__(
        self, grants: Grants, proven: ProvenGrants, policy: PolicySource, clock: Clock
    ) -> None:
        self._grants = grants
        self._proven = proven
        self._policy = policy
        self._clock = clock

    async def find(self, who: Proven, task: str, resource: str) -> tuple[Grant, str, bool]:
        """The newest live grant of theirs for `task` (for any, if that is empty) that reaches
        `resource` (the task's only one, if that is empty), which resource that is, and whether the
        grant was made now.

        Derived grants are left aside: they are for whoever was given their token. Raises: Denied,
        the same for a task that is not there; StepUpNeeded; NotAuthenticated; OverLimit;
        StoreUnavailable.
        """
        person = who.identity.key
        refused: TaskgateError | None = None
        found = await self._grants.list(
            GrantSelector(person=person), limit=limits.MAX_GRANTS_PER_PERSON
        )
        for grant in found:
            named = resource or _only(self._policy.current, grant.task)
            own = grant.identity.key == person and grant.parent is None
            if not own or task not in ("", grant.task) or named not in grant.resources:
                continue
            try:
                self._grants.ensure(grant)
                self._ensure_sign_in(who, grant.task)
                await self._grants.ensure_allowed(grant, named)
            except Denied as error:
                # An older one may still do.
                refused = refused or error
                continue
            return grant, named, False
        if refused is not None:
            raise refused
        return await self._take_up(who, task, resource)

    async def _take_up(self, who: Proven, task: str, resource: str) -> tuple[Grant, str, bool]:
        identity = await self._grants.as_listed(who.identity)
        fitting = [
            one
            for one in self._policy.current.tasks.values()
            if task in ("", one.name)
            and (resource or _only(self._policy.current, one.name)) in one.resources
            and may_take_up(one, identity)
        ]
        direct = [one for one in fitting if one.direct]
        if who.proof is None or len(direct) != 1 or (task and direct[0].name != task):
            raise _none_held(task, resource, [one.name for one in fitting])
        grant, fresh = await self._proven.take_up(who.proof, direct[0].name, REASON, use=_USE)
        return grant, resource or _only(self._policy.current, grant.task), fresh

    def _ensure_sign_in(self, who: Proven, task_name: str) -> None:
        """A weaker sign-in does not use what a stronger one took up. How lately it was made, the
        grant's own tells where this one cannot."""
        task = self._policy.current.tasks.get(task_name)
        if task is None or task.sign_in is None:
            return
        if who.stale:
            task = replace(task, sign_in=_ever(task.sign_in))
        ensure_sign_in(task, who.identity, self._clock.now())


def _ever(demand: SignInDemand) -> SignInDemand:
    return replace(demand, within_s=None)


def _only(policy: Policy, task_name: str) -> str:
    """The task's resource, where it has only one; empty otherwise."""
    task: Task | None = policy.tasks.get(task_name)
    return task.resources[0] if task is not None and len(task.resources) == 1 else ""


def _none_held(task: str, resource: str, fitting: list[str]) -> Denied:
    """The same for a task that is not there, and one that is not theirs."""
    if task:
        return Denied(
            f"you hold no live grant of {task}" + (f" for {resource}" if resource else ""),
            rule="grant",
            hint=f'take it up: taskgate request {task} --reason "..."',
        )
    which = sorted(fitting)
    return Denied(
        f"you hold no live grant that reaches {resource}",
        rule="grant",
        hint=f'take one up: taskgate request {which[0] if which else "TASK"} --reason "..."'
        + (f" (or {', '.join(which[1:])})" if len(which) > 1 else ""),
    )


def certificate_proof(identity: Identity, serial: int, until: float) -> Proof:
    """What a certificate proves: it takes each task up once, as a provider's token does."""
    return Proof(identity, hash_token(f"ssh-certificate\0{serial}"), until)


def over() -> NotAuthenticated:
    """What was shown opens nothing. One message, whatever was wrong."""
    return NotAuthenticated("nobody signs in with this key or certificate")
