"""Pages that several routes answer with."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from taskgate.api.caller import parts_of
from taskgate.api.problems import TooMany, problem_of
from taskgate.console.forms import ANONYMOUS_COOKIE, anonymous_cookie, set_cookie
from taskgate.console.rendering import page
from taskgate.model.errors import TaskgateError


def login_page(request: Request, where: str, error: TaskgateError | None = None) -> HTMLResponse:
    """The sign-in page, with every way to sign in; `where` is the page to go to afterwards."""
    cookie = anonymous_cookie(request)
    status = 200 if error is None else error.http_status
    parts = parts_of(request)
    outside, people = parts.outside, parts.people
    saml = outside.saml.providers.names if outside.saml is not None else ()
    values = {
        "next": where,
        "error": problem_of(error) if error is not None else None,
        "providers": [
            *(("oidc", name) for name in outside.sign_ins.names),
            *(("saml", name) for name in saml),
        ],
        "local": people.users.enabled,
        "passkeys": people.passkeys is not None and people.users.enabled,
    }
    response = page(request, "login.html", values, status=status, cookie=cookie, scripted=True)
    set_cookie(response, ANONYMOUS_COOKIE, cookie)
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(max(1, round(error.wait_s)))
    return response


def signed_in_page(request: Request, where: str) -> HTMLResponse:
    """What a browser is shown that comes back from a provider. A page of ours goes on by itself:
    the strict cookie does not come along with a redirection that began elsewhere."""
    values = {
        "heading": "Signed in", "text": "Going on to the console.", "link": where,
        "link_text": "Go on", "onward": True,
    }  # fmt: skip
    return page(request, "message.html", values)
