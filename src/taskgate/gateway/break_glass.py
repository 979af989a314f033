"""Breaking glass: asked with a reason, agreed to by a second person where the task wants one, used
once, and open until somebody else has reviewed it.

Each step is recorded before it happens, and sounds an alert.
"""

from __future__ import annotations

from dataclasses import replace

from taskgate.gateway.alerts import Alerts
from taskgate.gateway.records import Records
from taskgate.gateway.voting import ensure_may_vote, stated
from taskgate.identity.grants import (
    Grants,
    Issued,
    PolicySource,
    checked_reason,
    ensure_may_break_glass,
    ensure_sign_in,
)
from taskgate.model import limits
from taskgate.model.approval import Vote
from taskgate.model.break_glass import BreakGlass, BreakGlassState
from taskgate.model.break_glass_ports import BreakGlassStore
from taskgate.model.clock import Clock
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import Conflict, Denied, NotAuthenticated, NotFound
from taskgate.model.event import EventKind
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.policy.people import votes_meet

# Without a second person, the grant is collected in the same breath.
_COLLECT_S = 60.0
LISTED = 1_000


class BreakGlasses:
    """All uses of it. Who may see one is for the caller to judge."""

    def __init__(
        self,
        store: BreakGlassStore,
        grants: Grants,
        policy: PolicySource,
        records: Records,
        alerts: Alerts,
        clock: Clock,
    ) -> None:
        self._store = store
        self._grants = grants
        self._policy = policy
        self._records = records
        self._alerts = alerts
        self._clock = clock

    async def ask(
        self,
        identity: Identity,
        task_name: str,
        reason: str,
        *,
        resource: str | None = None,
        lasts_s: float | None = None,
    ) -> BreakGlass:
        """A request to take a task up by breaking glass: READY, or WAITING for a second person.

        Raises: Denied (who, too long, resource), BadConfig (no reason), Conflict (too many open),
        NotAuthenticated if the person was cut off; NotRecorded, StoreUnavailable.
        """
        reason = checked_reason(reason)
        identity = await self._grants.as_listed(identity)
        task = self._policy.current.tasks.get(task_name)
        if task is None:
            raise Denied(
                f"there is no task {task_name} for which {identity.key} may break glass",
                rule="break_glass",
                hint="break_glass in a task's file says who may",
            )
        rule = ensure_may_break_glass(task, identity)
        if resource is not None and resource not in task.resources:
            raise Denied(
                f"task {task_name} does not reach the resource {resource}",
                rule=f"{task_name}/resources",
                hint=f"it reaches {', '.join(task.resources)}",
            )
        asked_s = rule.lasts_s if lasts_s is None else lasts_s
        if not 0 < asked_s <= rule.lasts_s:
            raise Denied(
                f"task {task_name} cannot be taken up by break-glass for {asked_s:g} s",
                rule=f"{task_name}/break_glass",
                hint=f"ask for {rule.lasts_s:g} s at most",
            )
        now = self._clock.now()
        ensure_sign_in(task, identity, now)
        one = BreakGlass(
            id=new_id("bg"),
            identity=identity,
            task=task_name,
            reason=reason,
            resources=(resource,) if resource is not None else task.resources,
            lasts_s=asked_s,
            asked_at=now,
            expires_at=now + (_COLLECT_S if rule.second is None else rule.second.within_s),
            second=rule.second,
            review=rule.review,
            state=BreakGlassState.READY if rule.second is None else BreakGlassState.WAITING,
        )
        await self._records.log(EventKind.BREAK_GLASS_ASKED, identity, _facts(one))
        if not await self._store.add(one, limits.MAX_BREAK_GLASS_PER_PERSON):
            raise NotAuthenticated(
                "the sign-in behind this request has ended", hint="sign in again: taskgate login"
            )
        if one.state is BreakGlassState.WAITING:
            await self._sound("break_glass.asked", one, "asks to break glass for")
        return one

    async def vote(
        self, break_glass_id: str, identity: Identity, *, approve: bool, reason: str
    ) -> BreakGlass:
        """The second person's word. Raises: NotFound, Denied, Conflict, BadConfig, NotRecorded."""
        one = await self.get(break_glass_id)
        ensure_may_vote(one, identity)
        vote = Vote(
            identity.key, approve, stated(reason, approve=approve), self._clock.now(),
            identity.groups,
        )  # fmt: skip
        facts = _facts(one) | {
            "outcome": "approved" if approve else "refused",
            "vote_reason": vote.reason,
        }
        await self._records.log(EventKind.BREAK_GLASS_VOTED, identity, facts)
        return await self._store.vote(one.id, vote, _settle, identity.authenticated_at)

    async def collect(self, identity: Identity, break_glass_id: str) -> tuple[BreakGlass, Issued]:
        """The grant, once: for whoever asked, who must still be one whom the task names.

        Raises: NotFound for everyone else; Conflict where it waits, or is over; Denied,
        NotRecorded, NotAuthenticated, StoreUnavailable.
        """
        one = await self.get(break_glass_id)
        if one.identity.key != identity.key:
            raise _unknown(break_glass_id)
        if one.state is not BreakGlassState.READY:
            raise Conflict(
                f"{one.id} is {one.state.value}",
                hint="taskgate reviews --mine shows yours",
            )
        identity = await self._grants.as_listed(identity)
        task = self._policy.current.tasks.get(one.task)
        if task is None or not set(one.resources) <= set(task.resources):
            raise Denied(f"task {one.task} is not as it was", rule=one.rule)
        rule = ensure_may_break_glass(task, identity)
        now = self._clock.now()
        ensure_sign_in(task, identity, now)
        grant = Grant(
            id=new_id("g"),
            identity=identity,
            task=one.task,
            reason=one.reason,
            resources=one.resources,
            not_before=now,
            expires_at=now + min(one.lasts_s, rule.lasts_s),
            break_glass=one.id,
        )
        facts = _facts(one) | {"grant": grant.id, "expires_at": grant.expires_at}
        await self._records.log(EventKind.BREAK_GLASS_USED, identity, facts)
        # The review is open before there is anything to review: no crash leaves a grant without.
        due_at = now + one.review.within_s
        if not await self._store.take(one.id, grant.id, now, due_at):
            raise Conflict(f"{one.id} was collected already, or is over")
        await self._sound("break_glass.used", one, "has broken glass for")
        issued = await self._grants.give(grant)
        after = replace(
            one,
            state=BreakGlassState.USED,
            grant_id=grant.id,
            used_at=now,
            review_due_at=due_at,
        )
        return after, issued

    async def review(self, break_glass_id: str, identity: Identity, note: str) -> BreakGlass:
        """Closes the review.

        Raises: NotFound, Denied, Conflict, BadConfig (no note), NotRecorded, StoreUnavailable.
        """
        one = await self.get(break_glass_id)
        ensure_may_review(one, identity)
        tidy = stated(note, approve=False)
        if not one.review_open:
            raise Conflict(f"{one.id} has no open review")
        facts = _facts(one) | {"grant": one.grant_id, "note": tidy}
        await self._records.log(EventKind.BREAK_GLASS_REVIEWED, identity, facts)
        now = self._clock.now()
        if not await self._store.close_review(one.id, identity.key, tidy, now):
            raise Conflict(f"the review of {one.id} was closed meanwhile")
        return replace(one, reviewed_at=now, reviewed_by=identity.key, note=tidy)

    async def get(self, break_glass_id: str) -> BreakGlass:
        """Raises: NotFound, StoreUnavailable."""
        found = await self._store.get(break_glass_id)
        if found is None:
            raise _unknown(break_glass_id)
        return found

    async def list(self, *, settled: bool = False) -> tuple[BreakGlass, ...]:
        """Newest first; without `settled` those that wait for something. Raises:
        StoreUnavailable."""
        now = self._clock.now()
        found = await self._store.find(settled=settled, limit=LISTED)
        return tuple(
            one
            for one in found
            if settled or one.state is BreakGlassState.USED or one.expires_at > now
        )

    async def look(self) -> tuple[int, int]:
        """Buries what was not agreed to in time, sounds an alert for each overdue review, and
        counts open and overdue ones. Raises: StoreUnavailable, NotRecorded."""
        now = self._clock.now()
        await self._store.expire(now)
        reviews = [one for one in await self.list() if one.review_open]
        overdue = [one for one in reviews if one.overdue(now)]
        for one in overdue:
            await self._sound("review.overdue", one, "broke glass, and nobody has reviewed it:")
        return len(reviews), len(overdue)

    async def _sound(self, kind: str, one: BreakGlass, what: str) -> None:
        who = one.identity.key
        await self._alerts.sound(
            kind,
            f"{who} {what} {one.task}: {one.reason}",
            person=who,
            task=one.task,
            subject=one.id,
            once=True,
        )


def ensure_may_review(one: BreakGlass, identity: Identity) -> None:
    """Raises: Denied. Nobody reviews what they did themselves, and people review."""
    ensure_may_vote(_Reviewed(one), identity)


class _Reviewed:
    """A use of break-glass as something to be voted on."""

    def __init__(self, one: BreakGlass) -> None:
        self.requester_keys = one.requester_keys
        self.rule = f"{one.rule}/review"
        self.demands: tuple[ApprovalDemand, ...] = (one.review,)


def _settle(one: BreakGlass) -> BreakGlassState:
    """What becomes of it with the votes that there are. Pure."""
    if not one.votes[-1].approve:
        return BreakGlassState.DENIED
    met = votes_meet(one.demands, one.votes, one.requester_keys)
    return BreakGlassState.READY if met else BreakGlassState.WAITING


def _facts(one: BreakGlass) -> dict[str, object]:
    return {
        "break_glass": one.id,
        "task": one.task,
        "resources": list(one.resources),
        "reason": one.reason,
        "requester": one.identity.key,
        "rule": one.rule,
    }


def _unknown(break_glass_id: str) -> NotFound:
    return NotFound(
        f"there is no break-glass request {break_glass_id} for you",
        hint="taskgate reviews lists them",
    )
