"""Metadata: the provider's, read; this gateway's own, written. Pure.

Source: SAML 2.0 metadata (OASIS, 2005).
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from taskgate.identity.oidc.fetching import ensure_fetchable
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.encryption import GCM, OAEP
from taskgate.identity.saml.names import DS, MD, POST, REDIRECT, SAMLP
from taskgate.identity.saml.settings import Own
from taskgate.identity.saml.signatures import certificate_from, ensure_strong, signed_part
from taskgate.identity.saml.xml import (
    Element,
    children_of,
    elements_of,
    ensure_single_ids,
    instant_of,
    parse_document,
    text_of,
)

_DURATION: Final = re.compile(
    r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?\Z"
)
_ENTITY: Final = f"{{{MD}}}EntityDescriptor"
_ENTITIES: Final = f"{{{MD}}}EntitiesDescriptor"
MAX_CERTIFICATES: Final = 8


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """A provider: where browsers go to sign in and out ("" for nowhere), whose signatures count.

    `valid_until` is seconds since the epoch, None for no end; `cache_s` how long it asks to be
    kept before it is fetched again.
    """

    entity_id: str
    sign_in_url: str
    logout_url: str
    logout_answer_url: str
    certificates: tuple[x509.Certificate, ...] = field(repr=False)
    valid_until: float | None
    cache_s: float | None


def parse_metadata(
    data: bytes, entity_id: str, signers: Sequence[x509.Certificate] = ()
) -> IdpMetadata:
    """What `data` says of the provider `entity_id`; with `signers`, only what one of them signed.

    Raises: TokenRefused, whose `why` is for whoever set the provider up.
    """
    root = parse_document(data)
    ensure_single_ids(root)
    if signers:
        root = signed_part(root, signers)
    if root.tag not in (_ENTITY, _ENTITIES):
        raise TokenRefused("this is no SAML metadata")
    named = [one for one in elements_of(root, _ENTITY) if one.get("entityID") == entity_id]
    if len(named) != 1:
        raise TokenRefused(f"the metadata does not describe {entity_id} once")
    entity = named[0]
    roles = [
        role
        for role in children_of(entity, f"{{{MD}}}IDPSSODescriptor")
        if SAMLP in role.get("protocolSupportEnumeration", "").split()
    ]
    if len(roles) != 1:
        raise TokenRefused("the metadata describes no identity provider of SAML 2.0, or two")
    around = [entity, roles[0], *entity.iterancestors()]
    ends = [end for end in (instant_of(one, "validUntil") for one in around) if end is not None]
    kept = [s for s in (_seconds(one.get("cacheDuration")) for one in around) if s is not None]
    logout = _endpoint(roles[0], "SingleLogoutService")
    return IdpMetadata(
        entity_id=entity_id,
        sign_in_url=_location(_endpoint(roles[0], "SingleSignOnService"), "Location"),
        logout_url=_location(logout, "Location"),
        logout_answer_url=_location(logout, "ResponseLocation") or _location(logout, "Location"),
        certificates=_certificates(roles[0]),
        valid_until=min(ends, default=None),
        cache_s=min(kept, default=None),
    )


def _certificates(role: Element) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    for descriptor in children_of(role, f"{{{MD}}}KeyDescriptor"):
        if descriptor.get("use", "signing") != "signing":
            continue
        for element in elements_of(descriptor, f"{{{DS}}}X509Certificate"):
            certificate = certificate_from(text_of(element))
            ensure_strong(certificate)
            found.append(certificate)
    if not 0 < len(found) <= MAX_CERTIFICATES:
        raise TokenRefused("the metadata shows no certificate that signs, or too many")
    return tuple(found)


def _endpoint(role: Element, name: str) -> Element | None:
    for element in children_of(role, f"{{{MD}}}{name}"):
        if element.get("Binding") == REDIRECT:
            return element
    return None


def _location(endpoint: Element | None, name: str) -> str:
    url = endpoint.get(name, "") if endpoint is not None else ""
    if url:
        try:
            ensure_fetchable(url, "an address in the metadata")
        except ValueError as error:
            raise TokenRefused(str(error)) from None
    return url


def _seconds(text: str | None) -> float | None:
    """An xs:duration without years and months; None for none, or for what is not understood."""
    match = _DURATION.match(text or "")
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(86400 * days + 3600 * hours + 60 * minutes + seconds)


def own_metadata(own: Own, certificate: x509.Certificate, name_id_format: str) -> bytes:
    """This gateway's metadata, for the provider's administrator."""
    root = etree.Element(f"{{{MD}}}EntityDescriptor", nsmap={"md": MD, "ds": DS})
    root.set("entityID", own.entity_id)
    role = _md(root, "SPSSODescriptor", protocolSupportEnumeration=SAMLP)
    role.set("AuthnRequestsSigned", "true")
    role.set("WantAssertionsSigned", "true")
    for use in ("signing", "encryption"):
        descriptor = _md(role, "KeyDescriptor", use=use)
        info = etree.SubElement(descriptor, f"{{{DS}}}KeyInfo")
        data = etree.SubElement(info, f"{{{DS}}}X509Data")
        shown = etree.SubElement(data, f"{{{DS}}}X509Certificate")
        shown.text = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        if use == "encryption":
            for algorithm in (*reversed(GCM), OAEP):
                _md(descriptor, "EncryptionMethod", Algorithm=algorithm)
    _md(role, "SingleLogoutService", Binding=REDIRECT, Location=own.logout_url)
    if name_id_format:
        _md(role, "NameIDFormat").text = name_id_format
    service = _md(role, "AssertionConsumerService", Binding=POST, Location=own.assertion_url)
    service.set("index", "0")
    service.set("isDefault", "true")
    return etree.tostring(root, encoding="utf-8", xml_declaration=True, pretty_print=True)


def _md(parent: Element, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, f"{{{MD}}}{name}", attributes)
