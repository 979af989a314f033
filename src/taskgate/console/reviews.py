"""The console's page of break-glass: what waits for consent, what for a review, what was loud."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from taskgate.api.break_glass import alerts_of, reviews_of, seen, voted
from taskgate.api.caller import Caller, PartsHere
from taskgate.console.rendering import page
from taskgate.console.work import acting, reading

router = APIRouter(prefix="/console", include_in_schema=False)
Text = Annotated[str, Form(max_length=2_000)]
ALERTS = 50


@router.get("/reviews")
async def reviews(request: Request, parts: PartsHere) -> Response:
    async def work(caller: Caller) -> Response:
        values = {
            "here": "reviews",
            "uses": await reviews_of(parts, caller.identity, settled=False),
            "alerts": (await alerts_of(parts, caller.identity))[:ALERTS],
        }
        return page(request, "reviews.html", values, person=caller.identity.subject)

    return await reading(request, parts, work)


@router.post("/reviews/{break_glass_id}/close")
async def close(
    request: Request, parts: PartsHere, break_glass_id: str, form_token: Text = "", note: Text = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        await seen(parts, caller.identity, break_glass_id)
        await parts.people.break_glasses.review(break_glass_id, caller.identity, note)
        return RedirectResponse("/console/reviews", 303)

    return await acting(request, parts, form_token, work)


@router.post("/break-glass/{break_glass_id}/{word}")
async def decide(
    request: Request,
    parts: PartsHere,
    break_glass_id: str,
    word: str,
    form_token: Text = "",
    reason: Text = "",
) -> Response:
    async def work(caller: Caller) -> Response:
        await voted(parts, caller.identity, break_glass_id, word == "approve", reason)
        return RedirectResponse("/console/reviews", 303)

    return await acting(request, parts, form_token, work)
