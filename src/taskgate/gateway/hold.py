"""One held request, from its session's side."""

import asyncio
from dataclasses import replace
from typing import Protocol, assert_never

from taskgate.model.approval import Approval, ApprovalState
from taskgate.model.errors import Denied, TaskgateError


class HoldKeeper(Protocol):
    """What a hold asks of `Holds`."""

    def drop(self, hold: "Hold", why: str) -> None: ...

    async def take(self, approval: Approval, digest: str, policy_version: str) -> None: ...


class Hold:
    """A request that waits. `approval` is as it was asked; `outcome()` says how it ended."""

    def __init__(self, approval: Approval, keeper: HoldKeeper) -> None:
        self.approval = approval
        self._keeper = keeper
        self._ended: asyncio.Future[Approval] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        return self._ended.done()

    async def outcome(self) -> Approval:
        """Waits until people have decided, its time is over, or it was cancelled.

        If the waiting task is cancelled (the client gave up, or went away), so is the hold.
        """
        try:
            return await asyncio.shield(self._ended)
        except asyncio.CancelledError as cancelled:
            self.cancel(str(cancelled.args[0]) if cancelled.args else "the session gave it up")
            raise

    def cancel(self, why: str) -> None:
        """Ends the waiting now; the store is told behind it. Nothing once it is over."""
        if not self.over:
            self._keeper.drop(self, why)

    async def take(self, digest: str, policy_version: str) -> None:
        """Spends the approval for what runs now; to be called right before it is sent.

        `digest` and `policy_version` are those of this moment: if what the names resolve to, or
        the policy, has changed since people looked, this is not what they approved.
        Raises: Denied (also for a second use, or once the grant has ended), StoreUnavailable.
        """
        await self._keeper.take(self.approval, digest, policy_version)

    def settle(self, closed: Approval) -> None:
        """Tells the waiting session. The first word counts."""
        if not self._ended.done():
            self._ended.set_result(closed)

    def settle_as(self, state: ApprovalState, at: float, why: str) -> Approval:
        """The same for an end that this node found out itself."""
        closed = replace(self.approval, state=state, closed_at=at, closed_why=why)
        self.settle(closed)
        return closed


def refusal(approval: Approval) -> TaskgateError | None:
    """What the client is told; None for an approved one."""
    match approval.state:
        case ApprovalState.APPROVED:
            return None
        case ApprovalState.DENIED:
            who = next((vote.subject_key for vote in approval.votes if not vote.approve), "someone")
            return Denied(
                f"{who} denied this request: {approval.closed_why}",
                rule=approval.rule,
                hint=f"it was held by {approval.rule}; talk to whoever denied it ({approval.id})",
            )
        case ApprovalState.EXPIRED | ApprovalState.WAITING:
            return Denied(
                "nobody approved this request in time",
                rule=approval.rule,
                hint=f"it was held by {approval.rule}; send it again to ask again",
            )
        case ApprovalState.CANCELLED:
            return Denied(
                f"the held request was cancelled: {approval.closed_why}",
                rule=approval.rule,
                hint="send it again to ask again",
            )
        case _:
            assert_never(approval.state)
