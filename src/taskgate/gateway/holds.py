"""Requests that wait for people: asked, voted on, spent once."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from taskgate.gateway.hold import Hold
from taskgate.gateway.voting import ensure_may_vote, settle, stated
from taskgate.identity.grants import Grants, PolicySource
from taskgate.model import limits
from taskgate.model.action import Request
from taskgate.model.approval import (
    Approval,
    ApprovalState,
    StandingApproval,
    StandingOffer,
    Vote,
)
from taskgate.model.clock import Clock
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import Conflict, Denied, NotFound, OverLimit, StoreUnavailable
from taskgate.model.grant import Grant, SessionInfo
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.model.ports import ApprovalStore

_log = structlog.get_logger(__name__)
MAX_FOUND: Final = 1_000

ChangeListener = Callable[[Approval], None]


class Holds:
    """All holds of this node, and the votes on those of any. Run it inside `watching()`."""

    def __init__(
        self, store: ApprovalStore, grants: Grants, policy: PolicySource, clock: Clock, node: str
    ) -> None:
        self._store = store
        self._grants = grants
        self._policy = policy
        self._clock = clock
        self._node = node
        self._here: dict[str, Hold] = {}
        self._listeners: list[ChangeListener] = []
        # Waiting on any node, as far as listeners were told.
        self._told: set[str] = set()
        # Over, and listeners were told; as many as may still be spoken of.
        self._over: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        grants.on_end(self._grants_ended)

    async def ask(
        self, request: Request, decision: Decision, session: SessionInfo, grant: Grant
    ) -> Hold:
        """Puts a request before the people that the decision demands.

        Raises: OverLimit (too many holds, or too long to be read), Denied (the grant is over),
        StoreUnavailable. ValueError where the decision is no hold, or names nobody.
        """
        if decision.outcome is not Outcome.HOLD or not decision.demands:
            raise ValueError("only a HOLD that says who must agree can be asked")
        self._ensure_room(request, session.id)
        self._grants.ensure(grant)
        now = self._clock.now()
        within_s = min(demand.within_s for demand in decision.demands)
        lasts_s = min(within_s, limits.MAX_HOLD_S, self._grants.remaining_s(grant))
        approval = Approval(
            id=new_id("a"),
            grant_id=grant.id,
            session_id=session.id,
            requester_key=grant.identity.key,
            task=grant.task,
            resource=session.resource,
            text=request.text,
            parameters=request.parameters,
            digest=request.digest,
            shape=request.shape,
            rule=decision.rule,
            policy_version=decision.policy_version,
            demands=decision.demands,
            asked_at=now,
            expires_at=now + lasts_s,
            requester_keys=frozenset(grant.identity.keys),
        )
        hold = Hold(approval, self)
        # Before the store is asked: the caps count what is on its way, and a revocation in
        # between finds the hold.
        self._here[approval.id] = hold
        try:
            kept = await self._store.add(approval, self._node)
        except BaseException:
            # Whether it was kept is unknown (a timeout, a client that went away): take it back.
            hold.cancel("it was given up while it was being asked")
            raise
        if not kept:
            self._here.pop(approval.id, None)
            raise Denied(f"the grant {grant.id} is over", rule="grant")
        if not hold.over:
            self._asked(approval)
        return hold

    async def use_standing(
        self, request: Request, decision: Decision, session: SessionInfo, grant: Grant
    ) -> StandingApproval | None:
        """Spends one use of an approval given in advance for this shape, if there is one; what
        is left of it. Raises: StoreUnavailable."""
        return await self._store.use_standing(
            grant.id,
            session.resource,
            request.shape,
            decision.rule,
            decision.policy_version,
            self._clock.now(),
        )

    async def vote(
        self,
        approval_id: str,
        identity: Identity,
        *,
        approve: bool,
        reason: str = "",
        more: StandingOffer | None = None,
    ) -> Approval:
        """One person's word; the approval after it. A refusal needs a reason, and ends the hold.

        Groups are those of `identity`, now. `more` also agrees to further requests of the shape.
        Raises: NotFound, Denied (may not vote), Conflict (over, or voted already, or the policy
        has changed), BadConfig (reason or `more`), StoreUnavailable.
        """
        asked = await self.get(approval_id)
        policy = self._policy.current
        ensure_may_vote(asked, identity)
        reason = stated(reason, approve=approve)
        if asked.policy_version != policy.version:
            await self._close(asked.id, ApprovalState.CANCELLED, "the policy has changed")
            raise Conflict(
                f"the policy has changed since approval {asked.id} was asked",
                hint="the requester must send the request again",
            )
        vote = Vote(
            subject_key=identity.key,
            approve=approve,
            reason=reason,
            at=self._clock.now(),
            groups=identity.groups,
            more=more if approve else None,
        )
        task = policy.tasks.get(asked.task)
        standing = task.standing if task is not None else None
        after = await self._store.vote(
            approval_id,
            vote,
            lambda approval: settle(approval, vote, standing),
            identity.authenticated_at,
        )
        self._changed(after)
        return after

    async def get(self, approval_id: str) -> Approval:
        """Raises: NotFound, StoreUnavailable."""
        found = await self._store.get(approval_id)
        if found is None:
            raise NotFound(
                f"there is no approval {approval_id}", hint="taskgate approvals lists them"
            )
        return found

    async def list(
        self, state: ApprovalState | None = ApprovalState.WAITING, limit: int = 100
    ) -> tuple[Approval, ...]:
        """Newest first, of all nodes; None means in any state. Raises: StoreUnavailable."""
        now = self._clock.now()
        found = await self._store.find(state, min(limit, MAX_FOUND))
        if state is ApprovalState.WAITING:
            return tuple(one for one in found if one.expires_at > now)
        return found

    async def list_standing(self, limit: int = 100) -> tuple[StandingApproval, ...]:
        """What is agreed to in advance and not used up. Raises: StoreUnavailable."""
        return await self._store.find_standing(self._clock.now(), min(limit, MAX_FOUND))

    async def end_standing(self, standing_id: str) -> None:
        """Takes the agreement back. Raises: NotFound, StoreUnavailable."""
        if not await self._store.end_standing(standing_id, self._clock.now()):
            raise NotFound(f"there is no standing approval {standing_id} that still counts")

    async def look_again(self, approval_ids: Sequence[str]) -> None:
        """Tells sessions and listeners of what was decided about these without a vote.

        Raises: StoreUnavailable.
        """
        for approval_id in approval_ids:
            found = await self._store.get(approval_id)
            if found is not None:
                self._changed(found)

    def on_change(self, listener: ChangeListener) -> Callable[[], None]:
        """`listener(approval)` is called on the loop for each new hold, vote and end, of any
        node. Returns what stops it."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Expires, and follows what other nodes decide, while the block runs.

        What this node left waiting when it last died is cancelled first: its sessions are gone.
        Raises: StoreUnavailable at the start.
        """
        now = self._clock.now()
        await self._store.close_node(self._node, now, "the gateway was stopped")
        self._told = set(await self._store.waiting(limits.MAX_WAITING_HOLDS))
        task = asyncio.create_task(self._watch(), name="watch holds")
        try:
            yield
        finally:
            task.cancel()
            for hold in list(self._here.values()):
                hold.cancel("the gateway is being stopped")
            await asyncio.gather(task, *self._tasks, return_exceptions=True)

    async def poll(self) -> None:
        """One round of what `watching` does. Raises: StoreUnavailable."""
        now = self._clock.now()
        version = self._policy.current.version
        for hold in list(self._here.values()):
            if now >= hold.approval.expires_at:
                # By this node's own clock, even while the store cannot be reached.
                self._settle_here(hold, ApprovalState.EXPIRED, "")
            elif hold.approval.policy_version != version:
                hold.cancel("the policy has changed")
        waiting = set(await self._store.waiting(limits.MAX_WAITING_HOLDS))
        if waiting:
            waiting.difference_update(await self._store.expire(now))
        # One asked while the list was being read is not in it, and not over either.
        over = [id_ for id_ in (*self._here, *self._told) if id_ not in waiting]
        for approval_id in dict.fromkeys(over):
            closed = await self._store.get(approval_id)
            if closed is None or closed.state is ApprovalState.WAITING:
                continue
            self._changed(closed)
        for approval_id in waiting - self._told:
            fresh = await self._store.get(approval_id)
            if fresh is not None and fresh.state is ApprovalState.WAITING:
                self._asked(fresh)

    # What a hold asks of its keeper.

    def drop(self, hold: Hold, why: str) -> None:
        self._settle_here(hold, ApprovalState.CANCELLED, why)
        self._spawn(self._close(hold.approval.id, ApprovalState.CANCELLED, why))

    async def take(self, approval: Approval, digest: str, policy_version: str) -> None:
        if digest == approval.digest and policy_version == approval.policy_version:
            taken = await self._store.take(
                approval.id, approval.session_id, digest, policy_version, self._clock.now()
            )
            if taken:
                return
            raise Denied(
                f"approval {approval.id} is spent, or no longer counts",
                rule=approval.rule,
                hint="send the request again to ask again",
            )
        changed = "the policy" if digest == approval.digest else "what the request would do"
        raise Denied(
            f"{changed} has changed since approval {approval.id} was given",
            rule=approval.rule,
            hint="send the request again to ask again",
        )

    def _ensure_room(self, request: Request, session_id: str) -> None:
        if len(self._here) >= limits.MAX_HOLDS:
            raise OverLimit(
                f"{limits.MAX_HOLDS} requests are waiting for people already",
                hint="try again when some have been decided",
            )
        of_session = sum(one.approval.session_id == session_id for one in self._here.values())
        if of_session >= limits.MAX_HOLDS_PER_SESSION:
            raise OverLimit("this session has a request waiting for people already")
        size = len(request.text.encode("utf-8", "surrogatepass")) + sum(
            len(value.encode("utf-8", "surrogatepass"))
            for value in request.parameters
            if value is not None
        )
        if size > limits.MAX_HELD_BYTES:
            raise OverLimit(
                f"the request needs approval and is {size} bytes long: more than the"
                f" {limits.MAX_HELD_BYTES} that a person is asked to read",
                hint="split it into smaller requests",
            )

    def _grants_ended(self, grant_ids: frozenset[str], why: str) -> None:
        for hold in list(self._here.values()):
            if hold.approval.grant_id in grant_ids:
                hold.cancel(f"the grant has ended: {why}")

    def _settle_here(self, hold: Hold, state: ApprovalState, why: str) -> None:
        closed = hold.settle_as(state, self._clock.now(), why)
        self._here.pop(closed.id, None)

    def _asked(self, approval: Approval) -> None:
        # Asking and polling may both come by; listeners hear of it once, and not after its end.
        if approval.id not in self._told and approval.id not in self._over:
            self._told.add(approval.id)
            self._tell(approval)

    def _changed(self, approval: Approval) -> None:
        """The store's word on an approval: for its session if it is here, and for listeners."""
        if approval.state is not ApprovalState.WAITING:
            hold = self._here.pop(approval.id, None)
            if hold is not None:
                hold.settle(approval)
            self._told.discard(approval.id)
            if approval.id in self._over:
                return
            self._over[approval.id] = None
            if len(self._over) > limits.MAX_WAITING_HOLDS:
                self._over.popitem(last=False)
        self._tell(approval)

    async def _close(self, approval_id: str, state: ApprovalState, why: str) -> None:
        if await self._store.close(approval_id, state, self._clock.now(), why):
            closed = await self._store.get(approval_id)
            if closed is not None:
                self._changed(closed)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(limits.HOLD_POLL_S)
            try:
                await self.poll()
            except StoreUnavailable as error:
                # Who waits goes on waiting; nothing is approved that the store did not say.
                _log.warning("holds.poll_failed", error=error.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except StoreUnavailable as error:
                # The row stays until it expires; nobody can spend it, its session is gone.
                _log.warning("holds.close_failed", error=error.message)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, approval: Approval) -> None:
        for listener in list(self._listeners):
            try:
                listener(approval)
            except Exception:
                # A page that watches must not keep a session from being told.
                _log.exception("holds.listener_failed", approval=approval.id)
