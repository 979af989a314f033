"""The console's routes. Each does what an API route does, through the same functions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from taskgate.api.access import end_grant, grants_of
from taskgate.api.approvals import decide, look_at, waiting_for
from taskgate.api.caller import Caller, PartsHere, client_address, may
from taskgate.api.oidc import DoorHere as OidcDoorHere
from taskgate.api.records import end_session, may_see_all, sessions_of
from taskgate.api.saml import DoorHere as SamlDoorHere
from taskgate.api.shapes import ApprovalShown
from taskgate.api.signing_in import Doors
from taskgate.api.visible import hidden_count
from taskgate.console import oidc, reviews, saml, security
from taskgate.console.forms import (
    ANONYMOUS_COOKIE,
    COOKIE,
    LEAVE_COOKIE,
    drop_cookie,
    ensure_own_form,
    local_path,
    set_cookie,
)
from taskgate.console.pages import login_page
from taskgate.console.rendering import STYLE, page
from taskgate.console.work import acting, reading
from taskgate.model import limits
from taskgate.model.approval import StandingOffer
from taskgate.model.errors import BadConfig, TaskgateError
from taskgate.model.event import EventKind
from taskgate.policy.rules import Right

router = APIRouter(prefix="/console", include_in_schema=False)
REFRESH_S = 10
Field = Annotated[str, Form(max_length=2_000)]
Password = Annotated[str, Form(max_length=limits.MAX_PASSWORD_BYTES)]
_SIGNED_OUT = {
    "heading": "Signed out",
    "text": "Signing you out at your identity provider as well.",
    "link_text": "Go on",
    "onward": True,
}


def mount(app: FastAPI) -> None:
    """Adds the console to the API's application."""
    app.include_router(router)
    app.include_router(oidc.router)
    app.include_router(saml.router)
    app.include_router(security.router)
    app.include_router(reviews.router)

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/console/approvals", 303)


@router.get("/style.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/login")
async def show_login(request: Request, next: str = "") -> Response:
    return login_page(request, local_path(next))


@router.post("/login")
async def login(
    request: Request,
    parts: PartsHere,
    name: Field,
    password: Password,
    code: Field = "",
    form_token: Field = "",
    next: Field = "",
) -> Response:
    where = local_path(next)
    try:
        ensure_own_form(
            request,
            request.cookies.get(ANONYMOUS_COOKIE, ""),
            form_token,
            parts.reach.base_url,
        )
        doors: Doors = request.app.state.doors
        signed_in = await doors.sign_in(name, password, client_address(request), "console", code)
    except TaskgateError as error:
        return login_page(request, where, error)
    response = RedirectResponse(where, 303)
    set_cookie(response, COOKIE, signed_in.token)
    drop_cookie(response, ANONYMOUS_COOKIE)
    return response


@router.post("/logout")
async def logout(
    request: Request,
    parts: PartsHere,
    oidc_door: OidcDoorHere,
    saml_door: SamlDoorHere,
    form_token: Field = "",
) -> Response:
    async def work(caller: Caller) -> Response:
        await parts.people.logins.end(caller.token)
        await parts.records.log(EventKind.LOGOUT, caller.identity, {})
        elsewhere = await oidc.leaving(request, oidc_door, parts.reach.base_url)
        elsewhere = elsewhere or await saml.leaving(request, saml_door)
        response: Response = RedirectResponse("/console/login", 303)
        if elsewhere:
            # Not a redirection: a form may lead nowhere but here.
            response = page(request, "message.html", {"link": elsewhere, **_SIGNED_OUT})
        drop_cookie(response, COOKIE)
        drop_cookie(response, LEAVE_COOKIE)
        return response

    return await acting(request, parts, form_token, work)


@router.get("/approvals")
async def approvals(request: Request, parts: PartsHere) -> Response:
    async def work(caller: Caller) -> Response:
        found = await waiting_for(parts, caller.identity)
        values = {
            "here": "approvals",
            "refresh_s": REFRESH_S,
            "waiting": [one for one in found if one.may_decide],
            "mine": [one for one in found if one.mine],
        }
        return page(request, "approvals.html", values, person=caller.identity.subject)

    return await reading(request, parts, work)


@router.get("/approvals/{approval_id}")
async def approval(request: Request, parts: PartsHere, approval_id: str) -> Response:
    async def work(caller: Caller) -> Response:
        found = await look_at(parts, caller.identity, approval_id)
        return _approval_page(request, caller, found)

    return await reading(request, parts, work)


@router.post("/approvals/{approval_id}/approve")
async def approve(
    request: Request,
    parts: PartsHere,
    approval_id: str,
    digest: Annotated[str, Form(min_length=1, max_length=64)],
    form_token: Field = "",
    scope: Field = "once",
    minutes: Field = "",
    uses: Field = "",
) -> Response:
    async def work(caller: Caller) -> Response:
        more = _offer(uses, minutes) if scope == "shape" else None
        after = await decide(
            parts, caller.identity, approval_id, approve=True, reason="", more=more, digest=digest
        )
        done = "Approved. It runs now." if after.state == "approved" else "Your approval counts."
        return _approval_page(request, caller, after, done)

    return await acting(request, parts, form_token, work)


@router.post("/approvals/{approval_id}/deny")
async def deny(
    request: Request,
    parts: PartsHere,
    approval_id: str,
    digest: Annotated[str, Form(min_length=1, max_length=64)],
    form_token: Field = "",
    reason: Field = "",
) -> Response:
    async def work(caller: Caller) -> Response:
        after = await decide(
            parts, caller.identity, approval_id, approve=False, reason=reason, digest=digest
        )
        return _approval_page(request, caller, after, "Denied. The client has your reason.")

    return await acting(request, parts, form_token, work)


@router.get("/grants")
async def grants(request: Request, parts: PartsHere) -> Response:
    async def work(caller: Caller) -> Response:
        found = await grants_of(parts, caller.identity, everyone=False, ended=True)
        values = {"here": "grants", "grants": found[:100]}
        return page(request, "grants.html", values, person=caller.identity.subject)

    return await reading(request, parts, work)


@router.post("/grants/{grant_id}/revoke")
async def revoke(
    request: Request, parts: PartsHere, grant_id: str, form_token: Field = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        await end_grant(parts, caller.identity, grant_id, "ended in the console")
        return RedirectResponse("/console/grants", 303)

    return await acting(request, parts, form_token, work)


@router.get("/sessions")
async def sessions(request: Request, parts: PartsHere) -> Response:
    async def work(caller: Caller) -> Response:
        everyone = may_see_all(parts, caller.identity)
        values = {
            "here": "sessions",
            "refresh_s": REFRESH_S,
            "all": everyone,
            "sessions": await sessions_of(parts, caller.identity, everyone=everyone, live=True),
            "may_terminate": may(parts.policies.current, caller.identity, Right.ADMINISTER),
        }
        return page(request, "sessions.html", values, person=caller.identity.subject)

    return await reading(request, parts, work)


@router.post("/sessions/{session_id}/terminate")
async def terminate(
    request: Request, parts: PartsHere, session_id: str, form_token: Field = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        await end_session(parts, caller.identity, session_id, "ended in the console")
        return RedirectResponse("/console/sessions", 303)

    return await acting(request, parts, form_token, work)


def _approval_page(
    request: Request, caller: Caller, found: ApprovalShown, done: str = ""
) -> HTMLResponse:
    hidden = hidden_count(found.text) + sum(hidden_count(value or "") for value in found.parameters)
    values = {"here": "approvals", "a": found, "hidden": hidden, "done": done}
    return page(request, "approval.html", values, person=caller.identity.subject)


def _offer(uses: str, minutes: str) -> StandingOffer:
    if not (uses.isascii() and uses.isdigit() and minutes.isascii() and minutes.isdigit()):
        raise BadConfig("say how often, and for how many minutes", hint="whole numbers, both")
    return StandingOffer(uses=int(uses[:6]), lasts_s=60.0 * int(minutes[:6]))
