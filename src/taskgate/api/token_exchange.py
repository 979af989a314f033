"""OAuth's own endpoints for workloads: token exchange (RFC 8693) and revocation (RFC 7009).

`scope` names the task, `audience` one of its resources. Requests and errors have the forms of
RFC 6749, so that any client of such an endpoint can use it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Depends, Request, Response

from taskgate.api.access import connections_of
from taskgate.api.caller import PartsHere, client_address
from taskgate.gateway.parts import Parts
from taskgate.gateway.rates import Rates, source_of
from taskgate.gateway.signals import Signals
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits
from taskgate.model.errors import (
    Denied,
    NotAuthenticated,
    NotFound,
    NotRecorded,
    OverLimit,
    TaskgateError,
)
from taskgate.model.event import EventKind
from taskgate.model.token import GrantSelector

router = APIRouter()
_log = structlog.get_logger(__name__)
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
# What a subject token may call itself; all are JWTs here, and are checked alike.
_SUBJECT_TYPES: Final = frozenset(
    f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("jwt", "id_token", "access_token")
)
_MAX_BODY_BYTES: Final = 64 * limits.KIB
_DOOR: Final = "exchange"
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
    }
}


class ExchangeDoor:
    """Who may try how often."""

    def __init__(self, parts: Parts, signals: Signals) -> None:
        self._parts = parts
        self._signals = signals
        self._sources = Rates(limits.MAX_EXCHANGES_PER_SOURCE_PER_MIN)

    def wait_s(self, source: str) -> float:
        return self._sources.wait_s(source_of(source), self._parts.clock.monotonic())

    async def refused(self, why: str, source: str, task: str) -> None:
        """Raises: NotRecorded."""
        self._signals.login_failed(_DOOR)
        facts = {"door": _DOOR, "from": source, "task": task[:200], "reason": why}
        await self._parts.records.log(EventKind.LOGIN_FAILED, None, facts)


def _door_of(request: Request) -> ExchangeDoor:
    door: ExchangeDoor = request.app.state.exchange_door
    return door


DoorHere = Annotated[ExchangeDoor, Depends(_door_of)]


class _OAuthError(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


@router.post("/token", openapi_extra=_FORM)
async def exchange(request: Request, parts: PartsHere, door: DoorHere) -> Response:
    """A workload's token for one of a task's (RFC 8693)."""
    source = client_address(request)
    try:
        wait_s = door.wait_s(source)
        if wait_s > 0:
            return _answer(
                429,
                {"error": "temporarily_unavailable", "error_description": "too many tries"},
                {"Retry-After": str(max(1, round(wait_s)))},
            )
        form = await _form(request)
        token, task, resource = _asked(form)
        return _answer(200, await _exchanged(parts, door, source, (token, task, resource)))
    except _OAuthError as error:
        return _answer(error.status, {"error": error.error, "error_description": str(error)})
    except TaskgateError as error:
        if error.http_status == 500:
            raise
        return _answer(
            error.http_status,
            {"error": "temporarily_unavailable", "error_description": error.message},
        )


async def _exchanged(
    parts: Parts, door: ExchangeDoor, source: str, asked: tuple[str, str, str | None]
) -> dict[str, Any]:
    token, task, resource = asked
    try:
        issued = await parts.outside.exchange.exchange(token, task, resource)
    except (NotAuthenticated, NotFound) as error:
        why = error.why if isinstance(error, TokenRefused) else error.message
        await door.refused(why, source, task)
        raise _OAuthError("invalid_grant", error.message) from None
    except Denied as error:
        await door.refused(error.message, source, task)
        name = "invalid_target" if error.rule == f"{task}/resources" else "invalid_scope"
        raise _OAuthError(name, error.message) from None
    except OverLimit as error:
        raise _OAuthError("invalid_request", error.message) from None
    connections, ca_pem = connections_of(parts, issued.grant)
    return {
        "access_token": issued.token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": max(1, int(issued.grant.expires_at - parts.clock.now())),
        "scope": issued.grant.task,
        # More than the standard asks for, so that the command line can set up a client.
        "grant": issued.grant.id,
        "connections": [one.model_dump() for one in connections],
        "ca_pem": ca_pem,
    }


@router.post("/token/revoke", openapi_extra=_FORM)
async def revoke(request: Request, parts: PartsHere, door: DoorHere) -> Response:
    """Ends the grant that a token stands for (RFC 7009): whoever has the token may give it up.
    The answer is the same whether there was one."""
    try:
        if door.wait_s(client_address(request)) > 0:
            return _answer(503, {"error": "temporarily_unavailable"})
        token = (await _form(request)).get("token", "")
        if not token:
            raise _OAuthError("invalid_request", "token is missing")
    except _OAuthError as error:
        return _answer(error.status, {"error": error.error, "error_description": str(error)})
    try:
        grant = await parts.people.grants.holder_of(token)
    except NotAuthenticated:
        return _answer(200, {})
    why = "its holder gave it up"
    facts = {"grant": grant.id, "holder": grant.identity.key, "task": grant.task, "reason": why}
    try:
        await parts.records.log(EventKind.GRANT_REVOKED, grant.identity, facts)
    except NotRecorded:
        # Taking rights away waits for nothing.
        _log.error("grant.end_not_recorded", grant=grant.id)
    await parts.people.grants.revoke(GrantSelector(grant_id=grant.id), why)
    return _answer(200, {})


async def _form(request: Request) -> dict[str, str]:
    """Each parameter once (RFC 6749 section 3.2). Raises: _OAuthError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise _OAuthError("invalid_request", "send application/x-www-form-urlencoded")
    body = await request.body()
    if len(body) > _MAX_BODY_BYTES:
        raise _OAuthError("invalid_request", f"more than {_MAX_BODY_BYTES} bytes", 413)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True,
            max_num_fields=50, errors="strict",
        )  # fmt: skip
    except ValueError:
        raise _OAuthError("invalid_request", "the form cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _OAuthError("invalid_request", "a parameter is given twice")
    return found


def _asked(form: dict[str, str]) -> tuple[str, str, str | None]:
    """Token, task and resource. Raises: _OAuthError."""
    if form.get("grant_type") != GRANT_TYPE:
        raise _OAuthError("unsupported_grant_type", f"grant_type is {GRANT_TYPE}")
    for name in ("actor_token", "resource"):
        if form.get(name):
            raise _OAuthError("invalid_request", f"{name} is not taken here")
    token, kind = form.get("subject_token", ""), form.get("subject_token_type", "")
    if not token or not kind:
        raise _OAuthError("invalid_request", "subject_token or subject_token_type is missing")
    if kind not in _SUBJECT_TYPES:
        raise _OAuthError("invalid_request", "subject_token_type is of no kind taken here")
    if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise _OAuthError("invalid_request", f"only {ACCESS_TOKEN} is issued")
    scopes = form.get("scope", "").split()
    if len(scopes) != 1:
        raise _OAuthError("invalid_scope", "scope names one task")
    return token, scopes[0], form.get("audience") or None


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(body) if body else ""
    return Response(text, status, headers, media_type="application/json")
