"""The `oidc:` part of the gateway's configuration: identity providers that speak OpenID Connect.

oidc:
  - name: corp
    issuer: https://login.example.com
    client_id: taskgate
    client_secret: {env: CORP_CLIENT_SECRET}
    groups: {claim: groups}
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from taskgate.gateway.config_parts import ConfigPath, Reference, Section
from taskgate.identity.oidc.fetching import ensure_fetchable
from taskgate.identity.oidc.settings import DirectTokens, GroupMapping, ProviderSettings
from taskgate.model.resource import SecretRef
from taskgate.model.secret import Secret

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}\Z")
# Issuers of the gate's own: local users, agents of delegation, trust rules.
RESERVED: Final = frozenset({"local", "agent", "trust", "scim", "saml"})
Acr = Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,255}$")]
# RFC 6749 section 3.3.
Scope = Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,255}$")]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400, strict=False)]


class Groups(Section):
    """Which of the gate's groups a person is in. `claim` is a name, or the path of a claim within
    claims. All that it lists count, each behind `prefix` (the provider's name and a slash, unless
    given); with `map`, only those named there, as the groups given."""

    claim: str | list[str] = "groups"
    prefix: str | None = None
    map: dict[str, str | list[str]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Groups:
        if self.map is not None and self.prefix is not None:
            raise ValueError("say either prefix or map; a map names the gate's groups in full")
        if not self.claim or (isinstance(self.claim, list) and not all(self.claim)):
            raise ValueError("name the claim")
        return self


class Direct(Section):
    """Tokens straight from the provider, as the password of a task with `direct: true` or as the
    API's bearer. `audiences` are those of access tokens (JWTs); `scopes` are what a PostgreSQL
    client that signs in by itself asks for."""

    id_tokens: bool = False
    scopes: list[Scope] = Field(default_factory=lambda: ["openid"], min_length=1)
    audiences: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> Direct:
        if not self.id_tokens and not self.audiences:
            raise ValueError("say id_tokens: true, or name audiences; or leave direct out")
        return self


class Logout(Section):
    """Signing out. `ends_grants`: what the provider signs out by its back channel loses its grants
    and live sessions too. `returns`: the console's sign-in page is registered there as a place to
    come back to after signing out."""

    ends_grants: bool = True
    returns: bool = False


class OidcProvider(Section):
    """One provider. `name` begins the names of its people: `corp:SUBJECT`."""

    name: str
    issuer: str
    client_id: Annotated[str, Field(min_length=1, max_length=500)]
    client_secret: Reference | None = None
    scopes: list[str] = Field(default_factory=lambda: ["openid"])
    prompt: str = ""
    subject: Annotated[str, Field(min_length=1)] = "sub"
    groups: Groups = Groups()
    direct: Direct | None = None
    parties: list[str] = Field(default_factory=list)
    mfa_acr: list[Acr] = Field(default_factory=list, max_length=20)
    logout: Logout = Logout()
    ca_file: ConfigPath | None = None
    sign_in_s: Seconds = 3600.0
    refresh_s: Seconds = 12 * 3600.0

    @field_validator("name")
    @classmethod
    def _own_name(cls, value: str) -> str:
        return checked_name(value)

    @field_validator("issuer")
    @classmethod
    def _https(cls, value: str) -> str:
        ensure_fetchable(value, "issuer")
        if "?" in value:
            raise ValueError("an issuer has no query")
        return value

    @field_validator("scopes")
    @classmethod
    def _openid(cls, value: list[str]) -> list[str]:
        if "openid" not in value or any(not scope or " " in scope for scope in value):
            raise ValueError("scopes is a list of single words, openid among them")
        return value

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, value: str) -> str:
        if value not in ("", "consent", "select_account"):
            raise ValueError("prompt is consent or select_account")
        return value

    def settings(self, secrets: Callable[[SecretRef], Awaitable[Secret]]) -> ProviderSettings:
        """The same as the identity layer takes it; `secrets` finds the client's secret."""
        reference = self.client_secret
        return ProviderSettings(
            name=self.name,
            issuer=self.issuer,
            client_id=self.client_id,
            secret=(lambda: secrets(reference.ref())) if reference is not None else None,
            scopes=tuple(self.scopes),
            prompt=self.prompt,
            subject_claim=self.subject,
            groups=group_mapping(self.name, self.groups.claim, self.groups.prefix, self.groups.map),
            direct=DirectTokens(
                self.direct.id_tokens if self.direct else False,
                frozenset(self.direct.audiences if self.direct else ()),
            ),
            parties=frozenset(self.parties),
            mfa_acr=tuple(self.mfa_acr),
            logout_ends_grants=self.logout.ends_grants,
            logout_returns=self.logout.returns,
            ca_file=self.ca_file,
            sign_in_s=self.sign_in_s,
            refresh_s=self.refresh_s,
        )


def checked_name(value: str) -> str:
    """A provider's name. Raises: ValueError."""
    if not _NAME.match(value) or value in RESERVED:
        raise ValueError(
            "a provider's name has a-z, 0-9, '-' and '_', and is none of"
            f" {', '.join(sorted(RESERVED))}"
        )
    return value


def group_mapping(
    name: str,
    claim: str | list[str],
    prefix: str | None,
    renamed: dict[str, str | list[str]] | None,
) -> GroupMapping:
    """The mapping of the provider `name`, with what is left out filled in."""
    return GroupMapping(
        (claim,) if isinstance(claim, str) else tuple(claim),
        # So that no provider can speak of another's groups, or of the gate's own.
        f"{name}/" if prefix is None else prefix,
        None if renamed is None else {k: _listed(v) for k, v in renamed.items()},
    )


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
