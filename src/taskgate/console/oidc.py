"""Signing in to the console at an OpenID provider, and out again there.

The browser keeps the sealed state of a sign-in in a cookie of its own, so that a code counts only
in the browser that asked for it; no token of the gate's is ever in an address.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from taskgate.api.caller import PartsHere
from taskgate.api.oidc import DoorHere, OidcDoor
from taskgate.console.forms import (
    COOKIE,
    MAX_SEALED_CHARS,
    keep_leave,
    kept_leave,
    local_path,
    set_cookie,
)
from taskgate.console.pages import login_page, signed_in_page
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits
from taskgate.model.errors import NotAuthenticated, TaskgateError

router = APIRouter(prefix="/console/oidc", include_in_schema=False)
FLOW_COOKIE: Final = "__Host-taskgate-oidc"
_MAX_PARAMETER_CHARS: Final = 4_096


@router.get("/{provider}")
async def begin(
    request: Request, parts: PartsHere, door: DoorHere, provider: str, next: str = ""
) -> Response:
    """Off to the provider."""
    where = local_path(next)
    try:
        door.knock(request)
        back = _back(parts.reach.base_url, provider)
        begun = await door.sign_ins.begin_page(provider, back, where)
    except TaskgateError as error:
        return login_page(request, where, error)
    response = RedirectResponse(begun.url, 303)
    # Lax, because the browser comes back from the provider's site; it signs nobody in by itself.
    response.set_cookie(
        FLOW_COOKIE, begun.flow, max_age=int(limits.SIGN_IN_FLOW_S), secure=True, httponly=True,
        samesite="lax", path="/",
    )  # fmt: skip
    return response


@router.get("/{provider}/callback")
async def arrive(
    request: Request,
    door: DoorHere,
    provider: str,
    code: str = "",
    state: str = "",
    iss: str | None = None,
    error: str = "",
) -> Response:
    """Back from the provider, with a code for this browser's own sign-in."""
    source = ""
    try:
        source = door.knock(request)
        flow = request.cookies.get(FLOW_COOKIE, "")[: MAX_SEALED_CHARS + 1]
        if error:
            raise TokenRefused("the provider or the person said no")
        if len(state) > _MAX_PARAMETER_CHARS:
            raise TokenRefused("the answer belongs to another sign-in")
        found, where = await door.sign_ins.finish_page(provider, flow, code, state, iss)
        signed_in = await door.welcome(found, source, "console", application="console")
    except TaskgateError as wrong:
        if isinstance(wrong, NotAuthenticated):
            await door.refused(wrong, source, "console")
        answer: Response = login_page(request, local_path(""), wrong)
    else:
        answer = signed_in_page(request, local_path(where))
        set_cookie(answer, COOKIE, signed_in.token)
        keep_leave(answer, found.leave)
    answer.delete_cookie(FLOW_COOKIE, secure=True, httponly=True, samesite="lax", path="/")
    return answer


async def leaving(request: Request, door: OidcDoor, base_url: str) -> str:
    """Where the browser signs out at the provider too, "" for nowhere or not now: whoever signs
    out is signed out here, whatever the provider does."""
    kept = kept_leave(request)
    try:
        return await door.logouts.leave(kept, f"{base_url}/console/login") if kept else ""
    except TaskgateError:
        return ""


def _back(base_url: str, provider: str) -> str:
    # One address a provider, so that no provider's answer is taken for another's (RFC 9700
    # section 4.4.2).
    return f"{base_url}/console/oidc/{quote(provider, safe='')}/callback"
