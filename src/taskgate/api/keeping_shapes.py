"""JSON of local users and stored secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from taskgate.api.shapes import Name
from taskgate.model import limits


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class SecretShown(_Shown):
    """A stored secret's name; its value is never shown."""

    name: str
    set_at: float
    set_by: str


class SecretAsked(_Asked):
    value: Annotated[SecretStr, Field(max_length=limits.MAX_SECRET_BYTES)]


class UserShown(_Shown):
    name: str
    groups: list[str]
    created_at: float
    disabled: bool


class UserAsked(_Asked):
    """`agent_for` names the local user for whom a new agent acts."""

    name: Name
    agent_for: Annotated[str, Field(max_length=200)] = ""
    groups: Annotated[list[Name], Field(max_length=100)] = []
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)]


class PasswordAsked(_Asked):
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)]


class GroupsAsked(_Asked):
    groups: Annotated[list[Name], Field(max_length=100)]
