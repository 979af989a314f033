"""Templates, and the filters that make strangers' text safe to judge by eye."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from taskgate.api.shapes import DemandShown
from taskgate.api.visible import visible
from taskgate.console.forms import FIELD, anonymous_cookie, form_token, session_token
from taskgate.console.highlight import sql_markup

_HERE = Path(__file__).parent
STYLE = (_HERE / "style.css").read_bytes()
SCRIPT = (_HERE / "passkeys.js").read_bytes()
# No script at all, no style but our own, nothing from anywhere else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
# Pages with passkeys: our own script from its own file, which speaks to this gateway alone.
SCRIPTED_POLICY = f"{CONTENT_SECURITY_POLICY}; script-src 'self'; connect-src 'self'"


def page(
    request: Request,
    template: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    person: str = "",
    cookie: str = "",
    scripted: bool = False,
) -> HTMLResponse:
    """One page. `cookie` is what its forms are bound to, the request's own if left out; a
    `scripted` one has the passkeys' script."""
    bound = cookie or session_token(request) or anonymous_cookie(request)
    token = form_token(bound)

    def form_field() -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token)

    defaults = {
        "error": None,
        "done": "",
        "here": "",
        "refresh_s": 0,
        "onward": False,
        "person": person,
        "scripted": scripted,
    }
    text = _ENVIRONMENT.get_template(template).render(
        {**defaults, **values, "form_token": form_field}
    )
    return HTMLResponse(
        text,
        status_code=status,
        headers={
            "Content-Security-Policy": SCRIPTED_POLICY if scripted else CONTENT_SECURITY_POLICY
        },
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Callable[..., object]] = {
        "sql": sql_markup,
        "shown": lambda text: visible(text, lines=False),
        "line": lambda text: visible(" ".join(text.split()), lines=False)[:300],
        "quoted": lambda text: "'" + visible(text).replace("'", "''") + "'",
        "name": _name,
        "whom": _whom,
        "moment": _moment,
        "left": lambda at: _span(at - time.time()),
        "ago": lambda at: _span(time.time() - at),
    }
    environment.filters.update(filters)
    return environment


def _name(key: str) -> str:
    """A person's short name; the whole key stands elsewhere on the page."""
    return visible(key.removeprefix("local:"), lines=False)


def _whom(demand: DemandShown) -> str:
    return ", ".join([*demand.groups, *(_name(subject) for subject in demand.subjects)])


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


_ENVIRONMENT = _environment()
