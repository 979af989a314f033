"""Leaving, and where access is in use: nobody has to hunt."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Query

from taskgate.api.caller import CallerHere, PartsHere, may, need
from taskgate.api.keys import key_in
from taskgate.api.people_shapes import (
    DormantShown,
    HygieneShown,
    IdlePersonShown,
    NewPlaceShown,
    OffboardAsked,
    OffboardedShown,
    OverdueReviewShown,
    PlaceShown,
    UnusedTaskShown,
    UseAsked,
    UseShown,
)
from taskgate.gateway.leaving import Offboarded
from taskgate.gateway.parts import Parts
from taskgate.gateway.use_map import Hygiene
from taskgate.model.errors import BadConfig, Denied, NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity, same_person
from taskgate.model.usage import Place, UseSelector
from taskgate.policy.rules import Right

router = APIRouter()
# Who may see where others come from.
_SEERS = (Right.AUDIT, Right.OFFBOARD, Right.ADMINISTER)
KeyInPath = Annotated[str, Path(min_length=1, max_length=1_500)]


@router.post("/people/{key}/offboard")
async def offboard(
    key: KeyInPath, asked: OffboardAsked, caller: CallerHere, parts: PartsHere
) -> OffboardedShown:
    """Ends everything somebody has, now and everywhere, bars them, and says where it was in use.
    Needs the right to offboard."""
    need(parts.policies.current, caller.identity, Right.OFFBOARD)
    why = _stated(asked.why)
    keys = await parts.people.leaving.keys_of(key_in(key))
    if {same_person(key) for key in keys} & {same_person(k) for k in caller.identity.keys}:
        raise Denied("nobody offboards themselves", rule="roles", hint="somebody else must")
    done = await parts.people.leaving.offboard(keys, why, caller.identity, "api")
    return _offboarded(done)


@router.post("/people/{key}/reinstate", status_code=204)
async def reinstate(
    key: KeyInPath, asked: OffboardAsked, caller: CallerHere, parts: PartsHere
) -> None:
    """Lets somebody in again; nothing that ended comes back. Needs the right to offboard."""
    need(parts.policies.current, caller.identity, Right.OFFBOARD)
    why = _stated(asked.why)
    keys = await parts.people.leaving.keys_of(key_in(key))
    if not await parts.people.leaving.reinstate(keys, why, caller.identity):
        raise NotFound(f"{', '.join(sorted(keys))} has not been offboarded")


@router.post("/where-used")
async def where_used(asked: UseAsked, caller: CallerHere, parts: PartsHere) -> UseShown:
    """The map of use of a person, a task, or a grant and what was derived from it. One's own
    always; others' with the right to audit, offboard or administer. Recorded."""
    policy, identity = parts.policies.current, caller.identity
    if asked.what.strip() in (identity.subject, identity.key) and asked.what not in policy.tasks:
        selectors = [UseSelector(person=identity.key)]
    else:
        selectors = await _meant(parts, identity, asked.what)
    subject = ", ".join(one.person or one.task or one.grant_id or "" for one in selectors)
    await parts.records.log(EventKind.USE_MAPPED, identity, {"object": subject})
    places = await parts.people.use_map.places(selectors)
    return UseShown(subject=subject, places=[place_shown(place) for place in places])


@router.get("/hygiene")
async def hygiene(
    caller: CallerHere,
    parts: PartsHere,
    days: Annotated[float, Query(gt=0, le=3660, allow_inf_nan=False)] = 30.0,
) -> HygieneShown:
    """What nobody has used for `days`, and what is new since. Needs the right to audit, offboard
    or administer. Recorded."""
    need(parts.policies.current, caller.identity, *_SEERS)
    await parts.records.log(EventKind.HYGIENE_LISTED, caller.identity, {"days": days})
    found = await parts.people.use_map.hygiene(days * 86400)
    return _hygiene(found, days, await _overdue(parts))


async def _meant(parts: Parts, identity: Identity, what: str) -> list[UseSelector]:
    """One selector, or one for each spelling of a person's name that has come in.

    Raises: Denied; NotFound for somebody else's grant, as for one that is not there.
    """
    if may(parts.policies.current, identity, *_SEERS):
        selector = await parts.people.use_map.selector_of(what)
        if selector.person is not None:
            keys = await parts.people.leaving.keys_of(selector.person)
            return [UseSelector(person=key) for key in sorted(keys)]
        return [selector]
    if what.startswith(("g-", "tg_")):
        with suppress(NotFound):
            selector = await parts.people.use_map.selector_of(what)
            grant = await parts.people.grants.get(selector.grant_id or "")
            if grant is not None and identity.key in grant.identity.keys:
                return [selector]
        raise NotFound("you hold no such grant or token", hint="taskgate grants lists yours")
    need(parts.policies.current, identity, *_SEERS)
    raise Denied("this needs the right to audit", rule="roles")


def _stated(why: str) -> str:
    stated = " ".join(why.split())
    if not stated or not stated.isprintable():
        raise BadConfig("a reason is needed, without control characters")
    return stated


def place_shown(place: Place) -> PlaceShown:
    return PlaceShown(
        who=place.identity,
        acts_for=list(place.acts_for),
        source=place.source,
        application=place.application,
        way=place.way,
        task=place.task,
        resource=place.resource,
        host=place.host,
        claims=dict(place.claims),
        times=place.times,
        requests=place.requests,
        live=place.live,
        first_at=place.first_at,
        last_at=place.last_at,
        grants=list(place.grants),
    )


def _offboarded(done: Offboarded) -> OffboardedShown:
    ended = done.ended
    return OffboardedShown(
        people=list(done.people),
        grants=sorted({one.grant_id for one in ended.revocations}),
        sign_ins=ended.logins,
        users=list(ended.users),
        sessions=list(ended.sessions),
        approvals_cancelled=list(ended.approvals),
        approvals_withdrawn=list(ended.withdrawn),
        standing_ended=list(ended.standing),
        places=[place_shown(place) for place in done.places],
        also_seen=list(done.also_seen),
    )


async def _overdue(parts: Parts) -> list[OverdueReviewShown]:
    now = parts.clock.now()
    return [
        OverdueReviewShown(
            id=one.id,
            who=one.identity.key,
            task=one.task,
            used_at=one.used_at or one.asked_at,
            due_at=one.review_due_at or now,
        )
        for one in await parts.people.break_glasses.list()
        if one.overdue(now)
    ]


def _hygiene(found: Hygiene, days: float, overdue: list[OverdueReviewShown]) -> HygieneShown:
    return HygieneShown(
        days=days,
        overdue_reviews=overdue,
        dormant_grants=[
            DormantShown(
                grant_id=one.grant_id,
                who=one.identity,
                task=one.task,
                reason=one.reason,
                issued_at=one.issued_at,
                expires_at=one.expires_at,
                last_used_at=one.last_used_at,
            )
            for one in found.dormant
        ],
        unused_tasks=[
            UnusedTaskShown(task=task, last_used_at=at) for task, at in found.unused_tasks
        ],
        new_places=[
            NewPlaceShown(
                grant_id=one.grant_id,
                who=one.identity,
                task=one.task,
                source=one.source,
                first_at=one.first_at,
                seen_before=list(one.seen_before),
            )
            for one in found.new_places
        ],
        idle_people=[
            IdlePersonShown(who=one.person, origin=one.origin, since=one.since, last_at=one.last_at)
            for one in found.idle_people
        ],
    )
