"""How one SAML provider is set up, and what this gateway is to it."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from taskgate.identity.oidc.settings import GroupMapping


@dataclass(frozen=True, slots=True)
class SamlSettings:
    """`name` is the `Identity.issuer` of everybody it vouches for. Times are seconds.

    `entity_id` is the provider's; `metadata` where its metadata is, a file or an https address,
    signed by `metadata_certificate` where that is given. `subject` is the attribute that names a
    person, "" for the NameID. `contexts` are the AuthnContext classes asked for, any of them, and
    `mfa_contexts` those that stand for more than one factor. `logout_ends_grants`: whom the
    provider signs out loses grants and live sessions too.
    """

    name: str
    entity_id: str
    metadata: str | Path
    metadata_certificate: Path | None = None
    ca_file: Path | None = None
    own_entity_id: str = ""
    name_id_format: str = ""
    subject: str = ""
    groups: GroupMapping = field(default_factory=GroupMapping)
    contexts: tuple[str, ...] = ()
    mfa_contexts: tuple[str, ...] = ()
    logout_ends_grants: bool = True
    unsolicited: bool = False
    sign_in_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class OwnKey:
    """What this gateway signs with, and what is encrypted for it."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Own:
    """This gateway as one provider knows it: its name, and its addresses there."""

    entity_id: str
    assertion_url: str
    logout_url: str
