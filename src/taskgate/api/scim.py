"""SCIM 2.0 (RFC 7643, RFC 7644): a provider keeps people and groups here, and shuts them out.

Its own bearer secret opens this and nothing else; no API sign-in opens it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from taskgate.api.caller import client_address, parts_of
from taskgate.api.problems import TooMany
from taskgate.api.scim_shapes import error_body, group_shown, listed, static, user_shown
from taskgate.gateway.parts import Scim
from taskgate.gateway.provisioning import Changed, fault_of
from taskgate.gateway.rates import Rates, source_of
from taskgate.identity.scim.faults import ScimFault, bad_syntax
from taskgate.identity.scim.filters import Filter, matches, parse_filter, parse_path
from taskgate.identity.scim.schemas import names_schema
from taskgate.model import limits
from taskgate.model.directory import DirectoryGroup
from taskgate.model.errors import NotAuthenticated, NotFound, TaskgateError
from taskgate.model.event import EventKind

MEDIA_TYPE = "application/scim+json"
_SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
# Failed tries of one source in a minute.
_MAX_FAILURES = 30


class _ScimRoute(APIRoute):
    """Errors in SCIM's form instead of problem details."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except TaskgateError as error:
                return _refused(error)

        return handler


router = APIRouter(prefix="/scim/v2", route_class=_ScimRoute, include_in_schema=False)


class ScimTries:
    """How often one source may try a wrong secret."""

    def __init__(self) -> None:
        self.failures = Rates(_MAX_FAILURES)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request from the provider: what keeps people here, and where this is."""

    scim: Scim
    base: str


async def _provider(request: Request) -> Asked:
    """Raises: NotAuthenticated, TooMany."""
    parts = parts_of(request)
    scim = parts.people.scim
    if scim is None:
        raise NotFound("nobody provisions here")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    tries: ScimTries = request.app.state.scim_tries
    source = client_address(request)
    try:
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("send the SCIM token as Authorization: Bearer ...")
        await scim.door.check(token.strip())
    except NotAuthenticated:
        wait_s = tries.failures.wait_s(source_of(source), parts.clock.monotonic())
        if wait_s > 0:
            raise TooMany(wait_s) from None
        await parts.records.log(EventKind.LOGIN_FAILED, None, {"door": "scim", "from": source})
        raise
    return Asked(scim, f"{parts.reach.base_url}/scim/v2")


Here = Annotated[Asked, Depends(_provider)]


@router.get("/ServiceProviderConfig")
async def service_provider_config(asked: Here) -> Response:
    """What of SCIM there is."""
    return _answer(static("ServiceProviderConfig", "", asked.base))


@router.get("/Schemas")
@router.get("/ResourceTypes")
async def described(request: Request, asked: Here) -> Response:
    """All schemas, or all types of resource."""
    if "filter" in request.query_params:
        # RFC 7644 section 4.
        raise ScimFault("there is no filtering here", status=403)
    return _answer(static(request.url.path.rpartition("/")[2], "", asked.base))


@router.get("/Schemas/{name}")
@router.get("/ResourceTypes/{name}")
async def described_one(name: str, request: Request, asked: Here) -> Response:
    """One schema, or one type of resource."""
    return _answer(static(request.url.path.split("/")[-2], name, asked.base))


@router.get("/Users")
async def users(request: Request, asked: Here) -> Response:
    """Filtered and paged."""
    return await _users(asked, dict(request.query_params))


@router.post("/Users/.search")
async def search_users(request: Request, asked: Here) -> Response:
    """The same by POST (RFC 7644 section 3.4.3)."""
    return await _users(asked, await _search(request))


@router.post("/Users")
async def add_user(request: Request, asked: Here) -> Response:
    made = await asked.scim.provisioning.add_user(await _body(request), asked.scim.door.subject)
    return _user(asked, made, request, 201)


@router.get("/Users/{user_id}")
async def user(user_id: str, request: Request, asked: Here) -> Response:
    return _user(asked, await asked.scim.provisioning.user(user_id), request)


@router.put("/Users/{user_id}")
async def replace_user(user_id: str, request: Request, asked: Here) -> Response:
    """`active: false` shuts the person out before this answers."""
    subject = asked.scim.door.subject
    changed = await asked.scim.provisioning.replace_user(user_id, await _body(request), subject)
    return _user(asked, changed, request)


@router.patch("/Users/{user_id}")
async def patch_user(user_id: str, request: Request, asked: Here) -> Response:
    """`active: false` shuts the person out before this answers."""
    subject = asked.scim.door.subject
    changed = await asked.scim.provisioning.patch_user(user_id, await _body(request), subject)
    return _user(asked, changed, request)


@router.delete("/Users/{user_id}")
async def remove_user(user_id: str, asked: Here) -> Response:
    """Shuts the person out, and forgets them."""
    await asked.scim.provisioning.remove_user(user_id)
    return Response(status_code=204)


@router.get("/Groups")
async def groups(request: Request, asked: Here) -> Response:
    """Filtered and paged."""
    return await _groups(asked, dict(request.query_params))


@router.post("/Groups/.search")
async def search_groups(request: Request, asked: Here) -> Response:
    """The same by POST."""
    return await _groups(asked, await _search(request))


@router.post("/Groups")
async def add_group(request: Request, asked: Here) -> Response:
    made = await asked.scim.provisioning.add_group(await _body(request))
    return _one(group_shown(made, asked.base), request, 201)


@router.get("/Groups/{group_id}")
async def group(group_id: str, request: Request, asked: Here) -> Response:
    found = await asked.scim.provisioning.group(group_id)
    return _one(group_shown(found, asked.base), request)


@router.put("/Groups/{group_id}")
async def replace_group(group_id: str, request: Request, asked: Here) -> Response:
    """Whoever is no longer in it is cut off."""
    made = await asked.scim.provisioning.replace_group(group_id, await _body(request))
    return _one(group_shown(made, asked.base), request)


@router.patch("/Groups/{group_id}")
async def patch_group(group_id: str, request: Request, asked: Here) -> Response:
    """Whoever is no longer in it is cut off."""
    made = await asked.scim.provisioning.patch_group(group_id, await _body(request))
    return _one(group_shown(made, asked.base), request)


@router.delete("/Groups/{group_id}")
async def remove_group(group_id: str, asked: Here) -> Response:
    """Its members are cut off."""
    await asked.scim.provisioning.remove_group(group_id)
    return Response(status_code=204)


@router.post("/.search")
async def search(request: Request, asked: Here) -> Response:
    """Users and groups at once."""
    query = await _search(request)
    shown = [*await _shown_users(asked), *await _shown_groups(asked)]
    return _answer(await asyncio.to_thread(_page, shown, query))


@router.get("/{rest:path}")
async def nothing(rest: str, asked: Here) -> Response:
    """Whatever else there might be, said in SCIM's form."""
    raise NotFound("there is nothing at this address")


async def _users(asked: Asked, query: Mapping[str, Any]) -> Response:
    shown = await _shown_users(asked)
    return _answer(await asyncio.to_thread(_page, shown, query))


async def _groups(asked: Asked, query: Mapping[str, Any]) -> Response:
    shown = await _shown_groups(asked)
    return _answer(await asyncio.to_thread(_page, shown, query))


async def _shown_users(asked: Asked) -> list[dict[str, Any]]:
    found = await asked.scim.provisioning.users()
    groups = await asked.scim.provisioning.groups()

    def shown() -> list[dict[str, Any]]:
        of_user: dict[str, list[DirectoryGroup]] = {}
        for group in groups:
            for member in group.members:
                of_user.setdefault(member, []).append(group)
        return [
            user_shown(Changed(one, tuple(of_user.get(one.id, ()))), asked.base) for one in found
        ]

    return await asyncio.to_thread(shown)


async def _shown_groups(asked: Asked) -> list[dict[str, Any]]:
    found = await asked.scim.provisioning.groups()
    return await asyncio.to_thread(lambda: [group_shown(one, asked.base) for one in found])


def _page(shown: list[dict[str, Any]], query: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7644 section 3.4.2.4: from 1, and what is out of range is the nearest that is not."""
    text = query.get("filter")
    wanted: Filter | None = parse_filter(str(text)) if text else None
    fitting = [one for one in shown if wanted is None or matches(one, wanted)]
    start = max(1, _whole(query.get("startIndex"), 1))
    count = min(max(0, _whole(query.get("count"), limits.MAX_SCIM_PAGE)), limits.MAX_SCIM_PAGE)
    page = fitting[start - 1 : start - 1 + count]
    only, without = _names(query.get("attributes")), _names(query.get("excludedAttributes"))
    return listed([_projected(one, only, without) for one in page], len(fitting), start)


def _whole(value: Any, default: int) -> int:
    if value in (None, ""):
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ScimFault("startIndex and count are whole numbers", kind="invalidValue") from None


def _names(value: Any) -> frozenset[tuple[str, str]]:
    words = value if isinstance(value, list) else str(value).split(",") if value else []
    paths = [parse_path(str(word)) for word in words]
    return frozenset((path.name, path.sub) for path in paths)


def _projected(
    shown: Mapping[str, Any],
    only: frozenset[tuple[str, str]],
    without: frozenset[tuple[str, str]],
) -> dict[str, Any]:
    """`attributes` and `excludedAttributes`; `id` and `schemas` always stay."""
    always = {"id", "schemas"}
    whole = {name for name, sub in only if not sub}
    found: dict[str, Any] = {}
    for key, value in shown.items():
        name = key.lower()
        if name in always or not (only or without):
            found[key] = value
        elif only:
            subs = {sub for one, sub in only if one == name and sub}
            if name in whole:
                found[key] = value
            elif subs:
                found[key] = _parts(value, subs, keep=True)
        elif (name, "") not in without:
            subs = {sub for one, sub in without if one == name and sub}
            found[key] = _parts(value, subs, keep=False)
    return found


def _parts(value: Any, named: set[str], *, keep: bool) -> Any:
    """What is left of a value where only the named parts are kept, or they are left out."""
    if isinstance(value, list):
        return [_parts(one, named, keep=keep) for one in value]
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if (key.lower() in named) is keep}
    return value


def _user(asked: Asked, changed: Changed, request: Request, status: int = 200) -> Response:
    return _one(user_shown(changed, asked.base), request, status)


def _one(shown: dict[str, Any], request: Request, status: int = 200) -> Response:
    query = request.query_params
    only, without = _names(query.get("attributes")), _names(query.get("excludedAttributes"))
    headers = {"Location": shown["meta"]["location"]}
    return _answer(_projected(shown, only, without), status, headers)


async def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MEDIA_TYPE, "application/json"):
        raise ScimFault(f"send {MEDIA_TYPE}", status=415)
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise bad_syntax("the body is not JSON") from None


async def _search(request: Request) -> dict[str, Any]:
    body = await _body(request)
    if not isinstance(body, dict) or not names_schema(body, _SEARCH):
        raise bad_syntax(f"schemas must name {_SEARCH}")
    return body


def _answer(
    body: Mapping[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def _refused(error: TaskgateError) -> Response:
    fault = fault_of(error)
    status = fault.http_status if fault is not None else error.http_status
    if status == 500:
        raise error
    kind = fault.kind if fault is not None else ""
    headers = {"WWW-Authenticate": 'Bearer realm="scim"'} if status == 401 else None
    if isinstance(error, TooMany):
        headers = {"Retry-After": str(max(1, round(error.wait_s)))}
    return _answer(error_body(status, error.message, kind), status, headers)
