"""What every page does first: who is signed in, and whether a form is their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from taskgate.api.caller import Caller
from taskgate.api.problems import problem_of
from taskgate.console.forms import ensure_own_form, session_token
from taskgate.console.rendering import page
from taskgate.gateway.parts import Parts
from taskgate.model.errors import NotAuthenticated, TaskgateError

Work = Callable[[Caller], Awaitable[Response]]


async def acting(request: Request, parts: Parts, given: str, work: Work) -> Response:
    """A form was sent: it must be this sign-in's own."""

    async def guarded(caller: Caller) -> Response:
        ensure_own_form(request, session_token(request), given, parts.reach.base_url)
        return await work(caller)

    return await reading(request, parts, guarded)


async def reading(request: Request, parts: Parts, work: Work) -> Response:
    """Runs `work` for whoever is signed in; its errors become pages."""
    token = session_token(request)
    if not token:
        return _signed_out(request)
    try:
        caller = Caller(await parts.people.logins.check(token), token)
    except NotAuthenticated:
        return _signed_out(request)
    except TaskgateError as error:
        return _error_page(request, error, "")
    try:
        return await work(caller)
    except TaskgateError as error:
        return _error_page(request, error, caller.identity.subject)


def _signed_out(request: Request) -> Response:
    if request.method != "GET":
        return RedirectResponse("/console/login", 303)
    path = request.url.path
    if request.headers.get("sec-fetch-site") == "cross-site" and not session_token(request):
        # A link from elsewhere brings no strict cookie along. A reload from our own page does.
        values = {
            "heading": "One moment",
            "text": "Opening the page.",
            "link": path,
            "link_text": "Go on",
            "refresh_s": 1,
        }
        return page(request, "message.html", values)
    return RedirectResponse(f"/console/login?next={quote(path, safe='')}", 303)


def _error_page(request: Request, error: TaskgateError, person: str) -> Response:
    if error.http_status == 500:
        raise error
    values = {
        "heading": "That did not work",
        "text": "",
        "error": problem_of(error),
        "link": "/console/approvals",
        "link_text": "Back to approvals",
    }
    return page(request, "message.html", values, status=error.http_status, person=person)
