"""JSON of signing in by SSH."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskgate.api.shapes import Asked, Shown

MAX_PUBLIC_KEY_CHARS = 16 * 1024
PublicKeyText = Annotated[str, Field(min_length=1, max_length=MAX_PUBLIC_KEY_CHARS)]


class CertificateAsked(Asked):
    """`public_key` is a line of a `.pub` file; `lasts_s` less than the most there is; `sources`
    the only addresses or networks that the certificate may be shown from."""

    public_key: PublicKeyText
    lasts_s: Annotated[float, Field(gt=0)] | None = None
    sources: Annotated[list[str], Field(max_length=20)] = Field(default_factory=list)


class SshHost(Shown):
    """One resource under one task, and the user name for both. `held`: a live grant of the
    caller's for that task reaches it."""

    resource: str
    task: str
    user: str
    held: bool


class SshReach(Shown):
    """How an SSH client gets here: `authority` is the line of `known_hosts` that makes it know the
    gate, `hosts` what the caller may take up."""

    host: str
    port: int
    authority: str
    hosts: list[SshHost]


class CertificateIssued(Shown):
    """`certificate` is the line of a `-cert.pub` file."""

    certificate: str
    serial: str
    expires_at: float


class KeyOffered(Asked):
    """`public_key` is a line of a `.pub` file."""

    public_key: PublicKeyText


class KeyChallenge(Shown):
    """What `ssh-keygen -Y sign -n NAMESPACE` is to sign: `text`, without a newline."""

    namespace: str
    text: str


class KeyAsked(Asked):
    """`proof` is the signature of the caller's challenge by that key, in its armour."""

    public_key: PublicKeyText
    proof: PublicKeyText
    label: Annotated[str, Field(max_length=100)] = ""


class KeyShown(Shown):
    """A registered public key."""

    id: str
    who: str
    fingerprint: str
    public_key: str
    label: str
    added_at: float
    last_used_at: float | None
