"""From an assertion to an Identity."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from taskgate.identity.oidc.claims import MAX_SUBJECT_CHARS
from taskgate.identity.oidc.people import groups_of
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.assertion import Assertion, NameId
from taskgate.identity.saml.names import TRANSIENT
from taskgate.identity.saml.settings import SamlSettings
from taskgate.model.authentication import MULTI_FACTOR, Authentication
from taskgate.model.identity import Identity

METHOD: Final = "saml"
_CLASS: Final = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
# What a class of authentication says of methods, in RFC 8176's names (SAML 2.0 authentication
# context section 3.4; the REFEDS MFA profile; Microsoft's own). Of others, nothing is assumed.
_METHODS: Final[Mapping[str, frozenset[str]]] = {
    f"{_CLASS}Password": frozenset({"pwd"}),
    f"{_CLASS}PasswordProtectedTransport": frozenset({"pwd"}),
    f"{_CLASS}TimeSyncToken": frozenset({"otp"}),
    f"{_CLASS}Smartcard": frozenset({"sc"}),
    f"{_CLASS}SmartcardPKI": frozenset({"sc", "pin"}),
    f"{_CLASS}MobileTwoFactorUnregistered": frozenset({MULTI_FACTOR}),
    f"{_CLASS}MobileTwoFactorContract": frozenset({MULTI_FACTOR}),
    "https://refeds.org/profile/mfa": frozenset({MULTI_FACTOR}),
    "http://schemas.microsoft.com/claims/multipleauthn": frozenset({MULTI_FACTOR}),
}


def identity_of(
    settings: SamlSettings, own_entity_id: str, assertion: Assertion, authenticated_at: float
) -> Identity:
    """Who a checked assertion speaks of. Raises: TokenRefused."""
    return Identity(
        subject=_subject(settings, own_entity_id, assertion),
        issuer=settings.name,
        groups=groups_of(settings.groups, assertion.attributes),
        authenticated_at=authenticated_at,
        method=METHOD,
        authentication=_authentication(settings, assertion, authenticated_at),
    )


def session_of(name: NameId, index: str) -> str:
    """One name for a session at a provider. A SessionIndex alone is none: providers may give the
    same ones to different people (core section 2.7.2)."""
    written = msgspec.json.encode((name, index))
    return hashlib.sha256(written).hexdigest()


def _authentication(
    settings: SamlSettings, assertion: Assertion, authenticated_at: float
) -> Authentication:
    name, index, context = assertion.name_id, assertion.session_index, assertion.context
    if len(context) > MAX_SUBJECT_CHARS or not context.isprintable():
        context = ""
    stronger = frozenset({MULTI_FACTOR} if context in settings.mfa_contexts else ())
    return Authentication(
        amr=_METHODS.get(context, frozenset()) | stronger,
        acr=context,
        auth_time=min(assertion.authenticated_at, authenticated_at),
        session=session_of(name, index) if name is not None and index else "",
    )


def _subject(settings: SamlSettings, own_entity_id: str, assertion: Assertion) -> str:
    if settings.subject:
        values = assertion.attributes.get(settings.subject, [])
        if len(values) != 1:
            raise TokenRefused(f"the attribute {settings.subject} has not one value")
        subject = values[0]
    else:
        return subject_named(settings, own_entity_id, assertion.name_id)
    return _proper(subject)


def _proper(subject: str) -> str:
    if (
        not 0 < len(subject) <= MAX_SUBJECT_CHARS
        or not subject.isprintable()
        or subject != subject.strip()
    ):
        raise TokenRefused("the assertion names no proper subject")
    return subject


def subject_named(settings: SamlSettings, own_entity_id: str, name: NameId | None) -> str:
    """The subject whom a NameID names. Raises: TokenRefused."""
    if name is None:
        raise TokenRefused("the assertion names nobody")
    if name.format == TRANSIENT:
        raise TokenRefused(
            "the assertion's NameID is transient: another one at each sign-in; set `subject`"
        )
    # Core 8.3.7: the same value under another qualifier is somebody else.
    if name.name_qualifier not in ("", settings.entity_id):
        raise TokenRefused("the assertion's NameID is qualified by another provider")
    if name.sp_name_qualifier not in ("", own_entity_id):
        raise TokenRefused("the assertion's NameID is qualified for another service")
    return _proper(name.value)
