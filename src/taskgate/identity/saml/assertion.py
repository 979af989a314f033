"""What an assertion must say before anyone is believed to be its subject. Pure.

It is read from signed text alone (see `signatures`), and strictly: what this gateway does not
understand, in conditions above all, is refused.

Sources: SAML 2.0 core sections 2 and 3.2; profiles sections 4.1.4.2 and 4.1.4.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import BEARER, ENTITY, ISSUER, NAME_ID, SAML, SIGNATURE
from taskgate.identity.saml.xml import (
    Element,
    attribute_of,
    children_of,
    id_of,
    instant_of,
    only_child,
    text_of,
)
from taskgate.model import limits

_PARTS: Final = frozenset(
    {ISSUER, SIGNATURE}
    | {
        f"{{{SAML}}}{name}"
        for name in ("Subject", "Conditions", "AuthnStatement", "AttributeStatement")
    }
)
_CONDITIONS: Final = frozenset(
    f"{{{SAML}}}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Who must have said it, to whom, where it must have come, in answer to which request (None:
    to none). `now` in seconds since the epoch."""

    issuer: str
    audience: str
    recipient: str
    in_response_to: str | None
    now: float


@dataclass(frozen=True, slots=True)
class NameId:
    """A person's name as the provider has it, with all that it qualifies."""

    value: str
    format: str = ""
    name_qualifier: str = ""
    sp_name_qualifier: str = ""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What is believed. Times are seconds since the epoch; `session_until` None for no end."""

    id: str
    name_id: NameId | None
    until: float
    authenticated_at: float
    session_index: str
    session_until: float | None
    context: str
    attributes: Mapping[str, list[str]] = field(repr=False)


def read_assertion(element: Element, expected: Expected) -> Assertion:
    """Raises: TokenRefused."""
    if element.get("Version") != "2.0":
        raise TokenRefused("the assertion is not of SAML 2.0")
    unknown = [child for child in element if child.tag not in _PARTS]
    if unknown:
        raise TokenRefused("the assertion has parts that are not taken")
    check_issuer(only_child(element, ISSUER), expected.issuer)
    issued_at = instant_of(element, "IssueInstant")
    if issued_at is None or issued_at > expected.now + limits.CLOCK_SKEW_S:
        raise TokenRefused("the assertion is of no time, or of the future")
    until = min(
        issued_at + limits.SAML_ASSERTION_S,
        _check_conditions(only_child(element, f"{{{SAML}}}Conditions"), expected),
        _check_confirmation(only_child(element, f"{{{SAML}}}Subject"), expected),
    )
    until += limits.CLOCK_SKEW_S
    if expected.now >= until:
        raise TokenRefused("the assertion has expired")
    statement = only_child(element, f"{{{SAML}}}AuthnStatement")
    authenticated_at = instant_of(statement, "AuthnInstant")
    if authenticated_at is None or authenticated_at > expected.now + limits.CLOCK_SKEW_S:
        raise TokenRefused("the assertion does not say when the person signed in, or the future")
    session_until = instant_of(statement, "SessionNotOnOrAfter")
    if session_until is not None:
        session_until += limits.CLOCK_SKEW_S
        if expected.now >= session_until:
            raise TokenRefused("the provider's session has ended")
    return Assertion(
        id=id_of(element),
        name_id=_name_id(only_child(element, f"{{{SAML}}}Subject")),
        until=until,
        authenticated_at=authenticated_at,
        session_index=statement.get("SessionIndex", ""),
        session_until=session_until,
        context=_context(statement),
        attributes=_attributes(element),
    )


def check_issuer(element: Element, issuer: str) -> None:
    """Raises: TokenRefused."""
    if element.get("Format", ENTITY) != ENTITY or text_of(element) != issuer:
        raise TokenRefused("the message is another issuer's")


def name_id_of(element: Element) -> NameId:
    """Raises: TokenRefused."""
    return NameId(
        text_of(element),
        element.get("Format", ""),
        element.get("NameQualifier", ""),
        element.get("SPNameQualifier", ""),
    )


def _check_conditions(conditions: Element, expected: Expected) -> float:
    """When they end. Raises: TokenRefused."""
    if any(child.tag not in _CONDITIONS for child in conditions):
        raise TokenRefused("the assertion has conditions that are not understood")
    not_before = instant_of(conditions, "NotBefore")
    if not_before is not None and expected.now < not_before - limits.CLOCK_SKEW_S:
        raise TokenRefused("the assertion does not count yet")
    restrictions = children_of(conditions, f"{{{SAML}}}AudienceRestriction")
    # Every restriction must name us; within one, any of its audiences will do (core 2.5.1.4).
    for restriction in restrictions:
        audiences = [text_of(one) for one in children_of(restriction, f"{{{SAML}}}Audience")]
        if expected.audience not in audiences:
            raise TokenRefused("the assertion is for another audience")
    if not restrictions:
        raise TokenRefused("the assertion names no audience")
    not_on_or_after = instant_of(conditions, "NotOnOrAfter")
    return not_on_or_after if not_on_or_after is not None else float("inf")


def _check_confirmation(subject: Element, expected: Expected) -> float:
    """When it ends. Raises: TokenRefused."""
    confirmation = only_child(subject, f"{{{SAML}}}SubjectConfirmation")
    if confirmation.get("Method") != BEARER:
        raise TokenRefused("the assertion's subject is to be confirmed in a way that is not taken")
    data = only_child(confirmation, f"{{{SAML}}}SubjectConfirmationData")
    if attribute_of(data, "Recipient") != expected.recipient:
        raise TokenRefused("the assertion is for another recipient")
    if data.get("InResponseTo") != expected.in_response_to:
        raise TokenRefused(
            "the assertion answers no request of ours, or another browser's"
            if expected.in_response_to is None or data.get("InResponseTo")
            else "the assertion answers no request"
        )
    if data.get("NotBefore") is not None:
        raise TokenRefused("a bearer's confirmation must not say NotBefore")
    until = instant_of(data, "NotOnOrAfter")
    if until is None:
        raise TokenRefused("the assertion's confirmation has no end")
    return until


def _name_id(subject: Element) -> NameId | None:
    found = [child for child in subject if child.tag != f"{{{SAML}}}SubjectConfirmation"]
    if not found:
        return None
    if len(found) != 1 or found[0].tag != NAME_ID:
        raise TokenRefused("the assertion's subject is named in a way that is not taken")
    return name_id_of(found[0])


def _context(statement: Element) -> str:
    context = only_child(statement, f"{{{SAML}}}AuthnContext")
    classes = children_of(context, f"{{{SAML}}}AuthnContextClassRef")
    return text_of(classes[0]).strip() if len(classes) == 1 else ""


def _attributes(assertion: Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in children_of(assertion, f"{{{SAML}}}AttributeStatement"):
        for attribute in statement:
            if attribute.tag != f"{{{SAML}}}Attribute":
                raise TokenRefused("the assertion has attributes that are not taken (encrypted?)")
            values = found.setdefault(attribute_of(attribute, "Name"), [])
            for value in children_of(attribute, f"{{{SAML}}}AttributeValue"):
                # A value that is more than text is for other readers than this one.
                if not len(value):
                    values.append(value.text or "")
    return found
