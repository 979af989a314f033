"""From an assertion to an Identity."""

from collections.abc import Mapping
from typing import Final

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
    context = (("authn_context", assertion.context),) if assertion.context else ()
    return Identity(
        subject=_subject(settings, own_entity_id, assertion),
        issuer=settings.name,
        groups=groups_of(settings.groups, assertion.attributes),
        authenticated_at=authenticated_at,
        method=METHOD,
        claims=context,
        authentication=Authentication(
            _METHODS.get(assertion.context, frozenset()), assertion.context, authenticated_at
        ),
    )


def _subject(settings: SamlSettings, own_entity_id: str, assertion: Assertion) -> str:
    if settings.subject:
        values = assertion.attributes.get(settings.subject, [])
        if len(values) != 1:
            raise TokenRefused(f"the attribute {settings.subject} has not one value")
        subject = values[0]
    else:
        subject = _named(settings, own_entity_id, assertion.name_id)
    if (
        not 0 < len(subject) <= MAX_SUBJECT_CHARS
        or not subject.isprintable()
        or subject != subject.strip()
    ):
        raise TokenRefused("the assertion names no proper subject")
    return subject


def _named(settings: SamlSettings, own_entity_id: str, name: NameId | None) -> str:
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
    return name.value
