"""Errors as RFC 9457 problem details. Nothing of the inside shows: no traceback, no type names."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from taskgate.api.shapes import Problem, SignInWanted
from taskgate.gateway.signals import Signals
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import NotAuthenticated, StepUpNeeded, TaskgateError

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)


class TooMany(TaskgateError):
    """Too many tries; `wait_s` says when the next one may be."""

    http_status = 429

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many tries", hint=f"wait {max(1, round(wait_s))} s")
        self.wait_s = wait_s


class Refused(HTTPException):
    """A request whose body is refused as it comes in. The framework's own kind, since it turns
    any other into a 400 of its own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.detail)
        self.problem = problem


def respond(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as a response with its own status."""
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def problem_of(error: TaskgateError) -> Problem:
    """What the caller is told of one of our own errors."""
    return Problem(
        type=f"urn:taskgate:problem:{_kebab(type(error).__name__)}",
        title=_title(error.http_status),
        status=error.http_status,
        detail=error.message,
        rule=getattr(error, "rule", ""),
        hint=error.hint,
        errors=[item.message for item in getattr(error, "errors", ())],
        sign_in=SignInWanted.of(error.demand) if isinstance(error, StepUpNeeded) else None,
    )


def respond_to(error: TaskgateError) -> Response:
    """One of our own errors as a response; what is our own fault goes on to the handlers."""
    if error.http_status == 500:
        raise error
    return respond(problem_of(error), headers_of(error))


def headers_of(error: TaskgateError) -> dict[str, str]:
    """RFC 9110: a challenge with 401, a time with 429."""
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": 'Bearer realm="taskgate"'}
    if isinstance(error, StepUpNeeded):
        return {"WWW-Authenticate": _step_up(error.demand)}
    if isinstance(error, TooMany):
        return {"Retry-After": str(max(1, round(error.wait_s)))}
    return {}


def add_problem_handlers(app: FastAPI, signals: Signals) -> None:
    """Makes every error of `app` a problem, and every fault of our own a line in the log."""

    @app.exception_handler(TaskgateError)
    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, TaskgateError)  # noqa: S101 - registered for it alone
        if error.http_status != 500:
            return respond(problem_of(error), headers_of(error))
        return internal(error)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
        if isinstance(error, Refused):
            return respond(error.problem)
        detail = _title(error.status_code).lower()
        return respond(
            Problem(
                type="about:blank",
                title=_title(error.status_code),
                status=error.status_code,
                detail=detail,
            ),
            dict(error.headers or {}),
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
        # Only where and what: what was sent may be a password.
        found = [
            f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}"
            for entry in error.errors()[:20]
        ]
        return respond(
            Problem(
                type="urn:taskgate:problem:invalid",
                title=_title(422),
                status=422,
                detail="the request is not as it should be",
                errors=found,
            )
        )

    @app.exception_handler(Exception)
    async def fault(_request: Request, error: Exception) -> Response:
        return internal(error)

    def internal(error: Exception) -> Response:
        incident = secrets.token_hex(6)
        signals.internal_errors.inc()
        _log.error("api.fault", incident=incident, exc_info=error)
        return respond(
            Problem(
                type="urn:taskgate:problem:internal",
                title=_title(500),
                status=500,
                detail="the gateway failed; nothing was done, or it is in the records",
                hint=f"the gateway's log has it as incident {incident}",
                incident=incident,
            )
        )


def _step_up(demand: SignInDemand) -> str:
    """RFC 9470 section 3. Classes hold no quotes (`policy.models.SignInModel`)."""
    parts = ['Bearer realm="taskgate"', 'error="insufficient_user_authentication"']
    if demand.acr:
        parts.append(f'acr_values="{" ".join(demand.acr)}"')
    if demand.within_s is not None:
        parts.append(f'max_age="{int(demand.within_s)}"')
    return ", ".join(parts)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
