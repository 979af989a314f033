"""The form of a database's document, what all resources have, and the references to secrets."""

import re
from typing import Annotated, Literal

from pydantic import (
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


def split_address(value: str, default_port: int) -> tuple[str, int]:
    """Host and port of `db:5432`, `db` or `[::1]:5432`.

    Raises: ValueError.
    """
    match = _ADDRESS.match(value) if value.isascii() else None
    port = int(match.group(3) or default_port) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise ValueError("write host:port, such as db.internal:5432 or [::1]:5432")
    return match.group(1) or match.group(2), port
