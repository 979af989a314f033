"""The form of a host's document, and of what a task says about certificates for it."""

import base64
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from taskgate.model import limits
from taskgate.model.endpoints import plain_network
from taskgate.policy.fields import Duration, Strict, Words
from taskgate.policy.resource_models import ResourceBase, SecretSource
from taskgate.policy.units import spell_duration

_PRINCIPAL = re.compile(r"[!-+\--~]{1,64}\Z")


def _addresses(words: list[str]) -> list[str]:
    for word in words:
        plain_network(word)
    return words


def _principals(words: list[str]) -> list[str]:
    if len(words) > limits.MAX_PRINCIPALS:
        raise ValueError(f"more than {limits.MAX_PRINCIPALS} principals")
    for word in words:
        if not _PRINCIPAL.match(word):
            raise ValueError(f"{word!a} is no principal; no spaces and commas, 64 letters")
    return words


SourceAddresses = Annotated[Words, AfterValidator(_addresses)]


class SshCredentialModel(Strict):
    """What the gate signs in with at a host. Clients never see it."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The account the gate signs in as."
    )
    certificate: Literal["minted"] | None = Field(
        default=None,
        description="`minted`: the gate signs itself a certificate for each connection, by the"
        " authority that the host trusts (`taskgate ssh-ca`). Nothing is stored.",
    )
    source_addresses: SourceAddresses | None = Field(
        default=None,
        description="Where the host sees the gate come from; a minted certificate is good from"
        " there only. `ssh.source_addresses` of the gateway's configuration if left out.",
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
        ways = (self.password, self.private_key, self.certificate)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("say exactly one of certificate: minted, private_key and password")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("a passphrase goes with a private_key")
        if self.source_addresses is not None and self.certificate is None:
            raise ValueError("source_addresses go with certificate: minted")
        if self.certificate is not None:
            _principals([self.username])
        return self


class CertificateModel(Strict):
    """What the certificates say that the gate signs itself for a task, at hosts whose `credential`
    is `certificate: minted`."""

    principals: Annotated[Words, AfterValidator(_principals)] | None = Field(
        default=None,
        description="Whom the host is shown: lines of its `AuthorizedPrincipalsFile`. The"
        " credential's `username` if left out.",
    )
    force_command: bool = Field(
        default=False,
        description="A certificate and a connection for each command: the host itself then runs"
        " nothing but the line that was judged, or SFTP.",
    )
    lasts: Duration = Field(
        default=300.0,
        description="How long one is good to sign in with; never longer than the grant.",
        examples=["5m"],
    )

    @model_validator(mode="after")
    def _capped(self) -> "CertificateModel":
        if self.lasts > limits.MAX_CERTIFICATE_S:
            raise ValueError(f"lasts is at most {spell_duration(limits.MAX_CERTIFICATE_S)}")
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
FIRST_USE: Final = "first-use"


def _keys_or_first_use(lines: list[str]) -> list[str]:
    return lines if lines == [FIRST_USE] else _public_keys(lines)


class SshResourceModel(ResourceBase):
    """A host behind the gate."""

    host_keys: Annotated[Words, AfterValidator(_keys_or_first_use)] | None = Field(
        default=None,
        description="The host's public keys (`ssh-keyscan HOST`, checked at the host itself). Or"
        " `first-use`: the key that it shows first is kept, and no other taken from then on.",
    )
    known_hosts_file: str | None = Field(
        default=None,
        min_length=1,
        description="A file of the gateway's in the form of OpenSSH's `known_hosts`: hashed names,"
        " `@cert-authority` and `@revoked` too.",
    )
    host_ca: PublicKeys | None = Field(
        default=None, description="Authorities whose certificate the host may show instead."
    )
    jump: Words | None = Field(
        default=None,
        description="Other hosts to go through, in order, by their resources' names. Those that"
        " the first one needs itself come before it. Whoever holds the task has no right there.",
    )
    credential: SshCredentialModel = Field(description="What the gate signs in with.")

    @model_validator(mode="after")
    def _known_somehow(self) -> "SshResourceModel":
        if not (self.host_keys or self.host_ca or self.known_hosts_file):
            raise ValueError(
                "nothing says which host is the right one; give host_keys, host_ca or"
                " known_hosts_file"
            )
        if self.first_use and (self.host_ca or self.known_hosts_file):
            raise ValueError("host_keys: first-use goes alone; the others say more")
        return self

    @property
    def first_use(self) -> bool:
        return self.host_keys == [FIRST_USE]
