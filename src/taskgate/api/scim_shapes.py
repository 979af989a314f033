"""SCIM's JSON: resources, lists, and what the gate says of itself (RFC 7643 sections 5 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from taskgate.gateway.provisioning import Changed, group_attributes
from taskgate.identity.scim.schemas import (
    DEPARTURE,
    GROUP,
    GROUPS,
    SCHEMAS,
    USER,
    USERS,
    ResourceKind,
    Schema,
)
from taskgate.model import limits
from taskgate.model.directory import DirectoryGroup
from taskgate.model.errors import NotFound

_CORE = "urn:ietf:params:scim:schemas:core:2.0"
_MESSAGES = "urn:ietf:params:scim:api:messages:2.0"
# Of a map of use, in an answer to the provider; taskgate where-used has all of it.
_MAX_PLACES = 200


def user_shown(changed: Changed, base: str) -> dict[str, Any]:
    """A user; with where their access had been in use, if this change shut them out."""
    user = changed.user
    shown: dict[str, Any] = {"schemas": [USER], "id": user.id, **user.attributes}
    if changed.groups:
        shown["groups"] = [
            {
                "value": group.id,
                "$ref": f"{base}/Groups/{group.id}",
                "display": group.display_name,
                "type": "direct",
            }
            for group in changed.groups
        ]
    if changed.left is not None:
        shown[DEPARTURE] = {
            "sessionsCut": len(changed.left.ended.sessions),
            "grantsRevoked": len({one.grant_id for one in changed.left.ended.revocations}),
            "places": [
                {
                    "source": place.source,
                    "application": place.application,
                    "host": place.host,
                    "task": place.task,
                    "resource": place.resource,
                    "times": place.times,
                    "lastAt": _moment(place.last_at),
                }
                for place in changed.left.places[:_MAX_PLACES]
            ],
        }
    shown["schemas"] = [USER, *(one.id for one in USERS.extensions if one.id in shown)]
    shown["meta"] = _meta("User", f"{base}/Users/{user.id}", user.created_at, user.changed_at)
    return shown


def group_shown(group: DirectoryGroup, base: str) -> dict[str, Any]:
    """A group."""
    shown: dict[str, Any] = {"schemas": [GROUP], "id": group.id, **group_attributes(group)}
    for member in shown.get("members", ()):
        member["$ref"] = f"{base}/Users/{member['value']}"
    shown["meta"] = _meta("Group", f"{base}/Groups/{group.id}", group.created_at, group.changed_at)
    return shown


def listed(page: Sequence[dict[str, Any]], total: int, start: int = 1) -> dict[str, Any]:
    """A ListResponse (RFC 7644 section 3.4.2)."""
    return {
        "schemas": [f"{_MESSAGES}:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(page),
        "Resources": list(page),
    }


def error_body(status: int, detail: str, kind: str) -> dict[str, Any]:
    """RFC 7644 section 3.12."""
    body = {"schemas": [f"{_MESSAGES}:Error"], "status": str(status), "detail": detail}
    return body | ({"scimType": kind} if kind else {})


def static(what: str, name: str, base: str) -> dict[str, Any]:
    """What the gate says of itself: all of `what`, or the one of that name.

    Raises: NotFound.
    """
    if what == "ServiceProviderConfig":
        return _provider(base)
    found = (
        {schema.id: _schema(schema, base) for schema in SCHEMAS}
        if what == "Schemas"
        else {kind.name: _kind(kind, base) for kind in (USERS, GROUPS)}
    )
    if not name:
        return listed(list(found.values()), len(found))
    if name not in found:
        raise NotFound(f"there is no {name} among the {what}")
    return found[name]


def _provider(base: str) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": limits.MAX_SCIM_PAGE},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer secret",
                "description": "The secret that scim.token names in the gateway's configuration",
                "primary": True,
            }
        ],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": f"{base}/ServiceProviderConfig",
        },
    }


def _schema(schema: Schema, base: str) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:Schema"],
        "id": schema.id,
        "name": schema.name,
        "description": schema.about,
        "attributes": [attribute.described() for attribute in schema.attributes],
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{schema.id}"},
    }


def _kind(kind: ResourceKind, base: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "schemas": [f"{_CORE}:ResourceType"],
        "id": kind.name,
        "name": kind.name,
        "description": kind.schema.about,
        "endpoint": kind.endpoint,
        "schema": kind.schema.id,
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{kind.name}"},
    }
    if kind.extensions:
        shown["schemaExtensions"] = [
            {"schema": extension.id, "required": False} for extension in kind.extensions
        ]
    return shown


def _meta(kind: str, location: str, created_at: float, changed_at: float) -> dict[str, Any]:
    return {
        "resourceType": kind,
        "created": _moment(created_at),
        "lastModified": _moment(changed_at),
        "location": location,
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
