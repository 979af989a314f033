"""The API as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp

from taskgate import __version__
from taskgate.api import (
    access,
    administration,
    approvals,
    bootstrap,
    break_glass,
    delegation,
    host_keys,
    kept_files,
    oidc,
    people,
    policy,
    records,
    saml,
    scim,
    second_factors,
    signing_in,
    ssh_access,
    standing,
    token_exchange,
)
from taskgate.api.caller import BearerTries, caller_of, client_address, need
from taskgate.api.guard import Guard
from taskgate.api.oidc import OidcDoor
from taskgate.api.problems import add_problem_handlers
from taskgate.api.saml import SamlDoor
from taskgate.api.second_factors import FactorTries
from taskgate.api.shapes import Authority
from taskgate.api.signing_in import Doors
from taskgate.api.streams import Streams
from taskgate.api.token_exchange import ExchangeDoor
from taskgate.gateway.certificates import fingerprint
from taskgate.gateway.parts import Parts
from taskgate.gateway.service import Wiring
from taskgate.gateway.signals import CONTENT_TYPE
from taskgate.policy.rules import Right

_LOOPBACK = ("127.0.0.1", "::1")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

Mount = Callable[[FastAPI], None]


def create_app(wiring: Wiring, mount: Mount | None = None) -> ASGIApp:
    """The whole application; `mount` adds the console."""
    parts, signals = wiring.parts, wiring.signals
    app = FastAPI(
        title="taskgate",
        version=__version__,
        openapi_url="/v1/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.state.doors = Doors(parts, signals)
    app.state.factor_tries = FactorTries()
    app.state.bearer_tries = BearerTries(signals)
    app.state.oidc_door = OidcDoor(parts, signals)
    app.state.saml_door = SamlDoor(parts, signals)
    app.state.exchange_door = ExchangeDoor(parts, signals)
    app.state.streams = Streams(parts.holds, wiring.closing)
    app.state.explaining = wiring.explaining
    add_problem_handlers(app, signals)
    v1 = APIRouter(prefix="/v1")
    for module in (
        signing_in,
        second_factors,
        access,
        oidc,
        saml,
        token_exchange,
        approvals,
        standing,
        kept_files,
        records,
        policy,
        administration,
        host_keys,
        people,
        delegation,
        break_glass,
        bootstrap,
        ssh_access,
    ):
        v1.include_router(module.router)
    app.include_router(v1)
    app.include_router(saml.pages)
    if parts.people.scim is not None:
        app.state.scim_tries = scim.ScimTries()
        app.include_router(scim.router)
    _add_public(app, parts)
    _add_signals(app, wiring)
    if mount is not None and wiring.console:
        mount(app)
    return Guard(app, signals, secure=wiring.secure)


def _add_public(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/ca")
    async def authority() -> Authority:
        """What clients should trust; for everyone to see."""
        pem = parts.reach.ca_pem
        return Authority(
            pem=pem,
            fingerprint=fingerprint(pem) if pem else "",
            ssh_known_hosts=parts.reach.ssh_known_hosts,
            ssh_upstream_ca=parts.reach.ssh_upstream_ca,
        )


def _add_signals(app: FastAPI, wiring: Wiring) -> None:
    signals = wiring.signals

    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether the event loop turns."""
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether the gateway can do its work; names what cannot, without details."""
        found = await wiring.ready()
        signals.ready.set(int(found.ready))
        if found.ready:
            return Response("ready\n", media_type="text/plain")
        faults = "".join(f"not ready: {name}\n" for name in sorted(found.faults))
        return Response(faults, status_code=503, media_type="text/plain")

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus metrics: for this machine itself, and for administrators."""
        forwarded = any(name in request.headers for name in _FORWARDED)
        local = wiring.direct and client_address(request) in _LOOPBACK
        if forwarded or not local:
            parts: Parts = request.app.state.parts
            caller = await caller_of(request, parts)
            need(parts.policies.current, caller.identity, Right.ADMINISTER)
        return Response(signals.text(), media_type=CONTENT_TYPE)
