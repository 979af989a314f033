"""From a provider's claims to an Identity."""

from collections.abc import Mapping
from typing import Any, Final

from taskgate.identity.oidc.claims import (
    Spans,
    authenticated_at,
    authentication_in,
    subject_of,
)
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.settings import GroupMapping, ProviderSettings
from taskgate.model import limits
from taskgate.model.identity import AGENT_ISSUER, Identity, IdentityKind

_MAX_GROUP_CHARS: Final = 255


def identity_of(
    settings: ProviderSettings,
    claims: Mapping[str, Any],
    spans: Spans,
    method: str,
    *,
    skew_s: float = 0.0,
) -> Identity:
    """Who the claims of a checked token speak of; `skew_s` as for `authenticated_at`. With an actor
    (`act`), that one, acting for the subject.

    Raises: TokenRefused.
    """
    person = Identity(
        subject=subject_of(claims, settings.subject_claim),
        issuer=settings.name,
        kind=_kind_of(claims),
        groups=groups_of(settings.groups, claims),
        authenticated_at=authenticated_at(claims, spans, skew_s),
        method=method,
        authentication=authentication_in(claims, spans, settings.mfa_acr),
    )
    return _acting(settings, person, claims["act"]) if "act" in claims else person


def _acting(settings: ProviderSettings, person: Identity, act: object) -> Identity:
    """RFC 8693 section 4.1: the outermost actor is the one who calls; those within were actors
    before, and decide nothing."""
    named = act.get("sub") if isinstance(act, Mapping) else None
    if not isinstance(named, str) or not _is_name(named) or named != named.strip():
        # Taken for the person alone, an agent would pass for one.
        raise TokenRefused("the token's act names no actor")
    # Both names in one key, so that two people's agents of one name are two; and the provider's, so
    # that none passes for an agent that somebody named here.
    return Identity(
        subject=f"{settings.name}/{named}@{person.key}",
        issuer=AGENT_ISSUER,
        kind=IdentityKind.AGENT,
        authenticated_at=person.authenticated_at,
        method=person.method,
        acts_for=person,
    )


def groups_of(mapping: GroupMapping, claims: Mapping[str, Any]) -> frozenset[str]:
    """The gate's groups for a token's claims. What is no list of names gives none: rights come
    from what is understood only."""
    value: Any = claims
    for part in mapping.claim:
        value = value.get(part) if isinstance(value, Mapping) else None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > limits.MAX_GROUPS_PER_IDENTITY:
        return frozenset()
    names = [one for one in listed if isinstance(one, str) and _is_name(one)]
    if mapping.renamed is not None:
        return frozenset(ours for name in names for ours in mapping.renamed.get(name, ()))
    return frozenset(mapping.prefix + name for name in names)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_GROUP_CHARS and text.isprintable()


def _kind_of(claims: Mapping[str, Any]) -> IdentityKind:
    """A client that got a token for itself is no person: RFC 9068 section 2.2 makes it the
    subject, and providers have marks of their own."""
    client = claims.get("client_id", claims.get("azp"))
    itself = isinstance(client, str) and claims.get("sub") == client
    marked = claims.get("idtyp") == "app" or claims.get("gty") == "client-credentials"
    return IdentityKind.WORKLOAD if itself or marked else IdentityKind.HUMAN
