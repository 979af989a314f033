"""Signing in at a SAML provider: what commands call, and where browsers and providers come.

Browsers come here from the provider's site, so the cookie that a sign-in keeps meanwhile is
SameSite=None; it is sealed, says nothing but what was asked, and signs nobody in.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from taskgate.api.problems import TooMany
from taskgate.api.provider_door import ProviderDoor
from taskgate.api.saml_shapes import SamlAsked, SamlBegun, SamlFound, SamlLeave, SamlLeft
from taskgate.api.shapes import LoggedIn
from taskgate.gateway.saml import Saml
from taskgate.identity.saml.logout import Told
from taskgate.identity.saml.sign_in import Sent, SignedIn
from taskgate.model import limits
from taskgate.model.errors import NotAuthenticated, NotFound, TaskgateError

router = APIRouter(prefix="/saml")
# Where browsers and providers come; their addresses are in this gateway's metadata.
pages = APIRouter(prefix="/saml", include_in_schema=False)
COOKIE: Final = "__Host-taskgate-saml"
_MAX_COOKIE_CHARS: Final = 4096
_TYPE: Final = "application/samlmetadata+xml"
# In the console's clothes where there is one; a page without is as readable.
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>taskgate</title>'
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="/console/style.css"></head>'
    '<body><header><div><span class="brand">taskgate</span></div></header>'
    "<main><h1>{heading}</h1><p>{text}</p><p>{hint}</p></main></body></html>"
)
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'"
)
# Two base64 characters are one and a half bytes; line breaks may stand between.
_Message = Annotated[str, Form(max_length=2 * limits.MAX_SAML_BYTES)]


class SamlDoor(ProviderDoor):
    """Sign-ins by SAML providers."""

    kind = "saml"

    @property
    def saml(self) -> Saml:
        """Raises: NotFound where no provider is configured."""
        found = self._parts.outside.saml
        if found is None:
            raise NotFound(
                "there is no SAML provider of that name",
                hint="none is configured; use a local user",
            )
        return found

    async def welcome(self, found: SignedIn, source: str, application: str) -> LoggedIn:
        """An API token for whom a provider vouched. Raises: NotAuthenticated, NotRecorded."""
        return await self._let_in(found, source, application, application)

    async def logged_out(self, told: Told, source: str) -> None:
        """Ends what rests on the sessions that the provider has ended. Raises: NotRecorded."""
        for key in told.keys:
            await self._signed_out(told.provider, key, source, "logout", grants=told.grants)


def _door_of(request: Request) -> SamlDoor:
    door: SamlDoor = request.app.state.saml_door
    return door


DoorHere = Annotated[SamlDoor, Depends(_door_of)]


@router.post("/begin")
async def begin(asked: SamlAsked, request: Request, door: DoorHere) -> SamlBegun:
    """Where a browser must go to sign in; it comes back to the caller's loopback address."""
    door.knock(request, often=True)
    begun = await door.saml.sign_ins.begin(
        asked.provider,
        asked.redirect,
        asked.challenge,
        fresh=asked.fresh,
        demand=asked.sign_in.demand() if asked.sign_in is not None else None,
    )
    return SamlBegun(url=begun.url, state=begun.state)


@router.post("/finish")
async def finish(asked: SamlFound, request: Request, door: DoorHere) -> LoggedIn:
    """The code that the browser came back with, for an API token."""
    source = door.knock(request)
    try:
        found = await door.saml.sign_ins.finish(asked.code, asked.verifier)
        return await door.welcome(found, source, "api")
    except NotAuthenticated as error:
        await door.refused(error, source, "code", "")
        raise


@router.post("/logout")
async def leave(asked: SamlLeave, request: Request, door: DoorHere) -> SamlLeft:
    """Where a browser ends the session at the provider; the sign-in here is ended by /logout."""
    door.knock(request)
    return SamlLeft(url=await door.saml.logouts.leave(asked.leave))


@pages.get("/start")
async def start(request: Request, door: DoorHere, flow: str = "") -> Response:
    """A command's browser, on its way to the provider."""
    source = ""
    try:
        source = door.knock(request, often=True)
        return going(await door.saml.sign_ins.start(flow))
    except TaskgateError as error:
        if isinstance(error, NotAuthenticated):
            await door.refused(error, source, "start", "")
        return told(error)


@pages.post("/{name}/acs")
async def arrive(
    request: Request,
    door: DoorHere,
    name: str,
    response: Annotated[_Message, Form(alias="SAMLResponse")] = "",
    relay: Annotated[str, Form(alias="RelayState", max_length=1024)] = "",
) -> Response:
    """The assertion consumer: a browser comes back from the provider."""
    source, cookie = "", flow_cookie(request)
    try:
        source = door.knock(request)
        return going(await door.saml.sign_ins.arrive(name, response, relay, cookie))
    except TaskgateError as error:
        if isinstance(error, NotAuthenticated):
            await door.refused(error, source, "assertion", name)
        waiting = ""
        if not isinstance(error, TooMany | NotFound):
            waiting = door.saml.sign_ins.gave_up(cookie)
        answer = RedirectResponse(waiting, 303) if waiting else told(error)
        drop_flow_cookie(answer)
        return answer


@pages.get("/{name}/slo")
async def log_out(request: Request, door: DoorHere, name: str) -> Response:
    """Single logout: a browser brings the provider's request, or its answer to ours."""
    source = ""
    try:
        source = door.knock(request)
        query = request.scope["query_string"].decode("ascii", "replace")
        told_us = await door.saml.logouts.told(name, query)
        await door.logged_out(told_us, source)
        if told_us.answer:
            return RedirectResponse(told_us.answer, 303)
        return _page(200, "Signed out", "You are signed out here, and at your identity provider.")
    except TaskgateError as error:
        if isinstance(error, NotAuthenticated):
            await door.refused(error, source, "logout", name)
        return told(error)


@pages.get("/{name}/metadata")
async def metadata(door: DoorHere, name: str) -> Response:
    """This gateway's metadata, to be given to the provider."""
    return Response(door.saml.providers.own_metadata(name), media_type=_TYPE)


def going(sent: Sent) -> Response:
    """Sends the browser on, with the cookie that it is known again by."""
    response = RedirectResponse(sent.url, 303)
    response.set_cookie(
        COOKIE, sent.cookie, max_age=int(limits.SIGN_IN_FLOW_S), secure=True, httponly=True,
        samesite="none", path="/",
    )  # fmt: skip
    return response


def flow_cookie(request: Request) -> str:
    """What this browser's sign-in is known by; empty for none."""
    found = request.cookies.get(COOKIE, "")
    return found if len(found) <= _MAX_COOKIE_CHARS else ""


def drop_flow_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="none", path="/")


def told(error: TaskgateError) -> Response:
    """An error for a person in a browser; one of the gateway's own goes on up."""
    if error.http_status == 500:
        raise error
    answer = _page(error.http_status, "That did not work", error.message, error.hint)
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(max(1, round(error.wait_s)))
    return answer


def _page(status: int, heading: str, text: str, hint: str = "") -> HTMLResponse:
    filled = _PAGE.format(heading=escape(heading), text=escape(text), hint=escape(hint))
    return HTMLResponse(filled, status_code=status, headers={"Content-Security-Policy": _POLICY})
