"""A thing behind the gate."""

from dataclasses import dataclass, field
from enum import StrEnum


class TlsMode(StrEnum):
    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is found: `source` is `env`, `file` or `store`; `name` its key there."""

    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Credential:
    """What the gate signs in with. The secrets themselves are looked up at connect time.
    `passphrase` opens the private key. `minted`: the gate signs itself a certificate for each
    connection (SSH), good from `source_addresses` only where there are any."""

    username: str
    password: SecretRef | None = None
    certificate: SecretRef | None = None
    private_key: SecretRef | None = None
    passphrase: SecretRef | None = None
    minted: bool = False
    source_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostTrust:
    """What shows that an SSH host is the one meant: any of its `keys`, or a certificate of one of
    `authorities`, none of them `revoked`. Public keys in OpenSSH's form (`ssh-ed25519 AAAA...`).
    `known_hosts_file` is a file of the gateway's that has more of these; `first_use`: the key that
    is shown first is the right one."""

    keys: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    known_hosts_file: str = ""
    first_use: bool = False


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host key that was trusted when it was first seen. `address` is `host:port`, `key` in
    OpenSSH's form, `by` whose session it was. `at` is in seconds since the epoch."""

    resource: str
    address: str
    key: str
    at: float
    by: str


@dataclass(frozen=True, slots=True)
class Resource:
    """`database` is the default where the client names none; an empty `databases` allows only
    that one. `ca_file` pins the server's issuer for the verify modes. `host_trust` is for SSH,
    which brings its own encryption: `tls` says nothing there. `via` are the hosts to go through to
    reach it, all of them, in order."""

    name: str
    protocol: str
    host: str
    port: int
    tls: TlsMode
    credential: Credential
    ca_file: str = ""
    database: str = ""
    databases: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    host_trust: HostTrust = HostTrust()
    via: "tuple[Resource, ...]" = ()

    @property
    def address(self) -> str:
        """For messages and records."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
