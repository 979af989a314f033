"""Users and stored secrets: what an administrator keeps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from taskgate.api.caller import CallerHere, PartsHere, need
from taskgate.api.keeping_shapes import (
    GroupsAsked,
    PasswordAsked,
    SecretAsked,
    SecretShown,
    UserAsked,
    UserShown,
)
from taskgate.gateway.foundation import RESERVED, ensure_not_reserved
from taskgate.gateway.parts import Parts
from taskgate.identity.local import ISSUER, normal_name
from taskgate.model.account import User
from taskgate.model.errors import BadConfig, Conflict, Denied, NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.secret import Secret
from taskgate.policy.rules import Right

router = APIRouter()
NameInPath = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("/users")
async def users(caller: CallerHere, parts: PartsHere) -> list[UserShown]:
    """Every local user, by name. Needs the right to administer."""
    _need(parts, caller.identity)
    return [_user_shown(user) for user in await parts.people.users.list()]


@router.post("/users", status_code=201)
async def add_user(asked: UserAsked, caller: CallerHere, parts: PartsHere) -> UserShown:
    """A new local user. Needs the right to administer."""
    _need(parts, caller.identity)
    await _log(parts, caller.identity, asked.name, "added", groups=sorted(asked.groups))
    user = await parts.people.users.add(
        asked.name,
        asked.password.get_secret_value(),
        frozenset(asked.groups),
        parts.clock.now(),
        kind=IdentityKind.AGENT if asked.agent_for else IdentityKind.HUMAN,
        acts_for=asked.agent_for,
    )
    return _user_shown(user)


@router.post("/users/{name}/password", status_code=204)
async def set_password(
    name: NameInPath, asked: PasswordAsked, caller: CallerHere, parts: PartsHere
) -> Response:
    """Replaces a password; the user's sign-ins and grants end."""
    _need(parts, caller.identity)
    await _log(parts, caller.identity, name, "password replaced")
    await parts.people.users.set_password(
        name, asked.password.get_secret_value(), parts.clock.now()
    )
    await parts.people.grants.poll()
    return Response(status_code=204)


@router.post("/users/{name}/groups", status_code=204)
async def set_groups(
    name: NameInPath, asked: GroupsAsked, caller: CallerHere, parts: PartsHere
) -> Response:
    """Replaces a user's groups; taking one away ends the user's sign-ins and grants."""
    _need(parts, caller.identity)
    _ensure_other(caller.identity, name)
    await _log(parts, caller.identity, name, "groups replaced", groups=sorted(asked.groups))
    await parts.people.users.set_groups(name, frozenset(asked.groups), parts.clock.now())
    await parts.people.grants.poll()
    return Response(status_code=204)


@router.post("/users/{name}/disable", status_code=204)
async def disable(name: NameInPath, caller: CallerHere, parts: PartsHere) -> Response:
    """Cuts a user off: sign-ins, grants and live sessions end now."""
    _need(parts, caller.identity)
    try:
        await _log(parts, caller.identity, name, "disabled")
    finally:
        # Offboarding never waits for anything.
        await parts.people.users.set_disabled(name, True, parts.clock.now())
        await parts.people.grants.poll()
    return Response(status_code=204)


@router.post("/users/{name}/enable", status_code=204)
async def enable(name: NameInPath, caller: CallerHere, parts: PartsHere) -> Response:
    """Lets a disabled user sign in again."""
    _need(parts, caller.identity)
    key = f"{ISSUER}:{normal_name(name)}"
    if await parts.people.leaving.departures((key,)):
        # Else whoever administers users could undo what only those who offboard may.
        raise Conflict(
            f"{name} was offboarded", hint=f"taskgate reinstate {name} lets them in again"
        )
    await _log(parts, caller.identity, name, "enabled")
    await parts.people.users.set_disabled(name, False, parts.clock.now())
    return Response(status_code=204)


@router.get("/secrets")
async def secrets(caller: CallerHere, parts: PartsHere) -> list[SecretShown]:
    """The stored secrets' names; no value is ever shown. Needs the right to administer."""
    _need(parts, caller.identity)
    return [
        SecretShown(name=one.name, set_at=one.set_at, set_by=one.set_by)
        for one in await parts.secrets.list()
        if not one.name.startswith(RESERVED)
    ]


@router.put("/secrets/{name:path}", status_code=204)
async def set_secret(
    name: NameInPath, asked: SecretAsked, caller: CallerHere, parts: PartsHere
) -> Response:
    """Stores a secret, in place of what was there. Needs the right to administer."""
    _need(parts, caller.identity)
    ensure_not_reserved(name)
    await parts.records.log(EventKind.SECRET_SET, caller.identity, {"name": name})
    value = Secret(asked.value.get_secret_value())
    await parts.secrets.set(name, value, by=caller.key, now=parts.clock.now())
    return Response(status_code=204)


@router.delete("/secrets/{name:path}", status_code=204)
async def remove_secret(name: NameInPath, caller: CallerHere, parts: PartsHere) -> Response:
    """Forgets a stored secret. Needs the right to administer."""
    _need(parts, caller.identity)
    ensure_not_reserved(name)
    facts = {"name": name, "reason": "removed"}
    await parts.records.log(EventKind.SECRET_SET, caller.identity, facts)
    if not await parts.secrets.remove(name):
        raise NotFound("there is no such secret", hint="taskgate secret list shows their names")
    return Response(status_code=204)


def _need(parts: Parts, identity: Identity) -> None:
    need(parts.policies.current, identity, Right.ADMINISTER)


def _ensure_other(identity: Identity, name: str) -> None:
    """Groups carry rights: nobody who keeps users gives themselves more. Raises: Denied."""
    try:
        meant = normal_name(name)
    except BadConfig:
        return
    if f"{ISSUER}:{meant}" in identity.keys:
        raise Denied(
            "nobody changes their own groups",
            rule="roles",
            hint="another administrator must; or taskgate user groups --config, on the host",
        )


async def _log(
    parts: Parts, who: Identity, name: str, change: str, *, groups: list[str] | None = None
) -> None:
    facts: dict[str, object] = {"name": name[:200], "reason": change}
    if groups is not None:
        facts["groups"] = groups
    await parts.records.log(EventKind.USER_CHANGED, who, facts)


def _user_shown(user: User) -> UserShown:
    return UserShown(
        name=user.name,
        groups=sorted(user.groups),
        created_at=user.created_at,
        disabled=user.disabled,
    )
