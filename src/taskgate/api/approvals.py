"""Held requests: shown to those who may decide, decided, streamed as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from taskgate.api.caller import CallerHere, PartsHere, may
from taskgate.api.shapes import (
    ApprovalShown,
    ApproveAsked,
    DemandShown,
    DenyAsked,
    StandingShown,
    VoteShown,
)
from taskgate.api.streams import StreamsHere
from taskgate.gateway.parts import Parts
from taskgate.gateway.voting import ensure_may_vote, settle, stated
from taskgate.model.approval import Approval, ApprovalState, StandingOffer, Vote
from taskgate.model.errors import Conflict, Denied, NotFound, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.policy.rules import Right

router = APIRouter(prefix="/approvals")
LISTED = 500


@router.get("")
async def waiting(
    caller: CallerHere, parts: PartsHere, mine: Annotated[bool, Query()] = False
) -> list[ApprovalShown]:
    """What waits for the caller's word, the oldest first; with `mine` the caller's own requests
    instead."""
    found = await waiting_for(parts, caller.identity)
    return [one for one in found if (one.mine if mine else one.may_decide)]


@router.get("/stream")
async def stream(caller: CallerHere, parts: PartsHere, streams: StreamsHere) -> StreamingResponse:
    """Server-sent events: each approval that waits for the caller, and what becomes of it."""
    streams.ensure_room(caller.key)
    told: set[str] = set()

    async def render(approval: Approval) -> str | None:
        if not may_decide(approval, caller.identity) and approval.id not in told:
            return None
        told.add(approval.id)
        if approval.state is not ApprovalState.WAITING:
            told.discard(approval.id)
        return (await shown(parts, caller.identity, approval)).model_dump_json()

    async def events() -> AsyncIterator[bytes]:
        async with streams.changes(caller.key) as queue:
            found = await waiting_for(parts, caller.identity)
            first = [item for item in found if item.may_decide]
            told.update(item.id for item in first)
            async for data in streams.events(
                queue,
                [item.model_dump_json() for item in first],
                render,
                lambda: parts.people.logins.check(caller.token),
            ):
                yield data

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@router.get("/{approval_id}")
async def one(approval_id: str, caller: CallerHere, parts: PartsHere) -> ApprovalShown:
    """One held request, for those who may decide it, who asked it, and auditors."""
    return await look_at(parts, caller.identity, approval_id)


@router.post("/{approval_id}/approve")
async def approve(
    approval_id: str, asked: ApproveAsked, caller: CallerHere, parts: PartsHere
) -> ApprovalShown:
    """The caller's agreement; the request runs once enough people agree."""
    more = None
    if asked.scope == "shape":
        more = StandingOffer(uses=asked.uses or 20, lasts_s=60 * (asked.minutes or 30.0))
    return await decide(
        parts, caller.identity, approval_id, approve=True, reason=asked.reason, more=more,
        digest=asked.digest,
    )  # fmt: skip


@router.post("/{approval_id}/deny")
async def deny(
    approval_id: str, asked: DenyAsked, caller: CallerHere, parts: PartsHere
) -> ApprovalShown:
    """The caller's refusal, which ends the hold."""
    return await decide(
        parts, caller.identity, approval_id, approve=False, reason=asked.reason,
        digest=asked.digest,
    )  # fmt: skip


async def decide(
    parts: Parts,
    identity: Identity,
    approval_id: str,
    *,
    approve: bool,
    reason: str,
    more: StandingOffer | None = None,
    digest: str = "",
) -> ApprovalShown:
    """One vote, recorded before it counts.

    Raises: NotFound where the caller may not even see it, Denied, Conflict, BadConfig,
    NotRecorded.
    """
    approval = await _seen(parts, identity, approval_id)
    ensure_may_vote(approval, identity)
    if digest and digest != approval.digest:
        raise Conflict("this is not the request that you were shown", hint="look at it again")
    if not may_decide(approval, identity):
        raise Conflict(
            f"approval {approval_id} is {approval.state.value}, and not yours to decide any more"
        )
    reason = stated(reason, approve=approve)
    # All that could be wrong with the vote is found before it is recorded as one.
    task = parts.policies.current.tasks.get(approval.task)
    vote = Vote(identity.key, approve, reason, parts.clock.now(), identity.groups, more)
    settle(
        replace(approval, votes=(*approval.votes, vote)),
        vote,
        task.standing if task is not None else None,
    )
    facts = {
        "approval": approval.id,
        "outcome": "approved" if approve else "refused",
        "reason": reason,
        "session": approval.session_id,
        "requester": approval.requester_key,
        "task": approval.task,
        "resource": approval.resource,
        "rule": approval.rule,
        "digest": approval.digest,
        "policy_version": approval.policy_version,
    }
    if more is not None:
        facts["more"] = f"{more.uses} in {more.lasts_s:g} s"
    await parts.records.log(EventKind.APPROVAL_VOTED, identity, facts)
    try:
        after = await parts.holds.vote(
            approval_id, identity, approve=approve, reason=reason, more=more
        )
    except TaskgateError as error:
        # Somebody was first, or the policy changed: the record must not say that it counted.
        lost = {**facts, "outcome": "cancelled", "reason": error.message}
        await parts.records.log(EventKind.APPROVAL_VOTED, identity, lost)
        raise
    return await shown(parts, identity, after)


async def look_at(parts: Parts, identity: Identity, approval_id: str) -> ApprovalShown:
    """Raises: NotFound."""
    return await shown(parts, identity, await _seen(parts, identity, approval_id))


async def waiting_for(parts: Parts, identity: Identity) -> list[ApprovalShown]:
    """What waits and concerns this person: theirs to decide, or their own; the oldest first."""
    found = await parts.holds.list(ApprovalState.WAITING, LISTED)
    return [
        await shown(parts, identity, one)
        for one in reversed(found)
        if may_decide(one, identity) or is_own(one, identity)
    ]


def may_decide(approval: Approval, identity: Identity) -> bool:
    """Whether this person's word on it would count now."""
    if approval.state is not ApprovalState.WAITING or any(
        vote.subject_key == identity.key for vote in approval.votes
    ):
        return False
    return may_vote(approval, identity)


def may_vote(approval: Approval, identity: Identity) -> bool:
    """Whether they are among those who were asked."""
    try:
        ensure_may_vote(approval, identity)
    except Denied:
        return False
    return True


def is_own(approval: Approval, identity: Identity) -> bool:
    """Whether they, or an agent of theirs, asked it."""
    return not approval.requester_keys.isdisjoint(identity.keys)


def concerns(parts: Parts, approval: Approval, identity: Identity) -> bool:
    """Whether they may see it at all."""
    return (
        is_own(approval, identity)
        or may_vote(approval, identity)
        or may(parts.policies.current, identity, Right.AUDIT, task=approval.task)
    )


async def _seen(parts: Parts, identity: Identity, approval_id: str) -> Approval:
    try:
        found = await parts.holds.get(approval_id)
    except NotFound:
        found = None
    if found is None or not concerns(parts, found, identity):
        raise NotFound(
            f"there is no approval {approval_id} for you", hint="taskgate approvals lists yours"
        )
    return found


async def shown(parts: Parts, identity: Identity, approval: Approval) -> ApprovalShown:
    grant = await parts.people.grants.get(approval.grant_id)
    task = parts.policies.current.tasks.get(approval.task)
    standing = task.standing if task is not None else None
    return ApprovalShown(
        id=approval.id,
        state=approval.state.value,
        who=approval.requester_key,
        task=approval.task,
        resource=approval.resource,
        grant_reason=grant.reason if grant is not None else "",
        text=approval.text,
        parameters=list(approval.parameters),
        digest=approval.digest,
        shape=approval.shape,
        rule=approval.rule,
        policy_version=approval.policy_version,
        demands=[
            DemandShown(
                groups=sorted(demand.groups),
                subjects=sorted(demand.subjects),
                people=demand.people,
            )
            for demand in approval.demands
        ],
        votes=[
            VoteShown(who=vote.subject_key, approve=vote.approve, reason=vote.reason, at=vote.at)
            for vote in approval.votes
        ],
        asked_at=approval.asked_at,
        expires_at=approval.expires_at,
        closed_why=approval.closed_why,
        standing=None
        if standing is None
        else StandingShown(uses=standing.uses, minutes=standing.lasts_s / 60),
        mine=is_own(approval, identity),
        may_decide=may_decide(approval, identity),
        url=approval_url(parts.reach.base_url, approval.id),
    )


def approval_url(base_url: str, approval_id: str) -> str:
    """The console's page of one approval."""
    return f"{base_url}/console/approvals/{approval_id}"
