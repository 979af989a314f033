"""People and groups as a provider keeps them here by SCIM (RFC 7643)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """One SCIM user. `attributes` is the resource as the provider wrote it, checked, without what
    the gate itself answers (`id`, `meta`, `groups`). `subject` is the `Identity.subject` by which
    the person signs in. `version` grows by one with each change. Times are seconds since the
    epoch."""

    id: str
    user_name: str
    external_id: str
    subject: str
    active: bool
    attributes: Mapping[str, Any] = field(repr=False)
    created_at: float
    changed_at: float
    version: int = 1


@dataclass(frozen=True, slots=True)
class DirectoryGroup:
    """One SCIM group; `members` are ids of users; `version` as of a user."""

    id: str
    display_name: str
    external_id: str
    members: frozenset[str]
    created_at: float
    changed_at: float
    version: int = 1


@dataclass(frozen=True, slots=True)
class Listed:
    """What the directory knows of one person who signs in."""

    user_id: str
    active: bool
    groups: frozenset[str]
