"""Signing in to the console at a SAML provider."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from taskgate.api.saml import DoorHere, SamlDoor, drop_flow_cookie, flow_cookie, going
from taskgate.console.forms import COOKIE, keep_leave, kept_leave, local_path, set_cookie
from taskgate.console.pages import login_page, signed_in_page
from taskgate.model.errors import NotAuthenticated, TaskgateError

router = APIRouter(prefix="/console/saml", include_in_schema=False)


@router.get("/{name}")
async def begin(request: Request, door: DoorHere, name: str, next: str = "") -> Response:
    """Off to the provider; the browser comes back to its own part of the API, and then here."""
    where = local_path(next)
    try:
        door.knock(request, often=True)
        return going(await door.saml.sign_ins.start_console(name, where))
    except TaskgateError as error:
        return login_page(request, where, error)


@router.get("/{name}/in")
async def arrive(request: Request, door: DoorHere, name: str, code: str = "") -> Response:
    """Back from the provider, with a code that only this browser's sign-in can use."""
    source = ""
    try:
        source = door.knock(request)
        found = await door.saml.sign_ins.finish_console(code[:200], flow_cookie(request))
        signed_in = await door.welcome(found, source, "console")
    except TaskgateError as error:
        if isinstance(error, NotAuthenticated):
            await door.refused(error, source, "console", name)
        return login_page(request, local_path(""), error)
    response = signed_in_page(request, local_path(found.next))
    set_cookie(response, COOKIE, signed_in.token)
    keep_leave(response, found.leave)
    drop_flow_cookie(response)
    return response


async def leaving(request: Request, door: SamlDoor) -> str:
    """Where the browser signs out at the provider too, "" for nowhere or not now: whoever signs
    out is signed out here, whatever the provider does."""
    kept = kept_leave(request)
    try:
        return await door.saml.logouts.leave(kept) if kept else ""
    except TaskgateError:
        # Also where an OpenID provider's sign-in left it.
        return ""
