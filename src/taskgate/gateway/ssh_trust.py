"""How the gate knows that a host is the one meant: what the policy says, a file of known hosts, or
the key that was kept when the host was first seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.private_files import read_private
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_KNOWN_HOSTS_BYTES
from taskgate.model.ports import KnownHostStore
from taskgate.model.resource import HostTrust, KnownHost, Resource
from taskgate.protocols.ssh.conversation import HostKeyRefused
from taskgate.protocols.ssh.driver.host_keys import fingerprint, known_hosts
from taskgate.protocols.ssh.driver.hosts import HostConnection, shown_key

# A group may read and write nothing there, others nothing but read: whoever writes it says who a
# host is.
_WRITTEN_BY_OTHERS = 0o022


class HostKeys:
    """What is taken from hosts, for all sessions."""

    def __init__(self, store: KnownHostStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def trust(
        self, resource: Resource, gate: TaskGate, through: HostConnection | None
    ) -> HostTrust:
        """The keys and authorities that count for a host, just now. With first use, the host is
        asked for its key where none is kept; that is recorded, and kept, before anybody signs in
        there.

        Raises: UpstreamFault, BadConfig, StoreUnavailable, NotRecorded.
        """
        trust = resource.host_trust
        if trust.known_hosts_file:
            return await asyncio.to_thread(_with_file, trust, resource)
        if trust.first_use:
            return HostTrust(keys=(await self._first(resource, gate, through),))
        return trust

    def refused(self, resource: Resource, gate: TaskGate, error: HostKeyRefused) -> None:
        """Records that a host was not the one. Raises: NotRecorded."""
        facts = {"resource": resource.name, "address": resource.address, "text": error.message}
        if error.shown:
            facts["host_key"] = error.shown
        gate.note(EventKind.HOST_KEY_REFUSED, facts)
        gate.recording.flush()

    async def _first(
        self, resource: Resource, gate: TaskGate, through: HostConnection | None
    ) -> str:
        kept = await self._store.get(resource.name, resource.address)
        if kept is not None:
            return kept.key
        key = await shown_key(resource, through)
        by = gate.info.identity.key
        print_ = fingerprint(key)
        gate.note(
            EventKind.HOST_KEY_TRUSTED,
            {
                "resource": resource.name,
                "address": resource.address,
                "host_key": print_,
                "text": f"{resource.name} at {resource.address} is known by {print_} from now on",
            },
        )
        gate.recording.flush()
        await gate.recording.settle()
        found = KnownHost(resource.name, resource.address, key, self._clock.now(), by)
        # Another session may have been first; then the host has to show that one's key.
        return (await self._store.add(found)).key


def _with_file(trust: HostTrust, resource: Resource) -> HostTrust:
    path = Path(trust.known_hosts_file)
    what = f"the known_hosts_file {path} of resource {resource.name}"
    raw = read_private(
        path, what=what, forbidden=_WRITTEN_BY_OTHERS, max_bytes=MAX_KNOWN_HOSTS_BYTES
    )
    try:
        told = known_hosts(raw.decode(), resource.host, resource.port)
    except ValueError as error:
        raise BadConfig(f"{what} cannot be read: {error}") from None
    found = replace(
        trust,
        keys=trust.keys + told.keys,
        authorities=trust.authorities + told.authorities,
        revoked=told.revoked,
    )
    if not found.keys and not found.authorities:
        raise BadConfig(
            f"{what} has no line for {resource.host}",
            hint="ssh-keyscan HOST gives one; check it at the host itself",
        )
    return found
