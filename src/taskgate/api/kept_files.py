"""Files whose contents a session's recording has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from taskgate.api.caller import CallerHere, PartsHere
from taskgate.api.records import ensure_replayable, told
from taskgate.api.shapes import KeptFileShown
from taskgate.api.streams import StreamsHere
from taskgate.recording.format import Entry

router = APIRouter()


@router.get("/recordings/{session_id}/files")
async def kept_files(session_id: str, caller: CallerHere, parts: PartsHere) -> list[KeptFileShown]:
    """The files that a session has read and written, where its task has them kept. Needs the right
    to replay; the reading is recorded."""
    await ensure_replayable(parts, caller.identity, session_id)
    return [
        KeptFileShown(
            request=one.request,
            path=one.path,
            way=one.way,
            bytes=one.bytes,
            sha256=one.sha256,
            first=one.first,
            over=one.over,
        )
        for one in await parts.records.kept_files(caller.identity, session_id)
    ]


@router.get("/recordings/{session_id}/files/{request}")
async def kept_file(
    session_id: str, request: int, caller: CallerHere, parts: PartsHere, streams: StreamsHere
) -> StreamingResponse:
    """Server-sent events: all that is about one file, `request` being the number of the request
    that opened it. Needs the right to replay; the reading is recorded."""
    await ensure_replayable(parts, caller.identity, session_id)
    streams.ensure_room(caller.key)
    entries = parts.records.kept_file(caller.identity, session_id, request)
    # What goes wrong at first is answered as such.
    first: list[Entry] = await anext(entries, [])

    async def events() -> AsyncIterator[bytes]:
        with streams.room(caller.key):
            async with aclosing(entries):
                yield told(first)
                async for some in entries:
                    if streams.closing:
                        return
                    yield told(some)

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
