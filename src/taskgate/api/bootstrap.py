"""Becoming the first administrator, by the code that the gateway printed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from taskgate.api.caller import PartsHere, caller_of, client_address
from taskgate.api.signing_in import Doors, doors_of
from taskgate.identity.local import ISSUER, normal_name
from taskgate.model import limits
from taskgate.model.errors import BadConfig
from taskgate.model.identity import IdentityKind

router = APIRouter()


class BootstrapAsked(BaseModel):
    """With `name` and `password` a local user is made; without, it is whoever is signed in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Annotated[SecretStr, Field(min_length=1, max_length=100)]
    name: Annotated[str, Field(max_length=200)] = ""
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)] = SecretStr("")


@router.post("/bootstrap", status_code=204)
async def bootstrap(
    asked: BootstrapAsked,
    request: Request,
    parts: PartsHere,
    doors: Annotated[Doors, Depends(doors_of)],
) -> Response:
    """Takes the one-time code, and makes its bearer the first administrator for a day."""
    code, source = asked.code.get_secret_value(), client_address(request)

    async def add() -> None:
        if asked.name:
            await parts.people.users.add(
                asked.name, asked.password.get_secret_value(), frozenset(), parts.clock.now()
            )

    async with doors.guarded(source, "bootstrap"):
        await parts.people.bootstrap.ensure_right(code)
        if asked.name:
            parts.people.users.ensure_enabled()
            key = f"{ISSUER}:{normal_name(asked.name)}"
        else:
            identity = (await caller_of(request, parts)).identity
            if identity.kind is not IdentityKind.HUMAN or identity.acts_for is not None:
                raise BadConfig("an administrator is a person", hint="sign in as yourself")
            key = identity.key
        await parts.people.bootstrap.use(code, key, source, add)
    return Response(status_code=204)
