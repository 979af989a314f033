"""JSON of local users and stored secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from taskgate.api.shapes import Asked, Name, Shown
from taskgate.model import limits


class SecretShown(Shown):
    """A stored secret's name; its value is never shown."""

    name: str
    set_at: float
    set_by: str


class SecretAsked(Asked):
    value: Annotated[SecretStr, Field(max_length=limits.MAX_SECRET_BYTES)]


class HostKeyShown(Shown):
    """A host key that was trusted when it was first seen, and in whose session."""

    resource: str
    address: str
    fingerprint: str
    key: str
    trusted_at: float
    by: str


class UserShown(Shown):
    name: str
    groups: list[str]
    created_at: float
    disabled: bool


class UserAsked(Asked):
    """`agent_for` names the local user for whom a new agent acts."""

    name: Name
    agent_for: Annotated[str, Field(max_length=200)] = ""
    groups: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)]


class PasswordAsked(Asked):
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)]


class GroupsAsked(Asked):
    groups: Annotated[list[Name], Field(max_length=100)]
