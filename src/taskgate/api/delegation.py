"""Narrower grants out of grants: by their holder, or by whoever has a grant's token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from taskgate.api.access import connections_of, grant_shown
from taskgate.api.caller import MAX_TOKEN_CHARS, PartsHere, caller_of
from taskgate.api.people_shapes import DeriveAsked, Derived, LinkShown
from taskgate.gateway.parts import Parts
from taskgate.identity.delegation import Wish
from taskgate.identity.grants import Issued
from taskgate.identity.tokens import TokenKind, looks_right
from taskgate.model.errors import NotFound, NotRecorded
from taskgate.model.event import EventKind
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.token import GrantSelector
from taskgate.policy.bounds import parse_lines

router = APIRouter()
# In place of a grant's id: the one whose token came with the request.
SELF = "self"


async def _parent(grant_id: str, request: Request, parts: PartsHere) -> tuple[Grant, Identity]:
    """The live grant to derive from, and who derives. A grant's own token opens that grant alone;
    an API sign-in all grants of its holder, those of agents that act for them too.

    Raises: NotAuthenticated; NotFound where there is none, or it is somebody else's.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    found: Grant | None
    who: Identity
    if scheme.lower() == "bearer" and len(token) <= MAX_TOKEN_CHARS and _is_grants(token):
        found = await parts.people.grants.holder_of(token)
        who = found.identity
        if grant_id not in (SELF, found.id):
            found = None
    else:
        caller = await caller_of(request, parts)
        who = caller.identity
        found = await parts.people.grants.get(grant_id)
        if found is not None and caller.key not in found.identity.keys:
            found = None
    if found is None or not found.live(parts.clock.now()):
        raise NotFound(f"you hold no live grant {grant_id}", hint="taskgate grants lists yours")
    return found, who


def _is_grants(token: str) -> bool:
    return looks_right(token, TokenKind.GRANT)


@router.post("/grants/{grant_id}/derive", status_code=201)
async def derive(
    asked: DeriveAsked, by: Annotated[tuple[Grant, Identity], Depends(_parent)], parts: PartsHere
) -> Derived:
    """A child of a grant, never wider: what it permits, reaches, lasts and how often it may be
    used is at most the parent's. It ends with its parent. The token is shown in this answer
    only."""
    parent, who = by
    wish = Wish(
        permit=parse_lines(asked.permit) if asked.permit is not None else None,
        resources=tuple(asked.resources),
        lasts_s=asked.lasts_s,
        uses=asked.uses,
        step=asked.step,
        reason=asked.reason,
        agent=asked.agent,
    )
    issued = await parts.people.delegation.derive(parent, wish)
    grant = issued.grant
    try:
        await parts.records.log(EventKind.GRANT_DERIVED, who, _facts(grant))
    except NotRecorded:
        # Nobody has its token yet, and nobody shall.
        await parts.people.grants.revoke(GrantSelector(grant_id=grant.id), "it was not recorded")
        raise
    return _derived(parts, issued)


def _facts(grant: Grant) -> dict[str, object]:
    return {
        "grant": grant.id,
        "object": grant.id,
        "parent": grant.parent,
        "holder": grant.identity.key,
        "task": grant.task,
        "resources": list(grant.resources),
        "step": grant.step,
        "reason": grant.reason,
        "permit": [[str(line) for line in level] for level in grant.narrowings],
        "uses": grant.uses_left,
        "expires_at": grant.expires_at,
        "chain": [
            {"grant": link.grant, "identity": link.identity, "step": link.step}
            for link in grant.chain
        ],
    }


def _derived(parts: Parts, issued: Issued) -> Derived:
    grant = issued.grant
    connections, ca_pem = connections_of(parts, grant)
    return Derived(
        grant=grant_shown(grant, parts.clock.now()),
        token=issued.token,
        connections=connections,
        ca_pem=ca_pem,
        step=grant.step,
        uses_left=grant.uses_left,
        permit=[[str(line) for line in level] for level in grant.narrowings],
        chain=[
            LinkShown(grant=link.grant, who=link.identity, step=link.step) for link in grant.chain
        ],
    )
