"""Signing in as a local user: one door for the API and the console, and how often one may try."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from taskgate.api.access import me_of
from taskgate.api.caller import client_address
from taskgate.api.problems import TooMany
from taskgate.api.shapes import LoggedIn, LoginAsked
from taskgate.gateway.parts import Parts
from taskgate.gateway.rates import Rates, source_of
from taskgate.gateway.signals import Signals
from taskgate.model import limits
from taskgate.model.errors import NotAuthenticated, SecondFactorNeeded
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity

router = APIRouter()


class Doors:
    """Every way in for local users."""

    def __init__(self, parts: Parts, signals: Signals) -> None:
        self._parts = parts
        self._signals = signals
        self._sources = Rates(limits.MAX_LOGINS_PER_SOURCE_PER_MIN)
        self._names = Rates(limits.MAX_LOGINS_PER_NAME_PER_MIN)

    async def sign_in(
        self, name: str, password: str, source: str, door: str, code: str = ""
    ) -> LoggedIn:
        """Raises: NotAuthenticated, the same whatever was wrong; SecondFactorNeeded; TooMany;
        NotRecorded."""
        parts = self._parts

        async def check() -> Identity:
            return await parts.people.users.sign_in(
                name, password, parts.clock.now(), source=source, code=code
            )

        return await self.pass_through(check, source, door, name)

    async def pass_through(
        self, check: Callable[[], Awaitable[Identity]], source: str, door: str, name: str = ""
    ) -> LoggedIn:
        """Whoever `check` vouches for is signed in. Tries are counted and recorded here.

        `name` is what the caller calls themselves, empty where only `check` knows.
        """
        parts = self._parts
        async with self.guarded(source, door, name):
            identity = await check()
        await parts.records.log(EventKind.LOGIN, identity, {"door": door, "from": source})
        issued = await parts.people.logins.issue(identity, source=source, application=door)
        return LoggedIn(
            token=issued.token,
            expires_at=issued.login.expires_at,
            me=me_of(parts.policies.current, identity),
        )

    @asynccontextmanager
    async def guarded(self, source: str, door: str, name: str = "") -> AsyncIterator[None]:
        """Counts a try, and records it if the block does not let them in.

        Raises: TooMany, NotRecorded, and what the block raises.
        """
        parts = self._parts
        at = parts.clock.monotonic()
        wait_s = self._sources.wait_s(source_of(source), at)
        if wait_s <= 0 and name:
            wait_s = self._names.wait_s(name.strip().casefold()[:200], at)
        if wait_s > 0:
            self._signals.login_failed(door)
            raise TooMany(wait_s)
        try:
            yield
        except NotAuthenticated as refused:
            # A name that nobody has is often a password, typed into the wrong field.
            known = await parts.people.users.get(name)
            facts = {"name": known.name if known is not None else "", "door": door}
            if isinstance(refused, SecondFactorNeeded):
                await parts.records.log(EventKind.LOGIN_CHALLENGED, None, facts | {"from": source})
                raise
            self._signals.login_failed(door)
            await parts.records.log(EventKind.LOGIN_FAILED, None, facts | {"from": source})
            raise


def doors_of(request: Request) -> Doors:
    """The doors of this application."""
    doors: Doors = request.app.state.doors
    return doors


@router.post("/login")
async def login(
    asked: LoginAsked, request: Request, doors: Annotated[Doors, Depends(doors_of)]
) -> LoggedIn:
    """A name, a password and, where there is a second factor, a code, for an API token."""
    return await doors.sign_in(
        asked.name,
        asked.password.get_secret_value(),
        client_address(request),
        "api",
        asked.code.get_secret_value(),
    )
