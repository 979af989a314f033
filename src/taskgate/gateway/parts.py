"""The running gateway's parts, as the API and the console reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskgate.gateway.alerts import Alerts
from taskgate.gateway.bootstrap import Bootstrap
from taskgate.gateway.break_glass import BreakGlasses
from taskgate.gateway.holds import Holds
from taskgate.gateway.leaving import Leaving
from taskgate.gateway.outside import Outside
from taskgate.gateway.policies import Policies
from taskgate.gateway.provisioning import Provisioning, ScimDoor
from taskgate.gateway.records import Records
from taskgate.gateway.secrets import Secrets
from taskgate.gateway.sessions import Sessions
from taskgate.gateway.ssh_access import SshAccess
from taskgate.gateway.use_map import UseMap
from taskgate.identity.delegation import Delegation
from taskgate.identity.grants import Grants
from taskgate.identity.local import LocalUsers
from taskgate.identity.logins import Logins
from taskgate.identity.passkeys import Passkeys
from taskgate.model.clock import Clock
from taskgate.model.ports import KnownHostStore, SessionStore


@dataclass(frozen=True, slots=True)
class Scim:
    """What a provider keeps here by SCIM, and what shows that it is the provider who asks."""

    provisioning: Provisioning
    door: ScimDoor


@dataclass(frozen=True, slots=True)
class People:
    """Who there is, who is signed in, who holds what, and how they leave. Without `scim`, nobody
    provisions; without `passkeys`, browsers take none for the gateway's address; without `ssh`,
    nobody comes in by SSH."""

    users: LocalUsers
    logins: Logins
    grants: Grants
    delegation: Delegation
    leaving: Leaving
    use_map: UseMap
    break_glasses: BreakGlasses
    bootstrap: Bootstrap
    scim: Scim | None = None
    passkeys: Passkeys | None = None
    ssh: SshAccess | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """Sessions: the live ones of this node, and all that there have been."""

    live: Sessions
    store: SessionStore


@dataclass(frozen=True, slots=True)
class DoorAddress:
    """Where clients of one protocol are told to connect."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """How clients get here. `base_url` starts links; `doors` are the listeners by protocol.
    `ca_pem` is what to trust where there is TLS, empty where the system's own list does;
    `ssh_host_key` and `ssh_ca` are what to trust at the SSH listener, in OpenSSH's form: its key,
    and what signs that; `ssh_upstream_ca` what hosts trust to let the gate in."""

    base_url: str
    doors: Mapping[str, DoorAddress]
    ca_pem: str
    ssh_host_key: str = ""
    ssh_upstream_ca: str = ""
    ssh_ca: str = ""

    @property
    def ssh_known_hosts(self) -> str:
        """A line for OpenSSH's `known_hosts` (sshd(8)); empty where nobody comes in by SSH."""
        host = self._ssh_host
        return f"{host} {self.ssh_host_key}" if host else ""

    @property
    def ssh_authority(self) -> str:
        """The same for whatever signs the listener's key: it stays when that is renewed."""
        host = self._ssh_host
        return f"@cert-authority {host} {self.ssh_ca}" if host else ""

    @property
    def _ssh_host(self) -> str:
        door = self.doors.get("ssh")
        if door is None:
            return ""
        return door.host if door.port == 22 else f"[{door.host}]:{door.port}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What `service` has built. Take the part, not the whole."""

    reach: Reach
    clock: Clock
    people: People
    holds: Holds
    sessions: Connected
    policies: Policies
    records: Records
    alerts: Alerts
    secrets: Secrets
    known_hosts: KnownHostStore
    outside: Outside
