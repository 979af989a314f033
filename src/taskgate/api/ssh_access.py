"""Signing in by SSH: certificates, registered keys, and what a client has to know of the gate."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from taskgate.api.caller import Caller, CallerHere, PartsHere, may, need
from taskgate.api.ssh_shapes import (
    CertificateAsked,
    CertificateIssued,
    KeyAsked,
    KeyChallenge,
    KeyOffered,
    KeyShown,
    SshHost,
    SshReach,
)
from taskgate.gateway.parts import Parts
from taskgate.gateway.ssh_access import PROOF_NAMESPACE, SshAccess
from taskgate.identity.oidc.compact import looks_like_jwt
from taskgate.model.errors import Conflict, NotFound
from taskgate.model.ssh_access import RegisteredKey
from taskgate.model.token import GrantSelector
from taskgate.policy.people import may_take_up
from taskgate.policy.rules import Right

router = APIRouter(prefix="/ssh")


def _access_of(parts: Parts) -> SshAccess:
    """Raises: NotFound."""
    if parts.people.ssh is None:
        raise NotFound(
            "nobody comes in by SSH", hint="ssh: {} in the gateway's configuration lets them"
        )
    return parts.people.ssh


@router.get("")
async def reach(caller: CallerHere, parts: PartsHere) -> SshReach:
    """Where the SSH listener is, how to know it, and which hosts the caller may reach by it."""
    _access_of(parts)
    door = parts.reach.doors["ssh"]
    policy = parts.policies.current
    held = {
        (grant.task, resource)
        for grant in await parts.people.grants.list(GrantSelector(person=caller.key))
        for resource in grant.resources
        if grant.identity.key == caller.key
    }
    hosts = [
        SshHost(
            resource=name,
            task=task.name,
            user=f"{task.name}+{name}" if len(task.resources) > 1 else task.name,
            held=(task.name, name) in held,
        )
        for task in sorted(policy.tasks.values(), key=lambda task: task.name)
        if may_take_up(task, caller.identity) or any(task.name == one for one, _ in held)
        for name in sorted(task.resources)
        if name in policy.resources and policy.resources[name].protocol == "ssh"
    ]
    return SshReach(
        host=door.host, port=door.port, authority=parts.reach.ssh_authority, hosts=hosts
    )


@router.post("/certificates", status_code=201)
async def certify(
    asked: CertificateAsked, caller: CallerHere, parts: PartsHere
) -> CertificateIssued:
    """A certificate for a key of the caller's. It ends with their sign-in."""
    access = _access_of(parts)
    _ensure_own_sign_in(caller)
    signed_in = await parts.people.logins.login_of(caller.token)
    made = await access.certify(signed_in, asked.public_key, asked.lasts_s, asked.sources)
    return CertificateIssued(
        certificate=made.line, serial=str(made.serial), expires_at=made.expires_at
    )


@router.get("/keys")
async def keys(
    caller: CallerHere, parts: PartsHere, everyone: Annotated[bool, Query(alias="all")] = False
) -> list[KeyShown]:
    """The caller's registered keys; everybody's with the right to administer."""
    access = _access_of(parts)
    if everyone:
        need(parts.policies.current, caller.identity, Right.ADMINISTER)
    return [_shown(one) for one in await access.keys(None if everyone else caller.key)]


@router.post("/keys/challenge")
async def challenge(asked: KeyOffered, caller: CallerHere, parts: PartsHere) -> KeyChallenge:
    """What is to be signed with a key to register it; good for the caller's sign-in alone."""
    access = _access_of(parts)
    _ensure_own_sign_in(caller)
    signed_in = await parts.people.logins.login_of(caller.token)
    text = access.challenge(signed_in, asked.public_key)
    return KeyChallenge(namespace=PROOF_NAMESPACE, text=text)


@router.post("/keys", status_code=201)
async def add_key(asked: KeyAsked, caller: CallerHere, parts: PartsHere) -> KeyShown:
    """Registers a public key as the caller's, who proves to hold the private one."""
    access = _access_of(parts)
    _ensure_own_sign_in(caller)
    signed_in = await parts.people.logins.login_of(caller.token)
    return _shown(await access.add_key(signed_in, asked.public_key, asked.proof, asked.label))


@router.delete("/keys/{key_id}", status_code=204)
async def remove_key(key_id: str, caller: CallerHere, parts: PartsHere) -> Response:
    """Takes a key away, and ends the sessions that were opened with it. One's own always; others'
    with the right to administer."""
    access = _access_of(parts)
    others = may(parts.policies.current, caller.identity, Right.ADMINISTER)
    await access.remove_key(caller.identity, key_id, others=others)
    return Response(status_code=204)


def _ensure_own_sign_in(caller: Caller) -> None:
    """Raises: Conflict for a provider's own token, which nobody signs out of here."""
    if looks_like_jwt(caller.token):
        raise Conflict(
            "this needs a sign-in at the gate", hint="taskgate login --oidc PROVIDER makes one"
        )


def _shown(key: RegisteredKey) -> KeyShown:
    return KeyShown(
        id=key.id,
        who=key.person,
        fingerprint=key.fingerprint,
        public_key=key.public_key,
        label=key.label,
        added_at=key.added_at,
        last_used_at=key.last_used_at,
    )
