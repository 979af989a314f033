"""The console's sign-in: one strict cookie, and a token in every form.

The cookie is `__Host-` (RFC 6265bis section 4.1.3.2): secure, for this host alone, out of a
script's reach, and never sent along from another site. Each form carries a value derived from
it; a form that was not made for this very sign-in is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from fastapi import Request, Response

from taskgate.model.errors import Denied

COOKIE = "__Host-taskgate"
# Before signing in there is nothing to derive a form's token from.
ANONYMOUS_COOKIE = "__Host-taskgate-form"
# What signs out at the provider too, as long as the sign-in lasts.
LEAVE_COOKIE = "__Host-taskgate-leave"
FIELD = "form_token"
MAX_COOKIE_CHARS = 200
# Browsers drop what is larger.
MAX_SEALED_CHARS = 4_000


def session_token(request: Request) -> str:
    """The API token in the cookie; empty if there is none."""
    token = request.cookies.get(COOKIE, "")
    return token if len(token) <= MAX_COOKIE_CHARS else ""


def form_token(cookie: str) -> str:
    """What a form must carry for this cookie."""
    return hmac.new(cookie.encode(), b"taskgate console form", hashlib.sha256).hexdigest()


def anonymous_cookie(request: Request) -> str:
    """The cookie of somebody who has not signed in, a new one if need be."""
    found = request.cookies.get(ANONYMOUS_COOKIE, "")
    return found if 20 <= len(found) <= MAX_COOKIE_CHARS else secrets.token_urlsafe(32)


def set_cookie(response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, secure=True, httponly=True, samesite="strict", path="/")


def drop_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, secure=True, httponly=True, samesite="strict", path="/")


def keep_leave(response: Response, sealed: str) -> None:
    """Keeps what signs out at the provider that somebody signed in by; nothing if it is empty."""
    if 0 < len(sealed) <= MAX_SEALED_CHARS:
        set_cookie(response, LEAVE_COOKIE, sealed)
    else:
        drop_cookie(response, LEAVE_COOKIE)


def kept_leave(request: Request) -> str:
    """The same back; empty if there is none."""
    found = request.cookies.get(LEAVE_COOKIE, "")
    return found if len(found) <= MAX_SEALED_CHARS else ""


def ensure_own_form(request: Request, cookie: str, given: str, base_url: str) -> None:
    """Raises: Denied for a form that was not made here, for this cookie."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in (None, "same-origin")
    if site is None and origin is not None:
        # Browsers without fetch metadata: the origin must be ours, by whichever name.
        ours = {urlsplit(base_url).netloc, request.headers.get("host", "")}
        foreign = urlsplit(origin).netloc not in ours
    expected = form_token(cookie) if cookie else ""
    matches = bool(cookie) and hmac.compare_digest(expected.encode(), given.encode())
    if foreign or not matches:
        raise Denied(
            "this form was not sent from its own page",
            rule="csrf",
            hint="open the page again and repeat it there",
        )


def local_path(path: str) -> str:
    """`path` if it is a page of the console, else the first page: a sign-in never leads away."""
    plain = path.isascii() and path.isprintable() and "\\" not in path and "//" not in path
    return path if plain and path.startswith("/console/") else "/console/approvals"
