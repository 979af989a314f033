"""The console's pages of one's own second factors, and passkeys at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from taskgate.api.caller import Caller, PartsHere, client_address
from taskgate.api.problems import respond_to
from taskgate.api.second_factors import changeable, note, own_name, shown, tries_of
from taskgate.api.signing_in import Doors, doors_of
from taskgate.console.forms import (
    ANONYMOUS_COOKIE,
    COOKIE,
    drop_cookie,
    ensure_own_form,
    local_path,
    session_token,
    set_cookie,
)
from taskgate.console.rendering import SCRIPT, page
from taskgate.console.work import acting, reading
from taskgate.gateway.parts import Parts
from taskgate.identity.passkeys import CloneSuspected, Passkeys
from taskgate.model.errors import NotFound, TaskgateError
from taskgate.model.identity import Identity

router = APIRouter(prefix="/console", include_in_schema=False)
Text = Annotated[str, Form(max_length=2_000)]
DoorsHere = Annotated[Doors, Depends(doors_of)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    form_token: Annotated[str, Field(max_length=200)]


class Registered(_Asked):
    """What the browser made."""

    label: Annotated[str, Field(max_length=100)] = ""
    credential: dict[str, Any]


class Shown(_Asked):
    """What the browser shows."""

    next: Annotated[str, Field(max_length=2_000)] = ""
    credential: dict[str, Any]


@router.get("/passkeys.js")
async def script() -> Response:
    return Response(SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/security")
async def security(request: Request, parts: PartsHere) -> Response:
    async def work(caller: Caller) -> Response:
        return await _page(request, parts, caller)

    return await reading(request, parts, work)


@router.post("/security/apps")
async def enrol(
    request: Request, parts: PartsHere, form_token: Text = "", label: Text = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        begun = await parts.people.users.second.enrol(user, label, parts.clock.now())
        values = {
            "id": begun.authenticator.id,
            "secret": " ".join(begun.secret[at : at + 4] for at in range(0, len(begun.secret), 4)),
            "qr": Markup(  # noqa: S704 - our own library's drawing
                segno.make(begun.uri, error="m", micro=False).svg_inline(scale=5, omitsize=True)
            ),
        }
        return await _page(request, parts, caller, enrolling=values)

    return await acting(request, parts, form_token, work)


@router.post("/security/apps/{factor_id}/confirm")
async def confirm(
    request: Request, parts: PartsHere, factor_id: str, form_token: Text = "", code: Text = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        tries_of(request).take(caller.key, parts.clock.monotonic())
        await note(parts, caller.identity, user, factor_id, "an authenticator app is added")
        codes = await parts.people.users.second.confirm(user, factor_id, code, parts.clock.now())
        return await _page(
            request, parts, caller, codes, "From now on a sign-in needs a code of this app."
        )

    return await acting(request, parts, form_token, work)


@router.post("/security/recovery-codes")
async def renew_codes(request: Request, parts: PartsHere, form_token: Text = "") -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        await note(parts, caller.identity, user, "", "recovery codes are made anew")
        codes = await parts.people.users.second.renew_codes(user)
        return await _page(request, parts, caller, codes, "The old recovery codes are void.")

    return await acting(request, parts, form_token, work)


@router.post("/security/{factor_id}/remove")
async def remove(
    request: Request, parts: PartsHere, factor_id: str, form_token: Text = ""
) -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        await note(parts, caller.identity, user, factor_id, "a second factor is removed")
        await parts.people.users.second.remove(user, factor_id)
        return RedirectResponse("/console/security", 303)

    return await acting(request, parts, form_token, work)


@router.post("/passkeys/register/begin")
async def begin(request: Request, parts: PartsHere, asked: _Asked) -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        return JSONResponse(await _passkeys(parts).begin(user, parts.clock.now()))

    return await _answering(request, parts, asked.form_token, work)


@router.post("/passkeys/register/finish")
async def finish(request: Request, parts: PartsHere, asked: Registered) -> Response:
    async def work(caller: Caller) -> Response:
        user = await changeable(parts, caller.identity)
        await note(parts, caller.identity, user, "", "a passkey is added")
        codes = await _passkeys(parts).finish(
            user, asked.label, asked.credential, parts.clock.now()
        )
        # Recovery codes are shown by a page, not by an address: the person asks for them there.
        return JSONResponse({"next": "/console/security?added=1", "codes": len(codes)})

    return await _answering(request, parts, asked.form_token, work)


@router.post("/passkeys/sign-in/begin")
async def begin_sign_in(
    request: Request, parts: PartsHere, doors: DoorsHere, asked: _Asked
) -> Response:
    try:
        _ensure_own(request, parts, asked.form_token)
        parts.people.users.ensure_enabled()
        async with doors.guarded(client_address(request), "passkey"):
            return JSONResponse(await _passkeys(parts).begin_sign_in(parts.clock.now()))
    except TaskgateError as error:
        return respond_to(error)


@router.post("/passkeys/sign-in/finish")
async def sign_in(request: Request, parts: PartsHere, doors: DoorsHere, asked: Shown) -> Response:
    try:
        _ensure_own(request, parts, asked.form_token)

        async def check() -> Identity:
            parts.people.users.ensure_enabled()
            try:
                return await _passkeys(parts).sign_in(asked.credential, parts.clock.now())
            except CloneSuspected as suspected:
                await parts.alerts.sound(
                    "passkey.copied",
                    f"a passkey of local:{suspected.user} showed a counter that had gone back:"
                    " somebody may have a copy",
                    person=f"local:{suspected.user}",
                    task="",
                    subject=suspected.factor_id,
                    once=True,
                )
                raise

        done = await doors.pass_through(check, client_address(request), "passkey")
    except TaskgateError as error:
        return respond_to(error)
    response = JSONResponse({"next": local_path(asked.next)})
    set_cookie(response, COOKIE, done.token)
    drop_cookie(response, ANONYMOUS_COOKIE)
    return response


async def _page(
    request: Request,
    parts: Parts,
    caller: Caller,
    codes: tuple[str, ...] = (),
    done: str = "",
    enrolling: Mapping[str, str] | None = None,
) -> Response:
    user = own_name(caller.identity)
    if request.query_params.get("added"):
        done = "The passkey is added. Make recovery codes, and keep them elsewhere."
    values = {
        "here": "security",
        "found": shown(await parts.people.users.second.of(user)),
        "codes": codes,
        "done": done,
        "enrolling": enrolling,
        "passkeys": parts.people.passkeys is not None,
    }
    return page(request, "security.html", values, person=caller.identity.subject, scripted=True)


async def _answering(request: Request, parts: Parts, given: str, work: Any) -> Response:
    """The same as `acting` for a script: errors are problems, not pages."""
    token = session_token(request)
    try:
        identity = await parts.people.logins.check(token)
        ensure_own_form(request, token, given, parts.reach.base_url)
        response: Response = await work(Caller(identity, token))
    except TaskgateError as error:
        return respond_to(error)
    return response


def _ensure_own(request: Request, parts: Parts, given: str) -> None:
    cookie = request.cookies.get(ANONYMOUS_COOKIE, "")
    ensure_own_form(request, cookie, given, parts.reach.base_url)


def _passkeys(parts: Parts) -> Passkeys:
    """Raises: NotFound where this gateway's address takes none."""
    if parts.people.passkeys is None:
        raise NotFound(
            "browsers take no passkeys for this gateway's address",
            hint="public_url must be https:// with a domain, not a bare address",
        )
    return parts.people.passkeys
