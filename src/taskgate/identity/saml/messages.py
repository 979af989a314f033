"""The messages that this gateway sends. Pure.

Source: SAML 2.0 core sections 3.4.1, 3.7.1, 3.7.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from taskgate.identity.saml.assertion import NameId
from taskgate.identity.saml.names import POST, SAML, SAMLP, SUCCESS
from taskgate.identity.saml.xml import Element, instant


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every message has: its own ID, when (seconds since the epoch), where to, by whom."""

    id: str
    at: float
    destination: str
    issuer: str


def authn_request(
    envelope: Envelope,
    assertion_url: str,
    *,
    name_id_format: str = "",
    contexts: Sequence[str] = (),
    fresh: bool = False,
) -> bytes:
    """Asks for a person. `fresh`: who must prove themselves anew."""
    root = _message("AuthnRequest", envelope)
    root.set("AssertionConsumerServiceURL", assertion_url)
    root.set("ProtocolBinding", POST)
    if fresh:
        root.set("ForceAuthn", "true")
    policy = etree.SubElement(root, f"{{{SAMLP}}}NameIDPolicy", AllowCreate="true")
    if name_id_format:
        policy.set("Format", name_id_format)
    if contexts:
        asked = etree.SubElement(root, f"{{{SAMLP}}}RequestedAuthnContext", Comparison="exact")
        for context in contexts:
            etree.SubElement(asked, f"{{{SAML}}}AuthnContextClassRef").text = context
    return etree.tostring(root)


def logout_request(envelope: Envelope, name: NameId, session_index: str) -> bytes:
    """Asks the provider to end a person's session there."""
    root = _message("LogoutRequest", envelope)
    element = etree.SubElement(root, f"{{{SAML}}}NameID")
    element.text = name.value
    for attribute, value in (
        ("Format", name.format),
        ("NameQualifier", name.name_qualifier),
        ("SPNameQualifier", name.sp_name_qualifier),
    ):
        if value:
            element.set(attribute, value)
    if session_index:
        etree.SubElement(root, f"{{{SAMLP}}}SessionIndex").text = session_index
    return etree.tostring(root)


def logout_response(envelope: Envelope, in_response_to: str) -> bytes:
    """Answers the provider's own logout request, which was carried out."""
    root = _message("LogoutResponse", envelope)
    root.set("InResponseTo", in_response_to)
    status = etree.SubElement(root, f"{{{SAMLP}}}Status")
    etree.SubElement(status, f"{{{SAMLP}}}StatusCode", Value=SUCCESS)
    return etree.tostring(root)


def _message(name: str, envelope: Envelope) -> Element:
    root = etree.Element(f"{{{SAMLP}}}{name}", nsmap={"samlp": SAMLP, "saml": SAML})
    root.set("ID", envelope.id)
    root.set("Version", "2.0")
    root.set("IssueInstant", instant(envelope.at))
    root.set("Destination", envelope.destination)
    etree.SubElement(root, f"{{{SAML}}}Issuer").text = envelope.issuer
    return root
