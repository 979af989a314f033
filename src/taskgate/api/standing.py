"""Approvals given in advance: seen and taken back by those whom they concern."""

from __future__ import annotations

from fastapi import APIRouter, Response

from taskgate.api.approvals import concerns, is_own, may_vote
from taskgate.api.caller import CallerHere, PartsHere, may
from taskgate.api.shapes import StandingApprovalShown
from taskgate.gateway.parts import Parts
from taskgate.model.approval import Approval, StandingApproval
from taskgate.model.errors import NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.policy.rules import Right

router = APIRouter(prefix="/standing")
LISTED = 500


@router.get("")
async def standing(caller: CallerHere, parts: PartsHere) -> list[StandingApprovalShown]:
    """What still counts of agreements in advance: for the holder, those who may approve, and
    auditors."""
    return [
        StandingApprovalShown(
            id=one.id,
            approval_id=one.approval_id,
            grant_id=one.grant_id,
            who=approval.requester_key,
            task=approval.task,
            resource=one.resource,
            text=approval.text,
            rule=one.rule,
            uses_left=one.uses_left,
            expires_at=one.expires_at,
        )
        for one, approval in await _found(parts, caller.identity)
    ]


@router.post("/{standing_id}/end", status_code=204)
async def end(standing_id: str, caller: CallerHere, parts: PartsHere) -> Response:
    """Takes an agreement back: whoever may approve, its holder, and whoever may revoke."""
    identity = caller.identity
    for one, approval in await _found(parts, identity, everything=True):
        if one.id == standing_id and (
            may_vote(approval, identity)
            or is_own(approval, identity)
            or may(parts.policies.current, identity, Right.REVOKE, task=approval.task)
        ):
            facts = {
                "approval": approval.id,
                "outcome": "cancelled",
                "reason": "the standing approval was taken back",
                "task": approval.task,
                "resource": one.resource,
            }
            try:
                await parts.records.log(EventKind.APPROVAL_VOTED, identity, facts)
            finally:
                # Taking rights away never waits for anything.
                await parts.holds.end_standing(standing_id)
            return Response(status_code=204)
    raise NotFound(
        f"there is no standing approval {standing_id} that you may end",
        hint="taskgate approvals --standing lists yours",
    )


async def _found(
    parts: Parts, identity: Identity, *, everything: bool = False
) -> list[tuple[StandingApproval, Approval]]:
    found = []
    for one in await parts.holds.list_standing(LISTED):
        approval = await parts.holds.get(one.approval_id)
        if everything or concerns(parts, approval, identity):
            found.append((one, approval))
    return found
