"""The gateway's configuration file: YAML, strict, and every secret in it a reference.

Three lines are enough, because all the rest has a default:

    state_dir: /var/lib/taskgate
    policy: /etc/taskgate/policy
    public_url: https://gate.example.com:8443

Relative paths count from the file's own folder. An unknown key, a key given twice or a value of
the wrong type is an error that names file and line.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from taskgate.gateway.config_parts import ConfigPath, Reference, apart
from taskgate.gateway.config_parts import Section as _Section
from taskgate.gateway.config_source import Source, parse_yaml, problems_of
from taskgate.gateway.oidc_config import OidcProvider
from taskgate.gateway.saml_config import SamlKey, SamlProvider
from taskgate.model import limits
from taskgate.model.endpoints import plain_network
from taskgate.model.errors import BadConfig
from taskgate.model.resource import SecretRef

MAX_CONFIG_BYTES = 1 * limits.MIB
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ConfigErrors(BadConfig):
    """Everything that is wrong with one file. `errors` keeps them apart, in the file's order."""

    def __init__(self, errors: tuple[BadConfig, ...]) -> None:
        super().__init__(
            "\n".join(error.message for error in errors),
            hint=next((error.hint for error in errors if error.hint), ""),
        )
        self.errors = errors


Port = Annotated[int, Field(ge=0, le=65535)]


class TlsFiles(_Section):
    """A certificate chain and its key, PEM. `ca` is what clients should trust; left out, they
    use their system's own list."""

    cert: ConfigPath
    key: ConfigPath
    ca: ConfigPath | None = None


def _auto_or_files(value: object) -> object:
    if value != "auto" and not isinstance(value, dict | TlsFiles):
        raise ValueError("write auto, or {cert: FILE, key: FILE}")
    return value


Tls = Annotated[TlsFiles | Literal["auto"], BeforeValidator(_auto_or_files)]


class Listener(_Section):
    """Where clients of one protocol connect. `advertise` is the `host:port` that the CLI tells
    them, if it is not the listener's own."""

    address: str = "127.0.0.1"
    port: Port
    advertise: str = ""

    @field_validator("advertise")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if value:
            host, _, port = value.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError("write it as host:port")
        return value


class PostgresListener(Listener):
    """Where PostgreSQL clients connect."""

    port: Port = 6432
    tls: Tls = "auto"
    plaintext: bool = False


class SshListener(Listener):
    """Where SSH clients connect. `source_addresses` are those of the gateway as hosts see them:
    certificates for hosts are good from there only. `certificate_s` is how long a user's
    certificate lasts at most; it never outlives the sign-in that it was asked for with."""

    port: Port = 2222
    source_addresses: list[str] = Field(default_factory=list)
    certificate_s: Annotated[
        float, Field(ge=60, le=limits.MAX_USER_CERTIFICATE_S, strict=False)
    ] = 8 * 3600.0

    @field_validator("source_addresses")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        for one in value:
            plain_network(one)
        return value


class ApiListener(_Section):
    """Where the HTTP API and the console answer. `plaintext` is for a proxy on the same host
    that ends TLS, so it is allowed on loopback only. `trusted_proxies` are the addresses whose
    X-Forwarded-For counts."""

    address: str = "127.0.0.1"
    port: Port = 8443
    tls: Tls = "auto"
    plaintext: bool = False
    trusted_proxies: list[str] = Field(default_factory=list)
    console: bool = True

    @model_validator(mode="after")
    def _no_tokens_in_clear(self) -> ApiListener:
        if self.plaintext and self.address not in LOOPBACK:
            raise ValueError(
                "plaintext: true would send tokens in clear; it is allowed on a loopback address"
                " only, for a proxy that ends TLS there"
            )
        return self


class Store(_Section):
    """The state store. `url` is SQLAlchemy's; its password comes from `password` alone."""

    url: str
    password: Reference | None = None

    @field_validator("url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.password is not None or "password=" in parts.query:
            raise ValueError("a password has no place in this file; use store.password")
        if parts.scheme not in ("sqlite+aiosqlite", "postgresql+asyncpg"):
            raise ValueError("the scheme must be sqlite+aiosqlite or postgresql+asyncpg")
        return value


class Audit(_Section):
    """Where recordings live, and whether an event is on disk (`disk`) or only out of the process
    (`process`) before its request goes upstream. `packed` compresses what is sealed."""

    dir: ConfigPath | None = None
    durability: Literal["process", "disk"] = "process"
    key: ConfigPath | None = None
    packed: bool = False


class ScimProvider(_Section):
    """Provisioning by SCIM. `token` is the bearer secret that the provider sends. `issuer` is that
    of the people it keeps (`local`, or an OpenID provider's `name`), and `subject` the SCIM
    attribute that is their subject there. `prefix` stands before its groups' names: the provider's
    name and a slash unless said otherwise, nothing for `local`."""

    token: Reference
    issuer: Annotated[str, Field(min_length=1, max_length=500)] = "local"
    subject: Literal["userName", "externalId"] = "userName"
    prefix: Annotated[str, Field(max_length=100)] | None = None

    @property
    def group_prefix(self) -> str:
        if self.prefix is not None:
            return self.prefix
        return "" if self.issuer == "local" else f"{self.issuer}/"


class LocalUsersSection(_Section):
    """The gate's own users. `enabled: false` lets none of them in by any door, and ends what they
    have: sign-ins, grants, agents that act for them."""

    enabled: bool = True


class AlertHook(_Section):
    """Where alerts are sent to, as JSON. `secret` signs them (`X-Taskgate-Signature`)."""

    url: str
    secret: Reference | None = None

    @field_validator("url")
    @classmethod
    def _not_in_clear(cls, value: str) -> str:
        parts = urlsplit(value)
        loopback = parts.hostname in LOOPBACK
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError("write an https:// address (http:// for this host itself alone)")
        if parts.username or parts.password:
            raise ValueError("a password has no place in this file; use secret")
        return value


class AlertsSection(_Section):
    """Who is told of break-glass, overdue reviews and a first administrator, beside the log, the
    metrics and `taskgate alerts`."""

    webhook: AlertHook | None = None


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Config(_Section):
    """All of it. Times in seconds; paths absolute once loaded.

    `policy` is a folder of policy files; without it the store's applied version counts.
    `public_url` is how people reach the API: links in hold notices start with it. Without `ssh`,
    nobody comes in by SSH.
    """

    state_dir: ConfigPath
    policy: ConfigPath | None = None
    store: Store | None = None
    postgres: PostgresListener = PostgresListener()
    ssh: SshListener | None = None
    api: ApiListener = ApiListener()
    audit: Audit = Audit()
    master_key: Reference | None = None
    log: Log = Log()
    oidc: Annotated[list[OidcProvider], AfterValidator(apart("name", "issuer"))] = Field(
        default_factory=list
    )
    saml: Annotated[list[SamlProvider], AfterValidator(apart("name", "entity_id"))] = Field(
        default_factory=list
    )
    saml_key: SamlKey | None = None
    scim: ScimProvider | None = None
    local_users: LocalUsersSection = LocalUsersSection()
    alerts: AlertsSection = AlertsSection()
    drain_s: Annotated[float, Field(ge=0, le=3600, strict=False)] = limits.DRAIN_S
    node: str = Field(default_factory=socket.gethostname, min_length=1, max_length=100)
    public_url: str = ""

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("https", "http") or not parts.hostname):
            raise ValueError("write the whole address, such as https://gate.example.com:8443")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("only scheme, host, port and path belong here")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _providers_apart(self) -> Config:
        both = {one.name for one in self.oidc} & {one.name for one in self.saml}
        if both:
            raise ValueError(f"two providers have the name {min(both)}")
        if self.saml and not self.public_url:
            raise ValueError("saml needs public_url: providers send browsers to addresses below it")
        return self

    @model_validator(mode="after")
    def _somebody_can_come_in(self) -> Config:
        if self.local_users.enabled:
            return self
        if self.scim is not None and self.scim.issuer == "local":
            raise ValueError(
                "local_users are switched off, and scim.issuer is local: nobody whom it keeps"
                " could come in; name the provider's entry under oidc there"
            )
        return self

    @property
    def store_url(self) -> str:
        """The store's address without its password."""
        if self.store is not None:
            return self.store.url
        return f"sqlite+aiosqlite:///{self.state_dir / 'taskgate.db'}"

    @property
    def audit_dir(self) -> Path:
        return self.audit.dir or self.state_dir / "recordings"

    @property
    def audit_key(self) -> Path:
        """The Ed25519 key that seals recordings; made at first start if it is not there."""
        return self.audit.key or self.state_dir / "recording.key"

    @property
    def master_key_ref(self) -> SecretRef:
        """Where the key of stored secrets is; by default a file, made at first start."""
        if self.master_key is not None:
            return self.master_key.ref()
        return SecretRef("file", str(self.state_dir / "master.key"))

    @property
    def store_password(self) -> SecretRef | None:
        return self.store.password.ref() if self.store and self.store.password else None

    def base_url(self, port: int) -> str:
        """What links start with; `port` is what the API listens on."""
        if self.public_url:
            return self.public_url
        scheme = "http" if self.api.plaintext else "https"
        return f"{scheme}://{_in_url(self._reachable(self.api.address))}:{port}"

    def endpoint(self, listener: Listener, port: int) -> tuple[str, int]:
        """The host and port that a listener's clients are told; `port` is what is listened on."""
        if listener.advertise:
            host, _, told = listener.advertise.rpartition(":")
            return host.strip("[]"), int(told)
        if self.public_url and listener.address not in LOOPBACK:
            return str(urlsplit(self.public_url).hostname), port
        return self._reachable(listener.address), port

    @property
    def host_names(self) -> tuple[str, ...]:
        """What a certificate of the gateway's own must cover."""
        names = {"localhost", "127.0.0.1", "::1", self.node}
        names.update(
            address
            for address in (self.postgres.address, self.api.address)
            if address not in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
        )
        names.add(self.endpoint(self.postgres, 0)[0])
        if self.public_url:
            names.add(str(urlsplit(self.public_url).hostname))
        return tuple(sorted(name for name in names if name))

    @property
    def ssh_names(self) -> tuple[str, ...]:
        """What clients reach the SSH listener by, the name that they are told first."""
        if self.ssh is None:
            return ()
        names = [self.endpoint(self.ssh, 0)[0]]
        if self.public_url:
            names.append(str(urlsplit(self.public_url).hostname))
        if self.ssh.address in LOOPBACK:
            names += LOOPBACK
        return tuple(dict.fromkeys(name.lower() for name in names))

    def _reachable(self, address: str) -> str:
        # A name, because some clients verify certificates against names alone.
        if address in LOOPBACK:
            return "localhost"
        return self.node if address in ("0.0.0.0", "::") else address  # noqa: S104


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def load_config(path: Path) -> Config:
    """Reads and checks one file.

    Raises: ConfigErrors, each with `file:line` and, where there is one, a suggestion.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigErrors((BadConfig(f"{path} is larger than {MAX_CONFIG_BYTES} bytes"),))
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigErrors((BadConfig(f"{path} is not UTF-8 text: {error}"),)) from None
    except OSError as error:
        raise ConfigErrors(
            (BadConfig(f"cannot read {path}: {error.strerror}", hint="name it with --config FILE"),)
        ) from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> Config:
    """The same from text; `path` names it in errors and is where relative paths start.

    Raises: ConfigErrors.
    """
    source: Source
    try:
        source = parse_yaml(text, str(path))
    except BadConfig as error:
        raise ConfigErrors((error,)) from None
    if not isinstance(source.value, dict):
        raise ConfigErrors((BadConfig("expected keys and values at the top", where=f"{path}:1"),))
    try:
        value: dict[str, Any] = source.value
        return Config.model_validate(value, context={"base": Path(os.path.abspath(path)).parent})
    except ValidationError as error:
        raise ConfigErrors(problems_of(error, source, Config)) from None
