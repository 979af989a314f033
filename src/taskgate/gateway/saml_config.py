"""The `saml:` part of the gateway's configuration: identity providers that speak SAML 2.0.

saml:
  - name: corp
    entity_id: https://login.example.com/idp
    metadata: https://login.example.com/idp/metadata
    groups: {attribute: groups}
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from taskgate.gateway.config_parts import ConfigPath, Reference, Section
from taskgate.gateway.oidc_config import Seconds, checked_name, group_mapping
from taskgate.identity.oidc.fetching import ensure_fetchable
from taskgate.identity.saml.names import TRANSIENT
from taskgate.identity.saml.settings import SamlSettings

_PLAIN: Final = re.compile(r"[!-~]{1,1024}\Z")


def _plain(value: str) -> str:
    if not _PLAIN.match(value):
        raise ValueError("write 1 to 1024 characters of printable ASCII, without spaces")
    return value


Uri = Annotated[str, AfterValidator(_plain)]


class SamlGroups(Section):
    """Which of the gate's groups a person is in. All that `attribute` lists count, each behind
    `prefix` (the provider's name and a slash, unless given); with `map`, only those named there,
    as the groups given."""

    attribute: Annotated[str, Field(min_length=1)] = "groups"
    prefix: str | None = None
    map: dict[str, str | list[str]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SamlGroups:
        if self.map is not None and self.prefix is not None:
            raise ValueError("say either prefix or map; a map names the gate's groups in full")
        return self


class SamlKey(Section):
    """The key pair that this gateway shows to providers, PEM, RSA of 2048 bits or more. Without
    it the gateway makes one and keeps it in its store."""

    key: Reference
    cert: ConfigPath


class SamlLogout(Section):
    """Single logout. `ends_grants`: whom the provider signs out loses grants and live sessions
    too."""

    ends_grants: bool = True


class SamlProvider(Section):
    """One provider. `name` begins the names of its people: `corp:SUBJECT`. `entity_id` is the
    provider's own name, and `metadata` a file or an https address."""

    name: str
    entity_id: Uri
    metadata: str
    metadata_certificate: ConfigPath | None = None
    ca_file: ConfigPath | None = None
    own_entity_id: Uri | None = None
    name_id_format: Uri | None = None
    subject: str = ""
    groups: SamlGroups = SamlGroups()
    authn_context: list[Uri] = Field(default_factory=list, max_length=20)
    mfa_acr: list[Uri] = Field(default_factory=list, max_length=20)
    logout: SamlLogout = SamlLogout()
    unsolicited: bool = False
    sign_in_s: Seconds = 3600.0

    @field_validator("name")
    @classmethod
    def _own_name(cls, value: str) -> str:
        return checked_name(value)

    @field_validator("metadata")
    @classmethod
    def _file_or_address(cls, value: str, info: ValidationInfo) -> str:
        if "://" in value:
            ensure_fetchable(value, "metadata")
            return value
        base: Path = (info.context or {}).get("base", Path.cwd())
        return os.path.abspath(base / Path(value).expanduser())

    @model_validator(mode="after")
    def _stable_names(self) -> SamlProvider:
        if self.name_id_format == TRANSIENT and not self.subject:
            raise ValueError(
                "a transient NameID is another one at each sign-in; say which attribute is the"
                " subject"
            )
        return self

    def settings(self) -> SamlSettings:
        """The same as the identity layer takes it."""
        groups = self.groups
        return SamlSettings(
            name=self.name,
            entity_id=self.entity_id,
            metadata=self.metadata if "://" in self.metadata else Path(self.metadata),
            metadata_certificate=self.metadata_certificate,
            ca_file=self.ca_file,
            own_entity_id=self.own_entity_id or "",
            name_id_format=self.name_id_format or "",
            subject=self.subject,
            groups=group_mapping(self.name, groups.attribute, groups.prefix, groups.map),
            contexts=tuple(self.authn_context),
            mfa_contexts=tuple(self.mfa_acr),
            logout_ends_grants=self.logout.ends_grants,
            unsolicited=self.unsolicited,
            sign_in_s=self.sign_in_s,
        )
