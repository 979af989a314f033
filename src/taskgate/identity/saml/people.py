"""From an assertion to an Identity."""

from typing import Final

from taskgate.identity.oidc.claims import MAX_SUBJECT_CHARS
from taskgate.identity.oidc.people import groups_of
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.assertion import Assertion, NameId
from taskgate.identity.saml.names import TRANSIENT
from taskgate.identity.saml.settings import SamlSettings
from taskgate.model.identity import Identity

METHOD: Final = "saml"


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
