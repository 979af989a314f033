"""Signing in, tasks and grants: what each person does for themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from taskgate.api.caller import CallerHere, PartsHere, may, need_scope
from taskgate.api.shapes import (
    Connection,
    GrantAsked,
    GrantIssued,
    GrantShown,
    Me,
    RevokeAsked,
    SignInWanted,
    TaskShown,
    TokenIssued,
)
from taskgate.gateway.parts import Parts
from taskgate.identity.oidc.compact import looks_like_jwt
from taskgate.model.errors import BadConfig, Conflict, NotFound, NotRecorded
from taskgate.model.event import EventKind
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.token import GrantSelector
from taskgate.policy.hours import open_at
from taskgate.policy.people import may_take_up
from taskgate.policy.roles import scope_of
from taskgate.policy.rules import Policy, Right, Task

router = APIRouter()
LISTED = 500


@router.post("/logout", status_code=204)
async def logout(caller: CallerHere, parts: PartsHere) -> Response:
    """Ends the token that the request came with."""
    if looks_like_jwt(caller.token):
        raise Conflict(
            "this is a token of the identity provider's own, and ends with it",
            hint="sign out there; taskgate login gives a sign-in that ends here",
        )
    await parts.people.logins.end(caller.token)
    await parts.records.log(EventKind.LOGOUT, caller.identity, {})
    return Response(status_code=204)


@router.get("/me")
async def me(caller: CallerHere, parts: PartsHere) -> Me:
    """Who the gateway takes the caller for."""
    return me_of(parts.policies.current, caller.identity)


@router.get("/tasks")
async def tasks(caller: CallerHere, parts: PartsHere) -> list[TaskShown]:
    """The tasks that the caller may take up, by name; nobody learns of others."""
    now = parts.clock.now()
    return [
        _task_shown(task, now)
        for task in sorted(parts.policies.current.tasks.values(), key=lambda task: task.name)
        if may_take_up(task, caller.identity)
    ]


@router.post("/grants", status_code=201)
async def request_grant(asked: GrantAsked, caller: CallerHere, parts: PartsHere) -> GrantIssued:
    """Takes a task up. The token is shown in this answer only."""
    issued = await parts.people.grants.request(
        caller.identity,
        asked.task,
        asked.reason,
        resource=asked.resource,
        lasts_s=asked.lasts_s,
    )
    grant = issued.grant
    facts = {
        "grant": grant.id,
        "task": grant.task,
        "resources": list(grant.resources),
        "reason": grant.reason,
        "expires_at": grant.expires_at,
    }
    try:
        await parts.records.log(EventKind.GRANT_ISSUED, caller.identity, facts)
    except NotRecorded:
        # Nobody has its token yet, and nobody shall.
        await parts.people.grants.revoke(GrantSelector(grant_id=grant.id), "it was not recorded")
        raise
    connections, ca_pem = connections_of(parts, issued.grant)
    return GrantIssued(
        grant=grant_shown(grant, parts.clock.now()),
        token=issued.token,
        connections=connections,
        ca_pem=ca_pem,
    )


@router.post("/grants/{grant_id}/tokens", status_code=201)
async def issue_token(grant_id: str, caller: CallerHere, parts: PartsHere) -> TokenIssued:
    """One more token for a live grant of the caller's own."""
    facts = {"grant": grant_id}
    await parts.records.log(EventKind.TOKEN_ISSUED, caller.identity, facts)
    issued = await parts.people.grants.issue_token(caller.identity, grant_id)
    connections, ca_pem = connections_of(parts, issued.grant)
    return TokenIssued(token=issued.token, connections=connections, ca_pem=ca_pem)


@router.get("/grants")
async def list_grants(
    caller: CallerHere,
    parts: PartsHere,
    everyone: Annotated[bool, Query(alias="all")] = False,
    ended: bool = False,
) -> list[GrantShown]:
    """The caller's own, newest first; everybody's with the right to audit, revoke or
    administer."""
    return await grants_of(parts, caller.identity, everyone=everyone, ended=ended)


async def grants_of(
    parts: Parts, identity: Identity, *, everyone: bool, ended: bool
) -> list[GrantShown]:
    """Raises: Denied."""
    selector, tasks = GrantSelector(person=identity.key), None
    if everyone:
        tasks = need_scope(
            parts.policies.current, identity, Right.AUDIT, Right.REVOKE, Right.ADMINISTER
        ).tasks
        selector = GrantSelector()
    found = await parts.people.grants.list(selector, live=not ended, limit=LISTED, tasks=tasks)
    now = parts.clock.now()
    return [grant_shown(grant, now) for grant in found]


@router.post("/grants/{grant_id}/revoke", status_code=204)
async def revoke_grant(
    grant_id: str, asked: RevokeAsked, caller: CallerHere, parts: PartsHere
) -> Response:
    """Ends a grant now. One's own always; others' with the right to revoke."""
    await end_grant(parts, caller.identity, grant_id, asked.why)
    return Response(status_code=204)


@router.delete("/grants/{grant_id}", status_code=204)
async def delete_grant(grant_id: str, caller: CallerHere, parts: PartsHere) -> Response:
    """The same without a reason."""
    await end_grant(parts, caller.identity, grant_id, "")
    return Response(status_code=204)


async def end_grant(parts: Parts, identity: Identity, grant_id: str, why: str) -> None:
    """Raises: NotFound where there is none, it is over, or it is somebody else's to end."""
    grant = await parts.people.grants.get(grant_id)
    own = grant is not None and identity.key in grant.identity.keys
    if (
        grant is None
        or not grant.live(parts.clock.now())
        or not (own or may(parts.policies.current, identity, Right.REVOKE, task=grant.task))
    ):
        raise NotFound(
            f"there is no live grant {grant_id} that you may end",
            hint="taskgate grants lists yours; others' need the right to revoke",
        )
    stated = why.strip() or ("its holder ended it" if own else f"revoked by {identity.key}")
    if not stated.isprintable():
        raise BadConfig("the reason holds control characters")
    facts = {"grant": grant_id, "holder": grant.identity.key, "task": grant.task, "reason": stated}
    try:
        await parts.records.log(EventKind.GRANT_REVOKED, identity, facts)
    finally:
        # Taking rights away never waits for anything: it happens though nobody can write it down.
        await parts.people.grants.revoke(GrantSelector(grant_id=grant_id), stated)


def me_of(policy: Policy, identity: Identity) -> Me:
    return Me(
        key=identity.key,
        subject=identity.subject,
        issuer=identity.issuer,
        kind=identity.kind.value,
        groups=sorted(identity.groups),
        rights=[right.value for right in Right if scope_of(policy, identity, right)],
        over=_over(policy, identity),
        method=identity.method,
        authenticated_at=identity.authenticated_at,
        amr=sorted(identity.authentication.amr),
        acr=identity.authentication.acr,
        auth_time=identity.authentication.auth_time,
    )


def _over(policy: Policy, identity: Identity) -> dict[str, list[str]]:
    scopes = {right.value: scope_of(policy, identity, right).tasks for right in Right}
    return {right: sorted(tasks) for right, tasks in scopes.items() if tasks}


def grant_shown(grant: Grant, now: float) -> GrantShown:
    return GrantShown(
        id=grant.id,
        who=grant.identity.key,
        task=grant.task,
        reason=grant.reason,
        resources=list(grant.resources),
        not_before=grant.not_before,
        expires_at=grant.expires_at,
        revoked_at=grant.revoked_at,
        revoked_why=grant.revoked_why,
        live=grant.live(now),
        parent=grant.parent,
        step=grant.step,
        uses_left=grant.uses_left,
        permit=[[str(line) for line in level] for level in grant.narrowings],
    )


def _task_shown(task: Task, now: float) -> TaskShown:
    return TaskShown(
        name=task.name,
        description=task.description,
        resources=list(task.resources),
        lasts_default_s=task.lasts.default_s,
        lasts_at_most_s=task.lasts.at_most_s,
        hours="; ".join(task.hours.text) if task.hours is not None else "",
        open_now=open_at(task, now),
        sign_in=SignInWanted.of(task.sign_in) if task.sign_in is not None else None,
    )


def connections_of(parts: Parts, grant: Grant) -> tuple[list[Connection], str]:
    """How to reach the grant's resources, and what to trust there."""
    policy = parts.policies.current
    task = policy.tasks.get(grant.task)
    several = task is not None and len(task.resources) > 1
    found = []
    for name in grant.resources:
        resource = policy.resources.get(name)
        door = parts.reach.doors.get(resource.protocol) if resource is not None else None
        if resource is None or door is None:
            continue
        found.append(
            Connection(
                resource=name,
                protocol=resource.protocol,
                host=door.host,
                port=door.port,
                user=f"{grant.task}+{name}" if several else grant.task,
                database=resource.database,
                tls=door.tls,
                known_hosts=parts.reach.ssh_known_hosts if resource.protocol == "ssh" else "",
            )
        )
    return found, parts.reach.ca_pem
