"""Host keys that were trusted when they were first seen: what an administrator sees and forgets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from taskgate.api.caller import CallerHere, PartsHere, need
from taskgate.api.keeping_shapes import HostKeyShown
from taskgate.gateway.parts import Parts
from taskgate.model.errors import NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.policy.rules import Right
from taskgate.protocols.ssh.driver.host_keys import fingerprint

router = APIRouter()


@router.get("/host-keys")
async def host_keys(caller: CallerHere, parts: PartsHere) -> list[HostKeyShown]:
    """What hosts are known by since they were first seen. Needs the right to administer."""
    _need(parts, caller.identity)
    return [
        HostKeyShown(
            resource=one.resource, address=one.address, fingerprint=fingerprint(one.key),
            key=one.key, trusted_at=one.at, by=one.by,
        )
        for one in await parts.known_hosts.list()
    ]  # fmt: skip


@router.delete("/host-keys/{resource}", status_code=204)
async def forget(
    resource: Annotated[str, Path(min_length=1, max_length=200)],
    caller: CallerHere,
    parts: PartsHere,
) -> Response:
    """Forgets what a resource is known by: the next key that it shows is trusted. Needs the right
    to administer."""
    _need(parts, caller.identity)
    kept = [one for one in await parts.known_hosts.list() if one.resource == resource]
    if not kept:
        raise NotFound(f"nothing is kept for {resource}", hint="taskgate host-keys list shows all")
    facts = {
        "resource": resource,
        "text": ", ".join(f"{one.address} {fingerprint(one.key)}" for one in kept),
    }
    await parts.records.log(EventKind.HOST_KEY_FORGOTTEN, caller.identity, facts)
    await parts.known_hosts.forget(resource)
    return Response(status_code=204)


def _need(parts: Parts, identity: Identity) -> None:
    need(parts.policies.current, identity, Right.ADMINISTER)
