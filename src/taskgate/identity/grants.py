"""Grants: one identity takes a task up for a while, for a stated reason."""

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from taskgate.identity.listing import Listing
from taskgate.identity.revocations import EndListener, Revocations
from taskgate.identity.tokens import hash_token, looks_right, new_token
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig, Denied, NotAuthenticated, NotFound, StepUpNeeded
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.ids import new_id
from taskgate.model.ports import GrantStore
from taskgate.model.token import GrantSelector, Revocation, Token
from taskgate.policy.hours import closes_at, open_at
from taskgate.policy.people import (
    closed_reason,
    may_take_up,
    sign_in_unmet,
    why_not_member,
)
from taskgate.policy.rules import BreakGlassRule, Policy, Task

# One message for a wrong token, task or resource, and for a grant that is over.
_REFUSED: Final = "no grant for this task goes with this token"
_REFUSED_HINT: Final = (
    'request one with: taskgate request TASK --reason "...", and use its token as the password;'
    " where a task has several resources the user name is TASK+RESOURCE"
)
MAX_FOUND: Final = 1_000


class PolicySource(Protocol):
    """Whoever knows which policy counts now."""

    @property
    def current(self) -> Policy: ...


@dataclass(frozen=True, slots=True)
class Issued:
    """A grant and a token for it. `token` is shown once, here; only its hash is kept."""

    grant: Grant
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that the store vouched for at monotonic time `at`."""

    grant: Grant
    expires_at: float
    at: float


class Grants:
    """Requests, checks and ends grants. Run it inside `watching()`."""

    def __init__(
        self,
        store: GrantStore,
        policy: PolicySource,
        clock: Clock,
        directory: Listing | None = None,
    ) -> None:
        """`directory` says what counts of somebody now, where anything does."""
        self._store = store
        self._policy = policy
        self._clock = clock
        self._directory = directory
        self._revocations = Revocations(store, clock)
        self._checked: OrderedDict[str, _Checked] = OrderedDict()
        self._revocations.on_end(self._forget)

    async def request(
        self,
        identity: Identity,
        task_name: str,
        reason: str,
        *,
        resource: str | None = None,
        lasts_s: float | None = None,
    ) -> Issued:
        """Takes a task up: for `resource` alone, or for all of the task's; for `lasts_s` seconds,
        or as long as the task says.

        Raises: Denied (who, hours, too long), StepUpNeeded (not with this sign-in), BadConfig (no
        reason), NotAuthenticated if the person was cut off meanwhile, OverLimit, StoreUnavailable.
        """
        reason = checked_reason(reason)
        if identity.kind is IdentityKind.AGENT and identity.acts_for is None:
            raise Denied(
                f"{identity.key} is an agent that acts for nobody",
                rule="for",
                hint="an agent acts for a person: taskgate user add NAME --agent-for PERSON, or"
                " taskgate token derive GRANT --agent NAME",
            )
        identity = await self.as_listed(identity)
        now = self._clock.now()
        task = task_open_to(self._policy.current, identity, task_name, resource, now)
        asked_s = task.lasts.default_s if lasts_s is None else lasts_s
        if not (math.isfinite(asked_s) and 0 < asked_s <= task.lasts.at_most_s):
            raise Denied(
                f"task {task_name} cannot be taken up for {asked_s:g} s",
                rule=f"{task_name}/lasts",
                hint=f"ask for {task.lasts.at_most_s:g} s at most",
            )
        grant = Grant(
            id=new_id("g"),
            identity=identity,
            task=task_name,
            reason=reason,
            resources=(resource,) if resource is not None else task.resources,
            not_before=now,
            expires_at=now + asked_s,
        )
        return await self.give(grant)

    async def give(self, grant: Grant) -> Issued:
        """A grant that somebody else has judged, with its token.

        Raises: NotAuthenticated if the person was cut off meanwhile, OverLimit, StoreUnavailable.
        """
        token, token_hash = new_token()
        kept = await self._store.add(
            grant,
            Token(token_hash, grant.id, grant.not_before, grant.expires_at),
            limits.MAX_GRANTS_PER_PERSON,
        )
        if not kept:
            raise NotAuthenticated(
                "the sign-in behind this request has ended", hint="sign in again: taskgate login"
            )
        return Issued(grant, token)

    async def issue_token(self, identity: Identity, grant_id: str) -> Issued:
        """One more token for a grant of one's own; it ends with the grant.

        Raises: NotFound (not there, not one's own, or over), StepUpNeeded, OverLimit,
        StoreUnavailable.
        """
        now = self._clock.now()
        grant = await self._store.get(grant_id)
        if grant is not None and grant.identity.key == identity.key and grant.live(now):
            task = self._policy.current.tasks.get(grant.task)
            if task is not None:
                # A weaker sign-in does not get at what a stronger one took up.
                ensure_sign_in(task, identity, now)
            token, token_hash = new_token()
            kept = await self._store.add_token(
                Token(token_hash, grant.id, now, grant.expires_at), limits.MAX_TOKENS_PER_GRANT
            )
            if kept:
                return Issued(grant, token)
        raise NotFound(f"you hold no live grant {grant_id}", hint="taskgate grants lists yours")

    async def check(self, token: str, task_name: str, resource: str) -> Grant:
        """The grant that `token` stands for, if it covers this task and resource now; one use is
        taken, where the grant or one above it has a number of them.

        Also asks the policy anew: whether its holder may still take the task up, whether the
        task still reaches the resource, and whether it is open.
        Raises: NotAuthenticated, the same for every fault of token, task and resource;
        Denied (hours, policy changed, StepUpNeeded) where the token is good; StoreUnavailable.
        """
        now = self._clock.now()
        grant = await self._grant_of(token)
        if (
            grant is None
            or grant.task != task_name
            or resource not in grant.resources
            or not grant.live(now)
            or self._revocations.ended(grant.id) is not None
        ):
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        await self.ensure_allowed(grant, resource)
        if grant.parent is not None and not await self._store.use(grant, now):
            raise Denied(
                f"the grant {grant.id} has no uses left",
                rule="grant",
                hint="whoever derived it can derive another, or one above it is used up",
            )
        return grant

    async def holder_of(self, token: str) -> Grant:
        """The live grant that `token` stands for, whatever it is for: to derive from it, or to
        end it. Opens no session.

        Raises: NotAuthenticated, StoreUnavailable.
        """
        grant = await self._grant_of(token)
        if (
            grant is None
            or not grant.live(self._clock.now())
            or self._revocations.ended(grant.id) is not None
        ):
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        # Not out of the cache: how many uses are left changes.
        return await self._store.get(grant.id) or grant

    async def as_listed(self, identity: Identity) -> Identity:
        """The identity with the groups that the directory gives it now.

        Raises: NotAuthenticated for somebody whom the directory has shut out; StoreUnavailable.
        """
        if self._directory is None:
            return identity
        return await self._directory.current(identity)

    def ensure(self, grant: Grant) -> None:
        """That nothing is known here against a grant checked before; waits only where the process
        stood still, for what it missed. To be called once a session can be found by who ends it,
        and before each request.

        Raises: Denied once it is over, StoreUnavailable while revocations go unheard.
        """
        self._revocations.catch_up()
        why = self._revocations.ended(grant.id)
        if why is None and not grant.live(self._clock.now()):
            why = grant.revoked_why or "it has expired"
        if why is not None:
            raise Denied(
                f"the grant {grant.id} is over: {why}",
                rule="grant",
                hint=f'request it anew: taskgate request {grant.task} --reason "..."',
            )
        self._revocations.ensure_sighted()

    def remaining_s(self, grant: Grant) -> float:
        """Seconds until the grant expires or the task's window closes; 0 if it is over."""
        now = self._clock.now()
        task = self._policy.current.tasks.get(grant.task)
        if task is None or not grant.live(now) or self._revocations.ended(grant.id) is not None:
            return 0.0
        closes = None if grant.break_glass else closes_at(task, now)
        until = grant.expires_at if closes is None else min(closes, grant.expires_at)
        return max(0.0, until - now)

    async def get(self, grant_id: str) -> Grant | None:
        """Raises: StoreUnavailable."""
        return await self._store.get(grant_id)

    async def list(
        self,
        selector: GrantSelector | None = None,
        *,
        live: bool = True,
        limit: int = 100,
        tasks: Collection[str] | None = None,
    ) -> tuple[Grant, ...]:
        """Newest first; all of them without a selector. `tasks` are patterns of task names; None
        for all. Raises: StoreUnavailable."""
        live_at = self._clock.now() if live else None
        return await self._store.find(
            selector or GrantSelector(), live_at, min(limit, MAX_FOUND), tasks=tasks
        )

    async def revoke(self, selector: GrantSelector, why: str) -> tuple[Revocation, ...]:
        """Ends live grants and what was delegated from them. Sessions on this node are told
        before it returns, those on others within `limits.REVOCATION_POLL_S`.

        Who may do so is for the caller to judge. Raises: ValueError for an empty selector,
        StoreUnavailable.
        """
        ended = await self._store.revoke(
            selector, self._clock.now(), why.strip()[: limits.MAX_REASON_CHARS]
        )
        self._revocations.apply(ended)
        return ended

    async def cut_off(
        self, person: str, why: str, *, grants_too: bool = True
    ) -> tuple[Revocation, ...]:
        """Ends all that a person has: grants (unless told not to), API sign-ins, and those of
        agents acting for them. `person` is one of `Identity.rests_on`. Raises: StoreUnavailable."""
        ended = await self._store.cut_off(
            person, self._clock.now(), why.strip()[: limits.MAX_REASON_CHARS], grants_too=grants_too
        )
        self._revocations.apply(ended)
        return ended

    def on_end(self, listener: EndListener) -> None:
        """See `Revocations.on_end`. Expiry is not told: whoever holds a grant knows its end."""
        self._revocations.on_end(listener)

    @property
    def blind(self) -> bool:
        """Whether this node cannot tell which grants still hold; for readiness."""
        return self._revocations.blind

    def heard(self, revocations: Sequence[Revocation]) -> None:
        """Makes revocations that came about elsewhere in this process known at once."""
        self._revocations.apply(revocations)

    async def poll(self) -> None:
        """Hears of revocations now instead of at the next poll. Raises: StoreUnavailable."""
        await self._revocations.poll()

    async def lapse(self) -> None:
        """Buries what has expired, so that a clock turned back before the next start does not
        revive it. Raises: StoreUnavailable."""
        await self._store.lapse(self._clock.now())

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follows revocations while the block runs. Raises: StoreUnavailable at the start."""
        async with self._revocations.following():
            yield

    async def ensure_allowed(self, grant: Grant, resource: str) -> None:
        """That the policy, asked anew, still lets the grant's holder reach `resource` now.

        Raises: Denied (StepUpNeeded), NotAuthenticated, StoreUnavailable.
        """
        now = self._clock.now()
        grant = replace(grant, identity=await self.as_listed(grant.identity))
        task = self._policy.current.tasks.get(grant.task)
        if task is None or resource not in task.resources:
            raise Denied(
                f"task {grant.task} does not reach {resource} any more",
                rule=f"{grant.task}/resources",
                hint="the policy has changed; taskgate tasks lists what there is",
            )
        ensure_sign_in(task, grant.identity, now)
        if grant.break_glass:
            ensure_may_break_glass(task, grant.identity)
            return
        if not may_take_up(task, grant.identity):
            raise Denied(
                f"{grant.identity.key} may not take up task {grant.task} any more",
                rule=f"{grant.task}/for",
                hint="the policy has changed; taskgate tasks lists what there is",
            )
        _ensure_open(task, now)

    async def _grant_of(self, token: str) -> Grant | None:
        if not looks_right(token):
            return None
        token_hash = hash_token(token)
        known = self._checked.get(token_hash)
        if known is not None and not self._stale(known):
            self._checked.move_to_end(token_hash)
            return known.grant
        self._checked.pop(token_hash, None)
        at = self._clock.monotonic()
        found = await self._store.by_token(token_hash)
        if found is None:
            return None
        grant, kept = found
        now = self._clock.now()
        if not kept.issued_at <= now < kept.expires_at or not grant.live(now):
            return None
        # Ended while the store was answering: what it answered is out of date.
        if self._revocations.ended(grant.id) is None:
            self._checked[token_hash] = _Checked(grant, kept.expires_at, at)
            if len(self._checked) > limits.MAX_CACHED_TOKENS:
                self._checked.popitem(last=False)
        return grant

    def _stale(self, known: _Checked) -> bool:
        return (
            self._revocations.blind
            or self._clock.monotonic() - known.at > limits.TOKEN_CACHE_S
            or self._clock.now() >= known.expires_at
        )

    def _forget(self, grant_ids: frozenset[str], _why: str) -> None:
        for token_hash in [h for h, one in self._checked.items() if one.grant.id in grant_ids]:
            del self._checked[token_hash]


def task_open_to(
    policy: Policy, identity: Identity, task_name: str, resource: str | None, now: float
) -> Task:
    """The task, if this identity may take it up now, at `resource`. Raises: Denied."""
    task = policy.tasks.get(task_name)
    # Whoever may not take it up does not learn whether it is there.
    if task is None or not may_take_up(task, identity):
        raise Denied(
            f"there is no task {task_name} that {identity.key} may take up",
            rule="for",
            hint="taskgate tasks lists those you may take up",
        )
    if resource is not None and resource not in task.resources:
        raise Denied(
            f"task {task_name} does not reach the resource {resource}",
            rule=f"{task_name}/resources",
            hint=f"it reaches {', '.join(task.resources)}",
        )
    _ensure_open(task, now)
    ensure_sign_in(task, identity, now)
    return task


def ensure_may_break_glass(task: Task, identity: Identity) -> BreakGlassRule:
    """What the task says of breaking glass. Raises: Denied for everyone it does not name; they do
    not learn whether it says anything."""
    rule = task.break_glass
    person = identity.kind is IdentityKind.HUMAN and identity.acts_for is None
    if rule is None or not person or why_not_member(rule.members, identity):
        raise Denied(
            f"there is no task {task.name} for which {identity.key} may break glass",
            rule="break_glass",
            hint="break_glass in a task's file says who may",
        )
    return rule


def ensure_sign_in(task: Task, identity: Identity, now: float) -> None:
    """That the caller's sign-in, or that of whoever is behind them, is as the task asks.

    Raises: StepUpNeeded.
    """
    missing = sign_in_unmet(task, identity, now)
    if task.sign_in is None or not missing:
        return
    raise StepUpNeeded(
        f"task {task.name} needs {' and '.join(missing)}",
        task.sign_in,
        rule=f"{task.name}/sign_in",
        hint=_step_up_hint(task, identity),
    )


def _step_up_hint(task: Task, identity: Identity) -> str:
    if identity.principal.kind is not IdentityKind.HUMAN:
        return "this task is for people who sign in themselves"
    if identity.acts_for is not None:
        return f"{identity.principal.key}, for whom you act, must sign in again and grant it anew"
    return f'sign in again, more strongly: taskgate request {task.name} --reason "..."'


def checked_reason(reason: str) -> str:
    """The reason on one line. Raises: BadConfig."""
    stated = " ".join(reason.split())
    if not stated:
        raise BadConfig("a reason is needed", hint='say why: --reason "..."')
    if len(stated) > limits.MAX_REASON_CHARS:
        raise BadConfig(f"the reason is longer than {limits.MAX_REASON_CHARS} characters")
    if not stated.isprintable():
        raise BadConfig("the reason holds control characters")
    return stated


def _ensure_open(task: Task, now: float) -> None:
    if not open_at(task, now):
        raise Denied(
            closed_reason(task, now),
            rule=f"{task.name}/hours",
            hint="come back within its hours",
        )
