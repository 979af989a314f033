"""The form of a resource document, and of the references to its secrets."""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from taskgate.policy.fields import Name, Strict, Words

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?\Z")


class SecretSource(Strict):
    """Where a secret is found. Exactly one of the three; never the secret itself."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="Name of an environment variable of the gateway."
    )
    file: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Path of a file that holds the secret and nothing else."
    )
    store: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None,
        description="Name in the gateway's own encrypted store (`taskgate secret set`).",
    )

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, value: object) -> object:
        # The value is not repeated: an error must not carry the secret on.
        if not isinstance(value, dict):
            raise ValueError(
                "a secret does not belong in a policy file;"
                " write {env: NAME}, {file: PATH} or {store: NAME}"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretSource":
        if sum(source is not None for source in (self.env, self.file, self.store)) != 1:
            raise ValueError("say exactly one of env, file and store")
        return self


class CredentialModel(Strict):
    """What the gate signs in with at the resource. Clients never see it."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The role the gate signs in as."
    )
    password: SecretSource | None = Field(default=None, description="Where the password is.")
    certificate: SecretSource | None = Field(
        default=None, description="Where a client certificate is."
    )
    private_key: SecretSource | None = Field(
        default=None, description="Where the certificate's key is."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "CredentialModel":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key come together")
        return self


class SshCredentialModel(Strict):
    """What the gate signs in with at a host. Clients never see it."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The account the gate signs in as."
    )
    password: SecretSource | None = Field(default=None, description="Where the password is.")
    private_key: SecretSource | None = Field(
        default=None, description="Where the private key is, in OpenSSH's form or PEM."
    )
    passphrase: SecretSource | None = Field(
        default=None, description="Where the private key's passphrase is."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> "SshCredentialModel":
        if (self.password is None) == (self.private_key is None):
            raise ValueError("say either password or private_key")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("a passphrase goes with a private_key")
        return self


def _public_keys(lines: list[str]) -> list[str]:
    """Lines of a `.pub` file, their comments left out (RFC 4253, section 6.6)."""
    found = []
    for line in lines:
        words = line.split()
        try:
            blob = base64.b64decode(words[1], validate=True)
            length = int.from_bytes(blob[:4], "big")
            known = blob[4 : 4 + length].decode("ascii") == words[0]
        except (IndexError, ValueError):
            known = False
        if not known:
            raise ValueError(
                "not a public key; write the first two words of a .pub file: ssh-ed25519 AAAA..."
            )
        found.append(" ".join(words[:2]))
    return found


PublicKeys = Annotated[Words, AfterValidator(_public_keys)]


class ResourceBase(Strict):
    """What every resource has."""

    kind: Literal["Resource"] = Field(description="`Resource`.")
    name: Name = Field(description="How tasks and clients name it.")
    description: str = Field(default="", description="For people.")
    protocol: str = Field(description="What it speaks: `postgres` or `ssh`.")
    address: str = Field(
        description="`host:port`; the port may be left out where it is the usual one."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="For people and searches.")

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if "@" in value or "/" in value:
            raise ValueError("only host:port; the credential has its own key")
        split_address(value, 1)
        return value


class ResourceModel(ResourceBase):
    """A database behind the gate."""

    tls: Literal["disable", "require", "verify-ca", "verify-full"] = Field(
        default="verify-full", description="How the gate checks the resource's certificate."
    )
    ca_file: str = Field(default="", description="PEM file of the issuer, for the verify modes.")
    credential: CredentialModel = Field(description="What the gate signs in with.")
    database: str = Field(default="", description="The database for clients that name none.")
    databases: Words | None = Field(
        default=None,
        description="Other databases that clients may name; otherwise only `database`.",
    )


class SshResourceModel(ResourceBase):
    """A host behind the gate."""

    host_keys: PublicKeys | None = Field(
        default=None,
        description="The host's public keys (`ssh-keyscan HOST`, checked at the host itself).",
    )
    host_ca: PublicKeys | None = Field(
        default=None, description="Authorities whose certificate the host may show instead."
    )
    credential: SshCredentialModel = Field(description="What the gate signs in with.")

    @model_validator(mode="after")
    def _known_somehow(self) -> "SshResourceModel":
        if not self.host_keys and not self.host_ca:
            raise ValueError("nothing says which host is the right one; give host_keys or host_ca")
        return self


RESOURCE_MODELS: Final[Mapping[str, type[ResourceModel] | type[SshResourceModel]]] = {
    "postgres": ResourceModel,
    "ssh": SshResourceModel,
}


def split_address(value: str, default_port: int) -> tuple[str, int]:
    """Host and port of `db:5432`, `db` or `[::1]:5432`.

    Raises: ValueError.
    """
    match = _ADDRESS.match(value) if value.isascii() else None
    port = int(match.group(3) or default_port) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise ValueError("write host:port, such as db.internal:5432 or [::1]:5432")
    return match.group(1) or match.group(2), port
