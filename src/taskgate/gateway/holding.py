"""A held request, from the question to the answer: asked, told to the client, recorded, spent."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.hold import Hold, refusal
from taskgate.gateway.holds import Holds
from taskgate.model.action import Request
from taskgate.model.approval import Approval, ApprovalState
from taskgate.model.clock import Clock
from taskgate.model.decision import Decision
from taskgate.model.errors import TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.limits import HOLD_NOTICE_EVERY_S


class HoldingSession(Protocol):
    """What a hold needs of the session it is in."""

    @property
    def gate(self) -> TaskGate: ...

    def tell(self, message: str, hint: str = "") -> None:
        """Says something to the client while it waits, in its protocol's own form."""
        ...


_ENDS = {
    ApprovalState.APPROVED: EventKind.HOLD_APPROVED,
    ApprovalState.DENIED: EventKind.HOLD_DENIED,
    ApprovalState.EXPIRED: EventKind.HOLD_EXPIRED,
    ApprovalState.CANCELLED: EventKind.HOLD_CANCELLED,
    ApprovalState.WAITING: EventKind.HOLD_CANCELLED,
}


class Holding:
    """`link` makes the address where an approval can be decided, from its id."""

    def __init__(self, holds: Holds, clock: Clock, link: Callable[[str], str]) -> None:
        self._holds = holds
        self._clock = clock
        self._link = link

    async def run(
        self, session: HoldingSession, number: int, request: Request, decision: Decision
    ) -> TaskgateError | None:
        """Waits for people; None for approved (and spent, for this one run), else the refusal.

        Cancelling the task that runs this withdraws the question.
        """
        gate = session.gate
        try:
            standing = await self._holds.use_standing(request, decision, gate.info, gate.grant)
            if standing is not None:
                given = await self._holds.get(standing.approval_id)
                facts = {
                    "request": number,
                    "approval": standing.approval_id,
                    "approved_by": [vote.subject_key for vote in given.votes if vote.approve],
                    "standing": standing.id,
                    "uses_left": standing.uses_left,
                }
                self._record(gate, EventKind.HOLD_APPROVED, facts)
                return None
            hold = await self._holds.ask(request, decision, gate.info, gate.grant)
        except TaskgateError as error:
            self._record(
                gate, EventKind.HOLD_CANCELLED, {"request": number, "reason": error.message}
            )
            return error
        try:
            return await self._wait(session, number, hold, decision)
        except asyncio.CancelledError as cancelled:
            why = str(cancelled.args[0]) if cancelled.args else "the session gave it up"
            hold.cancel(why)
            facts = {"request": number, "approval": hold.approval.id, "reason": why}
            self._record_late(gate, EventKind.HOLD_CANCELLED, facts)
            raise

    async def _wait(
        self, session: HoldingSession, number: int, hold: Hold, decision: Decision
    ) -> TaskgateError | None:
        asked = hold.approval
        outcome = asyncio.ensure_future(hold.outcome())
        try:
            while not outcome.done():
                self._tell(session, asked, decision)
                await asyncio.wait({outcome}, timeout=HOLD_NOTICE_EVERY_S)
        except asyncio.CancelledError as cancelled:
            outcome.cancel(*cancelled.args)
            raise
        closed = outcome.result()
        error = refusal(closed)
        if error is None:
            try:
                await hold.take(asked.digest, asked.policy_version)
            except TaskgateError as spent:
                error = spent
        facts = {
            "request": number,
            "approval": asked.id,
            "approved_by": [vote.subject_key for vote in closed.votes if vote.approve],
            "denied_by": [vote.subject_key for vote in closed.votes if not vote.approve],
            "reason": closed.closed_why if error is None else error.message,
        }
        kind = _ENDS[closed.state] if error is None or refusal(closed) else EventKind.HOLD_CANCELLED
        self._record(session.gate, kind, facts)
        return error

    def _tell(self, session: HoldingSession, asked: Approval, decision: Decision) -> None:
        left_s = max(0.0, asked.expires_at - self._clock.now())
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        session.tell(
            f"held for approval {asked.id}: {decision.reason}",
            f"{decision.hint}. To decide: {self._link(asked.id)} or taskgate approve {asked.id}. "
            f"It waits {left} more; Ctrl-C gives it up.",
        )

    def _record(self, gate: TaskGate, kind: EventKind, facts: dict[str, object]) -> None:
        gate.note(kind, facts)

    def _record_late(self, gate: TaskGate, kind: EventKind, facts: dict[str, object]) -> None:
        """The session may have ended, and its recording been sealed, while this was cancelled."""
        if gate.recording.sealed is None and not gate.recording.failed:
            self._record(gate, kind, facts)
