"""Narrower grants out of grants: for a step, or for an agent that acts for their holder."""

import math
import re
from dataclasses import dataclass

from taskgate.identity.grants import (
    Grants,
    Issued,
    PolicySource,
    checked_reason,
    ensure_sign_in,
)
from taskgate.identity.tokens import new_token
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig, Denied, NotFound, OverLimit
from taskgate.model.grant import Grant, Link, Permitted
from taskgate.model.identity import AGENT_ISSUER, Identity, IdentityKind
from taskgate.model.ids import new_id
from taskgate.model.ports import GrantStore
from taskgate.model.token import Token
from taskgate.policy.bounds import narrowed
from taskgate.policy.people import may_take_up

_AGENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a derived grant is to be. What is left out stays as the parent has it.

    `permit` are the only lines permitted, None for no further narrowing; `uses` is how many
    sessions may be opened under it and under all that is derived from it; `agent` names an agent
    that acts for the parent's holder.
    """

    permit: tuple[Permitted, ...] | None = None
    resources: tuple[str, ...] = ()
    lasts_s: float | None = None
    uses: int | None = None
    step: str = ""
    reason: str = ""
    agent: str = ""


class Delegation:
    """Derives. Nothing it makes is ever wider than what it is made from: an action must be
    permitted by the task and by every level, and each level's time, resources and uses count."""

    def __init__(
        self, store: GrantStore, grants: Grants, policy: PolicySource, clock: Clock
    ) -> None:
        self._store = store
        self._grants = grants
        self._policy = policy
        self._clock = clock

    async def derive(self, parent: Grant, wish: Wish) -> Issued:
        """A child of `parent`, with its token. Who may do so is for the caller to judge.

        Raises: Denied (wider than the parent, the task is not for such an agent, or the sign-in
        behind it is not as the task asks: StepUpNeeded), BadConfig,
        NotFound where the parent is over, OverLimit, StoreUnavailable.
        """
        now = self._clock.now()
        self._grants.ensure(parent)
        if len(parent.chain) >= limits.MAX_DELEGATION_DEPTH:
            raise OverLimit(
                f"grants are derived {limits.MAX_DELEGATION_DEPTH} levels deep at most",
                hint="derive from one further up",
            )
        task = self._policy.current.tasks.get(parent.task)
        if task is None:
            raise Denied(
                f"task {parent.task} is not in the policy any more", rule="unknown is refused"
            )
        if parent.break_glass:
            raise Denied(
                "nothing is derived from a grant that was given by break-glass",
                rule=f"{task.name}/break_glass",
                hint="whoever broke the glass uses it themselves",
            )
        if wish.permit is not None:
            narrowed(task, wish.permit, parent.id)
        identity = _holder(parent.identity, wish.agent)
        refusal = may_take_up(task, await self._grants.as_listed(identity))
        if not refusal:
            raise Denied(
                refusal.reason,
                rule=f"{task.name}/for",
                hint="for: {kinds: [human, agent]} in the task lets people's agents in",
            )
        ensure_sign_in(task, identity, now)
        child = Grant(
            id=new_id("g"),
            identity=identity,
            task=parent.task,
            reason=checked_reason(wish.reason) if wish.reason else parent.reason,
            resources=_resources(parent, wish),
            not_before=now,
            expires_at=_expires_at(parent, wish, now),
            parent=parent.id,
            step=_step(wish),
            narrowings=parent.narrowings + ((wish.permit,) if wish.permit is not None else ()),
            uses_left=_uses(parent, wish),
            chain=(Link(parent.id, parent.identity.key, parent.step), *parent.chain),
        )
        token, token_hash = new_token()
        kept = await self._store.add(
            child,
            Token(token_hash, child.id, now, child.expires_at),
            limits.MAX_GRANTS_PER_PERSON,
        )
        if not kept:
            raise NotFound(f"the grant {parent.id} is over")
        return Issued(child, token)


def _holder(holder: Identity, agent: str) -> Identity:
    if not agent:
        return holder
    if not _AGENT.match(agent):
        raise BadConfig("an agent's name has 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    # Both names in one key, so that two people's agents of one name are two.
    return Identity(
        subject=f"{agent}@{holder.key}",
        issuer=AGENT_ISSUER,
        kind=IdentityKind.AGENT,
        authenticated_at=holder.authenticated_at,
        method="derived",
        acts_for=holder,
    )


def _resources(parent: Grant, wish: Wish) -> tuple[str, ...]:
    for name in wish.resources:
        if name not in parent.resources:
            raise Denied(
                f"the grant {parent.id} does not reach {name}",
                rule="delegation",
                hint=f"it reaches {', '.join(parent.resources)}",
            )
    return tuple(dict.fromkeys(wish.resources)) or parent.resources


def _expires_at(parent: Grant, wish: Wish, now: float) -> float:
    if wish.lasts_s is None:
        return parent.expires_at
    if not (math.isfinite(wish.lasts_s) and wish.lasts_s > 0):
        raise BadConfig("a grant lasts some seconds")
    if now + wish.lasts_s > parent.expires_at:
        raise Denied(
            f"the grant {parent.id} ends in {parent.expires_at - now:.0f} s, before that",
            rule="delegation",
            hint="ask for less, or leave the time out",
        )
    return now + wish.lasts_s


def _uses(parent: Grant, wish: Wish) -> int | None:
    if parent.uses_left is not None and parent.uses_left < 1:
        raise Denied(f"the grant {parent.id} has no uses left", rule="delegation")
    if wish.uses is None:
        # Its own count is the parent's, which every session under the child also takes from.
        return None
    if not 1 <= wish.uses <= limits.MAX_GRANT_USES:
        raise BadConfig(f"uses are 1 to {limits.MAX_GRANT_USES}")
    if parent.uses_left is not None and wish.uses > parent.uses_left:
        raise Denied(
            f"the grant {parent.id} has {parent.uses_left} uses left",
            rule="delegation",
            hint="ask for fewer",
        )
    return wish.uses


def _step(wish: Wish) -> str:
    step = " ".join(wish.step.split())
    if len(step) > limits.MAX_STEP_CHARS or not step.isprintable():
        raise BadConfig(f"a step's name has {limits.MAX_STEP_CHARS} characters at most")
    return step
