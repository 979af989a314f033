"""Signing in at an OpenID provider. The caller carries; the gateway is the provider's client."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from taskgate.api.provider_door import ProviderDoor
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
from taskgate.identity.oidc.logout import LoggedOut, Logouts
from taskgate.identity.oidc.sign_in import Pending, SignedIn, SignIns
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import NotAuthenticated

router = APIRouter(prefix="/oidc")


class OidcDoor(ProviderDoor):
    """Sign-ins by OpenID providers."""

    kind = "oidc"

    @property
    def sign_ins(self) -> SignIns:
        return self._parts.outside.sign_ins

    @property
    def logouts(self) -> Logouts:
        return self._parts.outside.logouts

    async def welcome(
        self, found: SignedIn, source: str, flow: str, *, application: str = "api"
    ) -> LoggedIn:
        """An API token for whom a provider vouched, and what renews it. Raises: NotAuthenticated,
        NotRecorded."""
        let_in = await self._let_in(found, source, flow, application)
        return let_in.model_copy(update={"refresh": found.refresh})

    async def logged_out(self, found: LoggedOut, source: str) -> None:
        """Ends what rests on a session that the provider has ended. Raises: NotRecorded."""
        await self._signed_out(
            found.provider, found.key, source, "back-channel", grants=found.grants
        )


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
    source = door.knock(request, often=True)
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
    source = door.knock(request, often=True)
    try:
        found = await door.logouts.told(provider, logout_token)
    except NotAuthenticated as error:
        await door.refused(error, source, "back-channel")
        body = '{"error":"invalid_request","error_description":"the logout token was not accepted"}'
        return Response(body, 400, media_type="application/json")
    await door.logged_out(found, source)
    return Response(status_code=200)
