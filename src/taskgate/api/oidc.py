"""Signing in at an OpenID provider. The caller carries; the gateway is the provider's client."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from taskgate.api.access import me_of
from taskgate.api.caller import client_address
from taskgate.api.problems import TooMany
from taskgate.api.rates import Rates, source_of
from taskgate.api.shapes import (
    LoggedIn,
    OidcAsked,
    OidcBegun,
    OidcDeviceAsked,
    OidcDeviceBegun,
    OidcFlow,
    OidcFound,
    OidcLeave,
    OidcLeft,
    OidcPending,
    OidcRefresh,
    SignInWanted,
)
from taskgate.gateway.parts import Parts
from taskgate.gateway.signals import Signals
from taskgate.identity.oidc.logout import LoggedOut, Logouts
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sign_in import Pending, SignedIn, SignIns
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import NotAuthenticated
from taskgate.model.event import EventKind

router = APIRouter(prefix="/oidc")
_DOOR = "oidc"


class OidcDoor:
    """Sign-ins by providers, and how often one source may try."""

    def __init__(self, parts: Parts, signals: Signals) -> None:
        self._parts = parts
        self._signals = signals
        self._sources = Rates(limits.MAX_LOGINS_PER_SOURCE_PER_MIN)
        # A device asks every few seconds until its person is done.
        self._polls = Rates(limits.MAX_EXCHANGES_PER_SOURCE_PER_MIN)

    @property
    def sign_ins(self) -> SignIns:
        return self._parts.outside.sign_ins

    @property
    def logouts(self) -> Logouts:
        return self._parts.outside.logouts

    def knock(self, request: Request, *, poll: bool = False) -> str:
        """The source's address, if it may try now. Raises: TooMany."""
        source = client_address(request)
        rates = self._polls if poll else self._sources
        wait_s = rates.wait_s(source_of(source), self._parts.clock.monotonic())
        if wait_s > 0:
            raise TooMany(wait_s)
        return source

    async def refused(self, error: NotAuthenticated, source: str, flow: str) -> None:
        """Writes a failed sign-in down. Raises: NotRecorded."""
        self._signals.login_failed(_DOOR)
        why = error.why if isinstance(error, TokenRefused) else error.message
        facts = {"door": _DOOR, "flow": flow, "from": source, "reason": why}
        await self._parts.records.log(EventKind.LOGIN_FAILED, None, facts)

    async def welcome(
        self, found: SignedIn, source: str, flow: str, *, application: str = "api"
    ) -> LoggedIn:
        """An API token for whom a provider vouched. Raises: NotAuthenticated, NotRecorded."""
        parts = self._parts
        facts = {"door": _DOOR, "flow": flow, "provider": found.provider, "from": source}
        await parts.records.log(EventKind.LOGIN, found.identity, facts)
        issued = await parts.people.logins.issue(
            found.identity, found.lasts_s, source=source, application=application
        )
        return LoggedIn(
            token=issued.token,
            expires_at=issued.login.expires_at,
            me=me_of(parts.policies.current, found.identity),
            refresh=found.refresh,
            leave=found.leave,
        )

    async def logged_out(self, found: LoggedOut, source: str) -> None:
        """Ends what rests on a session that the provider has ended. Raises: NotRecorded, where it
        could not be written down; it has happened all the same."""
        why = f"{found.provider} signed them out"
        facts = {
            "door": _DOOR, "flow": "back-channel", "provider": found.provider, "from": source,
            "object": found.key, "reason": why,
        }  # fmt: skip
        try:
            await self._parts.records.log(EventKind.LOGOUT, None, facts)
        finally:
            # Taking rights away waits for nothing.
            await self._parts.people.grants.cut_off(found.key, why, grants_too=found.grants)


def _door_of(request: Request) -> OidcDoor:
    door: OidcDoor = request.app.state.oidc_door
    return door


DoorHere = Annotated[OidcDoor, Depends(_door_of)]


def _demand(wanted: SignInWanted | None) -> SignInDemand | None:
    return wanted.demand() if wanted is not None else None


@router.post("/begin")
async def begin(asked: OidcAsked, request: Request, door: DoorHere) -> OidcBegun:
    """Where a browser must go to sign in; it comes back to the caller's loopback address."""
    door.knock(request)
    begun = await door.sign_ins.begin(
        asked.provider, asked.redirect, fresh=asked.fresh, demand=_demand(asked.sign_in)
    )
    return OidcBegun(url=begun.url, state=begun.state, flow=begun.flow)


@router.post("/finish")
async def finish(asked: OidcFound, request: Request, door: DoorHere) -> LoggedIn:
    """The code that the browser came back with, for an API token."""
    source = door.knock(request)
    try:
        found = await door.sign_ins.finish(asked.flow, asked.code, asked.state, asked.iss)
        return await door.welcome(found, source, "code")
    except NotAuthenticated as error:
        await door.refused(error, source, "code")
        raise


@router.post("/device")
async def begin_device(asked: OidcDeviceAsked, request: Request, door: DoorHere) -> OidcDeviceBegun:
    """What to type where, on another device."""
    source = door.knock(request)
    try:
        begun = await door.sign_ins.begin_device(asked.provider, _demand(asked.sign_in))
    except NotAuthenticated as error:
        await door.refused(error, source, "device")
        raise
    return OidcDeviceBegun(
        url=begun.url,
        complete_url=begun.complete_url,
        user_code=begun.user_code,
        interval_s=begun.interval_s,
        lasts_s=begun.lasts_s,
        flow=begun.flow,
    )


@router.post("/device/poll", responses={202: {"model": OidcPending}})
async def poll_device(
    asked: OidcFlow, request: Request, response: Response, door: DoorHere
) -> LoggedIn | OidcPending:
    """An API token once the person is done; until then 202, and when to ask again."""
    source = door.knock(request, poll=True)
    try:
        found = await door.sign_ins.poll_device(asked.flow)
        if isinstance(found, Pending):
            response.status_code = 202
            return OidcPending(interval_s=found.interval_s)
        return await door.welcome(found, source, "device")
    except NotAuthenticated as error:
        await door.refused(error, source, "device")
        raise


@router.post("/refresh")
async def refresh(asked: OidcRefresh, request: Request, door: DoorHere) -> LoggedIn:
    """Another API token without the person, while their provider agrees."""
    source = door.knock(request)
    try:
        found = await door.sign_ins.refresh(asked.refresh)
        return await door.welcome(found, source, "refresh")
    except NotAuthenticated as error:
        await door.refused(error, source, "refresh")
        raise


@router.post("/logout")
async def leave(asked: OidcLeave, request: Request, door: DoorHere) -> OidcLeft:
    """Where a browser ends the session at the provider; the sign-in here is ended by /logout."""
    door.knock(request)
    return OidcLeft(url=await door.logouts.leave(asked.leave))


@router.post("/{provider}/backchannel-logout")
async def told_of_logout(
    provider: str,
    request: Request,
    door: DoorHere,
    logout_token: Annotated[str, Form(max_length=limits.MAX_JWT_CHARS)] = "",
) -> Response:
    """A provider says that somebody signed out there (Back-Channel Logout 1.0 section 2.5)."""
    source = door.knock(request, poll=True)
    try:
        found = await door.logouts.told(provider, logout_token)
    except NotAuthenticated as error:
        await door.refused(error, source, "back-channel")
        body = '{"error":"invalid_request","error_description":"the logout token was not accepted"}'
        return Response(body, 400, media_type="application/json")
    await door.logged_out(found, source)
    return Response(status_code=200)
