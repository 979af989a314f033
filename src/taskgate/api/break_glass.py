"""Break-glass: asked, agreed to, collected, reviewed; and the alerts that it sounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query

from taskgate.api.access import connections_of, grant_shown
from taskgate.api.break_glass_shapes import (
    AlertShown,
    BreakGlassAsked,
    BreakGlassGiven,
    BreakGlassShown,
    ReviewAsked,
    VoteAsked,
)
from taskgate.api.caller import CallerHere, PartsHere, may
from taskgate.api.shapes import DemandShown, GrantIssued, VoteShown
from taskgate.gateway.break_glass import ensure_may_review
from taskgate.gateway.parts import Parts
from taskgate.gateway.voting import ensure_may_vote
from taskgate.model.break_glass import BreakGlass, BreakGlassState
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import Denied, NotFound
from taskgate.model.identity import Identity
from taskgate.policy.rules import Right

router = APIRouter()
LISTED = 1_000
IdInPath = Annotated[str, Path(min_length=1, max_length=100)]


@router.post("/break-glass", status_code=201)
async def ask(asked: BreakGlassAsked, caller: CallerHere, parts: PartsHere) -> BreakGlassGiven:
    """Takes a task up outside its members and hours, where it says that the caller may. Without a
    second person the grant comes at once; else it is collected once they have agreed."""
    one = await parts.people.break_glasses.ask(
        caller.identity,
        asked.task,
        asked.reason,
        resource=asked.resource,
        lasts_s=asked.lasts_s,
    )
    if one.state is BreakGlassState.READY:
        return await given(parts, caller.identity, one.id)
    return BreakGlassGiven(request=shown(parts, caller.identity, one))


@router.post("/break-glass/{break_glass_id}/collect", status_code=201)
async def collect(
    break_glass_id: IdInPath, caller: CallerHere, parts: PartsHere
) -> BreakGlassGiven:
    """The grant that was asked for, once, if it was agreed to; without it, while it waits."""
    one = await seen(parts, caller.identity, break_glass_id)
    if one.state is BreakGlassState.WAITING and _mine(one, caller.identity):
        return BreakGlassGiven(request=shown(parts, caller.identity, one))
    return await given(parts, caller.identity, break_glass_id)


@router.post("/break-glass/{break_glass_id}/approve")
async def approve(
    break_glass_id: IdInPath, asked: VoteAsked, caller: CallerHere, parts: PartsHere
) -> BreakGlassShown:
    """The second person's agreement."""
    return await voted(parts, caller.identity, break_glass_id, True, asked.reason)


@router.post("/break-glass/{break_glass_id}/deny")
async def deny(
    break_glass_id: IdInPath, asked: VoteAsked, caller: CallerHere, parts: PartsHere
) -> BreakGlassShown:
    """The second person's refusal."""
    return await voted(parts, caller.identity, break_glass_id, False, asked.reason)


@router.get("/reviews")
async def reviews(
    caller: CallerHere,
    parts: PartsHere,
    everything: Annotated[bool, Query(alias="all")] = False,
) -> list[BreakGlassShown]:
    """Uses of break-glass that concern the caller and wait for something: consent, or a review.
    With `all`, those that are settled too. Newest first."""
    return await reviews_of(parts, caller.identity, settled=everything)


@router.get("/reviews/{break_glass_id}")
async def review_of(
    break_glass_id: IdInPath, caller: CallerHere, parts: PartsHere
) -> BreakGlassShown:
    """One of them."""
    return shown(parts, caller.identity, await seen(parts, caller.identity, break_glass_id))


@router.post("/reviews/{break_glass_id}")
async def review(
    break_glass_id: IdInPath, asked: ReviewAsked, caller: CallerHere, parts: PartsHere
) -> BreakGlassShown:
    """Closes a review with a note: one of those whom the task names, never whoever broke the
    glass."""
    await seen(parts, caller.identity, break_glass_id)
    done = await parts.people.break_glasses.review(break_glass_id, caller.identity, asked.note)
    return shown(parts, caller.identity, done)


@router.get("/alerts")
async def alerts(caller: CallerHere, parts: PartsHere) -> list[AlertShown]:
    """What was loud in the last 30 days: everything with the right to audit, administer or
    offboard; what concerns their tasks or reviews for everyone else. Newest first."""
    return await alerts_of(parts, caller.identity)


async def given(parts: Parts, identity: Identity, break_glass_id: str) -> BreakGlassGiven:
    """Collects the grant. Raises: as `BreakGlasses.collect`."""
    one, issued = await parts.people.break_glasses.collect(identity, break_glass_id)
    connections, ca_pem = connections_of(parts, issued.grant)
    return BreakGlassGiven(
        request=shown(parts, identity, one),
        issued=GrantIssued(
            grant=grant_shown(issued.grant, parts.clock.now()),
            token=issued.token,
            connections=connections,
            ca_pem=ca_pem,
        ),
    )


async def voted(
    parts: Parts, identity: Identity, break_glass_id: str, agrees: bool, reason: str
) -> BreakGlassShown:
    """Raises: NotFound where the caller may not even see it; as `BreakGlasses.vote`."""
    await seen(parts, identity, break_glass_id)
    after = await parts.people.break_glasses.vote(
        break_glass_id, identity, approve=agrees, reason=reason
    )
    return shown(parts, identity, after)


async def reviews_of(parts: Parts, identity: Identity, *, settled: bool) -> list[BreakGlassShown]:
    """Those that this person may see."""
    found = await parts.people.break_glasses.list(settled=settled)
    return [shown(parts, identity, one) for one in found if concerns(parts, one, identity)]


async def alerts_of(parts: Parts, identity: Identity) -> list[AlertShown]:
    """Those that this person may see."""
    policy = parts.policies.current
    everything = may(policy, identity, Right.AUDIT, Right.ADMINISTER, Right.OFFBOARD)
    found = await parts.alerts.recent(LISTED)
    own: set[str] = set()
    if not everything:
        uses = await parts.people.break_glasses.list(settled=True)
        own = {one.id for one in uses if concerns(parts, one, identity)}
    return [
        AlertShown(
            id=one.id,
            at=one.at,
            kind=one.kind,
            who=one.person,
            task=one.task,
            subject=one.subject,
            text=one.text,
        )
        for one in found
        if everything or one.subject in own
    ]


async def seen(parts: Parts, identity: Identity, break_glass_id: str) -> BreakGlass:
    """Raises: NotFound, for what is not there as for what is not theirs to see."""
    try:
        one = await parts.people.break_glasses.get(break_glass_id)
    except NotFound:
        one = None
    if one is None or not concerns(parts, one, identity):
        raise NotFound(
            f"there is no break-glass request {break_glass_id} for you",
            hint="taskgate reviews lists them",
        )
    return one


def concerns(parts: Parts, one: BreakGlass, identity: Identity) -> bool:
    """Whether they may see it: whoever asked, agrees or reviews, and auditors of the task."""
    return (
        _mine(one, identity)
        or _may(ensure_may_vote, one, identity)
        or _may(ensure_may_review, one, identity)
        or may(parts.policies.current, identity, Right.AUDIT, task=one.task)
    )


def shown(parts: Parts, identity: Identity, one: BreakGlass) -> BreakGlassShown:
    now = parts.clock.now()
    voted_already = any(vote.subject_key == identity.key for vote in one.votes)
    return BreakGlassShown(
        id=one.id,
        state=one.state.value,
        who=one.identity.key,
        task=one.task,
        reason=one.reason,
        resources=list(one.resources),
        lasts_s=one.lasts_s,
        asked_at=one.asked_at,
        expires_at=one.expires_at,
        second=_demand(one.second) if one.second is not None else None,
        review=_demand(one.review),
        votes=[
            VoteShown(who=vote.subject_key, approve=vote.approve, reason=vote.reason, at=vote.at)
            for vote in one.votes
        ],
        grant_id=one.grant_id,
        used_at=one.used_at,
        review_due_at=one.review_due_at,
        review_open=one.review_open,
        overdue=one.overdue(now),
        reviewed_at=one.reviewed_at,
        reviewed_by=one.reviewed_by,
        note=one.note,
        mine=_mine(one, identity),
        may_decide=one.state is BreakGlassState.WAITING
        and not voted_already
        and _may(ensure_may_vote, one, identity),
        may_review=one.review_open and _may(ensure_may_review, one, identity),
    )


def _mine(one: BreakGlass, identity: Identity) -> bool:
    return not one.requester_keys.isdisjoint(identity.keys)


def _may(
    ensure: Callable[[BreakGlass, Identity], None], one: BreakGlass, identity: Identity
) -> bool:
    try:
        ensure(one, identity)
    except Denied:
        return False
    return True


def _demand(demand: ApprovalDemand) -> DemandShown:
    return DemandShown(
        groups=sorted(demand.groups), subjects=sorted(demand.subjects), people=demand.people
    )
