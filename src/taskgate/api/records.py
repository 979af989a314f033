"""Sessions, recordings and the audit: what happened, for those who may know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from taskgate.api.caller import CallerHere, PartsHere, need, need_scope
from taskgate.api.shapes import (
    AuditFound,
    AuditRow,
    EventShown,
    RecordingShown,
    SessionShown,
    TerminateAsked,
    VerifyReport,
)
from taskgate.api.streams import BEAT_S, CHECK_S, StreamsHere
from taskgate.gateway.parts import Parts
from taskgate.model import limits
from taskgate.model.audit import OUTCOMES, AuditEntry, AuditQuery
from taskgate.model.errors import BadConfig, Conflict, NotFound, StoreUnavailable, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity
from taskgate.policy.roles import scope_of
from taskgate.policy.rules import Right
from taskgate.recording.damage import render_report
from taskgate.recording.format import Entry
from taskgate.recording.kept_files import without_content

router = APIRouter()
LISTED = 500
PAGE = 1_000
Text = Annotated[str, Query(max_length=500)]
Moment = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]


@router.get("/sessions")
async def sessions(
    caller: CallerHere,
    parts: PartsHere,
    everyone: Annotated[bool, Query(alias="all")] = False,
    live: bool = False,
) -> list[SessionShown]:
    """The caller's own, newest first; everybody's with the right to audit or administer."""
    return await sessions_of(parts, caller.identity, everyone=everyone, live=live)


async def sessions_of(
    parts: Parts, identity: Identity, *, everyone: bool, live: bool
) -> list[SessionShown]:
    """Raises: Denied."""
    tasks = None
    if everyone:
        tasks = need_scope(parts.policies.current, identity, Right.AUDIT, Right.ADMINISTER).tasks
    found = await parts.sessions.store.find(
        person=None if everyone else identity.key,
        live=True if live else None,
        limit=LISTED,
        tasks=tasks,
    )
    return [_session_shown(info) for info in found]


@router.post("/sessions/{session_id}/terminate", status_code=204)
async def terminate(
    session_id: str, asked: TerminateAsked, caller: CallerHere, parts: PartsHere
) -> Response:
    """Cuts a live session of this node. Needs the right to administer."""
    await end_session(parts, caller.identity, session_id, asked.why)
    return Response(status_code=204)


async def end_session(parts: Parts, identity: Identity, session_id: str, why: str) -> None:
    """Raises: Denied, NotFound, Conflict where another node serves it."""
    need(parts.policies.current, identity, Right.ADMINISTER)
    if not why.isprintable() or not why.strip():
        raise BadConfig("a reason is needed, without control characters")
    info = await parts.sessions.store.get(session_id)
    if info is None or info.ended_at is not None:
        raise NotFound("there is no such live session", hint="list them: taskgate sessions --all")
    facts = {"session": session_id, "holder": info.identity.key, "reason": why}
    try:
        await parts.records.log(EventKind.SESSION_TERMINATED, identity, facts)
    finally:
        # As with a revocation: what ends access is done though it cannot be written down.
        here = parts.sessions.live.terminate(session_id, why)
    if not here:
        raise Conflict(
            "that session is served by another node, or has just ended",
            hint=f"revoking its grant ends it anywhere: taskgate revoke {info.grant_id}",
        )


@router.get("/recordings/{session_id}")
async def recording(
    session_id: str,
    caller: CallerHere,
    parts: PartsHere,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    contents: bool = True,
) -> RecordingShown:
    """A page of a recording's events; without `contents`, those of files are left out. Needs the
    right to replay; the reading is recorded."""
    info = await ensure_replayable(parts, caller.identity, session_id)
    page = await parts.records.events(caller.identity, session_id, after, limit, contents=contents)
    return RecordingShown(
        session=_session_shown(info) if info is not None else None,
        events=[_event_shown(entry) for entry in page.entries],
        next=page.entries[-1].number if page.more else None,
    )


@router.get("/recordings/{session_id}/stream")
async def watch(
    session_id: str,
    caller: CallerHere,
    parts: PartsHere,
    streams: StreamsHere,
    after: Annotated[int, Query(ge=0)] = 0,
    contents: bool = True,
) -> StreamingResponse:
    """Server-sent events: a recording's events, and those of a live session as they come, until it
    ends; without `contents`, those of files are left out. Needs the right to replay, all the time;
    that it is watched is recorded."""
    await ensure_replayable(parts, caller.identity, session_id)
    streams.ensure_room(caller.key)
    checked = monotonic()

    async def go_on() -> bool:
        nonlocal checked
        if streams.closing:
            return False
        if monotonic() - checked >= CHECK_S:
            checked = monotonic()
            try:
                await parts.people.logins.check(caller.token)
                await ensure_replayable(parts, caller.identity, session_id)
            except TaskgateError:
                return False
        return True

    followed = parts.records.follow(caller.identity, session_id, after, go_on)
    # What goes wrong at first is answered as such.
    first: list[Entry] = await anext(followed, [])

    async def events() -> AsyncIterator[bytes]:
        beat = monotonic()
        with streams.room(caller.key):
            async with aclosing(followed):
                yield told(first, contents=contents)
                async for entries in followed:
                    if entries or monotonic() - beat >= BEAT_S:
                        beat = monotonic()
                        yield told(entries, contents=contents)

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def told(entries: list[Entry], *, contents: bool = True) -> bytes:
    """One server-sent event for each; a comment where there is none, against silent proxies."""
    wanted = entries if contents else map(without_content, entries)
    shown = (_event_shown(entry).model_dump_json() for entry in wanted)
    return "".join(f"event: recorded\ndata: {one}\n\n" for one in shown).encode() or b": live\n\n"


async def ensure_replayable(
    parts: Parts, identity: Identity, session_id: str
) -> SessionInfo | None:
    """Raises: Denied, NotFound where it is not this person's to replay."""
    scope = need_scope(parts.policies.current, identity, Right.REPLAY)
    info = await parts.sessions.store.get(session_id)
    if not scope.covers(info.task if info is not None else ""):
        # The gateway's own log belongs to no task. Whose session it is stays untold.
        raise NotFound("there is no recording of that session", hint="list them: taskgate sessions")
    return info


def _event_shown(entry: Entry) -> EventShown:
    return EventShown(sequence=entry.number, kind=entry.kind, at=entry.at, facts=entry.facts)


@router.get("/audit/search")
async def search(
    caller: CallerHere,
    parts: PartsHere,
    who: Text = "",
    task: Text = "",
    resource: Text = "",
    session: Text = "",
    verb: Text = "",
    object_: Annotated[str, Query(alias="object", max_length=500)] = "",
    kind: Text = "",
    outcome: Annotated[list[str] | None, Query(max_length=len(OUTCOMES))] = None,
    text: Text = "",
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, Query(ge=1, le=limits.MAX_SEARCH_RESULTS)] = 200,
) -> AuditFound:
    """Who did what to which object. Needs the right to audit; the search is recorded."""
    scope = need_scope(parts.policies.current, caller.identity, Right.AUDIT)
    unknown = set(outcome or ()) - set(OUTCOMES)
    if unknown:
        raise BadConfig(f"no such outcome; there are {', '.join(OUTCOMES)}")
    query = AuditQuery(
        who=who,
        task=task,
        resource=resource,
        session=session,
        verb=verb,
        object=object_,
        kind=kind,
        outcomes=tuple(outcome or ()),
        since=since,
        until=until,
        text=text,
        limit=min(limit + 1, limits.MAX_SEARCH_RESULTS),
        tasks=scope.tasks,
    )
    try:
        found = await parts.records.search(caller.identity, query)
    except TimeoutError:
        raise StoreUnavailable(
            "the search index is behind the recordings",
            hint="try again in a moment; the gateway's log tells why",
        ) from None
    return AuditFound(
        entries=[_row(entry) for entry in found[:limit]], complete=len(found) <= limit
    )


@router.post("/audit/verify")
async def verify(caller: CallerHere, parts: PartsHere) -> VerifyReport:
    """Whether every recording of this node is whole and as it was written. Needs the right to
    audit."""
    need(parts.policies.current, caller.identity, Right.AUDIT)
    report = await parts.records.verify(caller.identity)
    number, hash_ = report.anchor
    return VerifyReport(
        recordings=report.recordings,
        entries=report.entries,
        sealed=report.sealed,
        open=report.open,
        findings=[f"{f.damage.value}: {f.file}: {f.detail}" for f in report.findings],
        notes=list(report.notes),
        anchor_number=number,
        anchor_hash=hash_,
        rendered=render_report(report),
    )


def may_see_all(parts: Parts, identity: Identity) -> bool:
    """Whether sessions of others are this person's to see."""
    return bool(scope_of(parts.policies.current, identity, Right.AUDIT, Right.ADMINISTER))


def _session_shown(info: SessionInfo) -> SessionShown:
    return SessionShown(
        id=info.id,
        grant_id=info.grant_id,
        who=info.identity.key,
        task=info.task,
        resource=info.resource,
        protocol=info.protocol,
        client_address=info.client_address,
        client_application=info.client_application,
        started_at=info.started_at,
        ended_at=info.ended_at,
        ended_why=info.ended_why,
        live=info.ended_at is None,
    )


def _row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        session=entry.session,
        sequence=entry.sequence,
        at=entry.at,
        event=entry.event,
        who=entry.identity,
        task=entry.task,
        resource=entry.resource,
        verb=entry.verb,
        object=entry.object,
        columns=list(entry.columns) if entry.columns is not None else None,
        compared=list(entry.compared),
        via=entry.via,
        kinds=list(entry.kinds),
        rows=entry.rows,
        masked=entry.masked,
        outcome=entry.outcome,
        rule=entry.rule,
        reason=entry.reason,
        approved_by=list(entry.approved_by),
        text=entry.text,
    )
