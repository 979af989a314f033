"""A SAML provider in a few lines, which says whatever a test wants said, and signs it or not."""

import base64
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.signer import XMLSigner

from taskgate.identity.saml.names import (
    ASSERTION,
    DS,
    ISSUER,
    MD,
    REDIRECT,
    SAML,
    SAMLP,
    SIGNATURE,
    XENC,
    XENC11,
)
from taskgate.identity.saml.redirects import redirect_to
from taskgate.identity.saml.xml import Element, instant
from tests.saml_provider.keys import certificate_of, new_key

ENTITY = "https://login.example.com/idp"
BASE = "https://gate.example.com:8443"
ACS = f"{BASE}/saml/corp/acs"
SLO = f"{BASE}/saml/corp/slo"
AUDIENCE = f"{BASE}/saml/corp/metadata"

_KEYS: list[rsa.RSAPrivateKey] = []

RESPONSE = """<samlp:Response xmlns:samlp="{samlp}" xmlns:saml="{saml}" ID="{response_id}"
 Version="2.0" IssueInstant="{issued}" Destination="{destination}" InResponseTo="{request}"
><saml:Issuer>{issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value="{status}"/></samlp:Status
>{assertion}</samlp:Response>"""
ASSERTION_TEXT = """<saml:Assertion xmlns:saml="{saml}" xmlns:xs="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ID="{id}" Version="2.0"
 IssueInstant="{issued}"><saml:Issuer>{issuer}</saml:Issuer><saml:Subject
><saml:NameID{name_attributes}>{subject}</saml:NameID><saml:SubjectConfirmation Method="{method}"
><saml:SubjectConfirmationData NotOnOrAfter="{until}" Recipient="{recipient}"
 InResponseTo="{request}"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions
 NotBefore="{since}" NotOnOrAfter="{until}"><saml:AudienceRestriction
><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>{conditions}</saml:Conditions
><saml:AuthnStatement AuthnInstant="{authenticated}" SessionNotOnOrAfter="{session}"
 SessionIndex="{index}"><saml:AuthnContext
><saml:AuthnContextClassRef>{context}</saml:AuthnContextClassRef></saml:AuthnContext
></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="groups"
>{groups}</saml:Attribute></saml:AttributeStatement>{more}</saml:Assertion>"""
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"


def key(number: int) -> rsa.RSAPrivateKey:
    """One of a few keys made once a run: making them takes longer than most tests."""
    while len(_KEYS) <= number:
        _KEYS.append(new_key())
    return _KEYS[number]


@dataclass(slots=True)
class Idp:
    """`key` signs; `now` is the time of what it says."""

    now: Callable[[], float]
    key: rsa.RSAPrivateKey = field(default_factory=lambda: key(0))
    entity_id: str = ENTITY

    @property
    def certificate(self) -> x509.Certificate:
        return certificate_of(self.key)

    def metadata(self, more: str = "", role: str = "") -> bytes:
        shown = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="{MD}" xmlns:ds="{DS}" entityID="{self.entity_id}" ID="_m"{more}>
<md:IDPSSODescriptor protocolSupportEnumeration="{SAMLP}"{role}><md:KeyDescriptor use="signing">
<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{shown}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>
</md:KeyDescriptor>
<md:SingleLogoutService Binding="{REDIRECT}" Location="https://login.example.com/slo"/>
<md:SingleSignOnService Binding="{REDIRECT}" Location="https://login.example.com/sso?t=1"/>
</md:IDPSSODescriptor></md:EntityDescriptor>""".encode()

    def assertion(self, request: str, **changed: Any) -> str:
        """The text of an assertion, unsigned. Without a request it answers none."""
        now = self.now()
        values: dict[str, Any] = {
            "saml": SAML, "id": f"_a{os.urandom(8).hex()}", "issuer": self.entity_id,
            "subject": "ann", "name_attributes": "", "recipient": ACS, "audience": AUDIENCE,
            "conditions": "", "more": "", "method": "urn:oasis:names:tc:SAML:2.0:cm:bearer",
            "index": "s1", "context": PASSWORD, "groups": ["analysts"], "request": request,
            "issued": now, "since": now - 30, "until": now + 300, "authenticated": now,
            "session": now + 8 * 3600,
        } | changed  # fmt: skip
        values["groups"] = "".join(
            f'<saml:AttributeValue xsi:type="xs:string">{one}</saml:AttributeValue>'
            for one in values["groups"]
        )
        text = ASSERTION_TEXT.format(**_written(values))
        return text if request else text.replace(' InResponseTo=""', "")

    def response(self, request: str, assertion: str = "", **changed: Any) -> Element:
        """A response around `assertion`, or around a good one; nothing is signed."""
        outer = {
            "samlp": SAMLP, "saml": SAML, "response_id": f"_r{os.urandom(8).hex()}",
            "issued": self.now(), "destination": ACS, "request": request,
            "issuer": self.entity_id, "status": "urn:oasis:names:tc:SAML:2.0:status:Success",
        }  # fmt: skip
        own = {
            name: changed.pop(name) for name in list(changed) if name in ("destination", "status")
        }
        text = RESPONSE.format(
            **_written(outer | own), assertion=assertion or self.assertion(request, **changed)
        )
        return etree.fromstring(text if request else text.replace(' InResponseTo=""', ""))

    def signed(self, request: str, **changed: Any) -> bytes:
        """A response with a signed assertion, as most providers send it."""
        root = self.response(request, **changed)
        self.sign(root.find(ASSERTION))
        return etree.tostring(root)

    def sign(self, element: Element | None, **options: Any) -> None:
        """Signs `element` where it stands, by the plain enveloped signature unless `options`
        (XMLSigner's, and `by` for another key) say otherwise."""
        assert element is not None
        by = options.pop("by", self.key)
        signer = _Lax(
            **{
                "method": SignatureConstructionMethod.enveloped,
                "signature_algorithm": SignatureMethod.RSA_SHA256,
                "digest_algorithm": DigestAlgorithm.SHA256,
                "c14n_algorithm": CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
            }
            | options
        )
        alone = etree.fromstring(etree.tostring(element, with_tail=False))
        done = signer.sign(
            alone, key=by, cert=[certificate_of(by)], reference_uri=f"#{element.get('ID')}",
            id_attribute="ID",
        )  # fmt: skip
        signature = done.find(SIGNATURE)
        assert signature is not None
        issuer = element.find(ISSUER)
        element.insert(element.index(issuer) + 1 if issuer is not None else 0, signature)

    def redirected(self, kind: str, message: str, relay: str = "") -> str:
        """A signed query string with `message`; `kind` is SAMLRequest or SAMLResponse."""
        url = redirect_to(
            "https://x/", message.encode(), relay, self.key, request=kind == "SAMLRequest"
        )
        return url.partition("?")[2]

    def logout_request(self, name: str = "ann", **changed: Any) -> str:
        values: dict[str, Any] = {
            "id": f"_l{os.urandom(8).hex()}", "issued": self.now(), "destination": SLO,
            "issuer": self.entity_id, "index": "s1", "until": self.now() + 60,
        } | changed  # fmt: skip
        return (
            '<samlp:LogoutRequest xmlns:samlp="{p}" xmlns:saml="{s}" ID="{id}" Version="2.0"'
            ' IssueInstant="{issued}" Destination="{destination}" NotOnOrAfter="{until}">'
            "<saml:Issuer>{issuer}</saml:Issuer><saml:NameID>{name}</saml:NameID>"
            "<samlp:SessionIndex>{index}</samlp:SessionIndex></samlp:LogoutRequest>"
        ).format(p=SAMLP, s=SAML, name=name, **_written(values))


class _Lax(XMLSigner):
    """Signs with what a verifier must refuse, too."""

    def check_deprecated_methods(self) -> None:
        pass


def encrypted(
    plain: bytes,
    to: rsa.RSAPublicKey,
    *,
    cipher: str = XENC11 + "aes256-gcm",
    transport: str = XENC + "rsa-oaep-mgf1p",
) -> str:
    """An EncryptedAssertion around `plain`."""
    secret = os.urandom(16 if "128" in cipher else 32)
    if cipher.endswith("gcm"):
        nonce = os.urandom(12)
        content = nonce + AESGCM(secret).encrypt(nonce, plain, None)
    else:
        nonce, fill = os.urandom(16), 16 - len(plain) % 16
        machine = Cipher(AES(secret), CBC(nonce)).encryptor()
        content = nonce + machine.update(plain + bytes(fill - 1) + bytes([fill]))
        content += machine.finalize()
    if transport.endswith("rsa-1_5"):
        sealed = to.encrypt(secret, padding.PKCS1v15())
    else:
        sealed = to.encrypt(secret, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    written = [base64.b64encode(one).decode() for one in (sealed, content)]
    return (
        f'<saml:EncryptedAssertion xmlns:saml="{SAML}" xmlns:xenc="{XENC}" xmlns:ds="{DS}">'
        f'<xenc:EncryptedData Type="{XENC}Element"><xenc:EncryptionMethod Algorithm="{cipher}"/>'
        f'<ds:KeyInfo><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="{transport}"/>'
        f"<xenc:CipherData><xenc:CipherValue>{written[0]}</xenc:CipherValue></xenc:CipherData>"
        "</xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData>"
        f"<xenc:CipherValue>{written[1]}</xenc:CipherValue></xenc:CipherData>"
        "</xenc:EncryptedData></saml:EncryptedAssertion>"
    )


def message_in(url: str, kind: str = "SAMLRequest") -> Element:
    """The message in a redirection's address."""
    found = parse_qs(urlsplit(url).query)[kind][0]
    return etree.fromstring(zlib.decompress(base64.b64decode(found), -15))


def relay_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["RelayState"][0]


def posted(data: bytes) -> str:
    """As a form's field has it."""
    return base64.b64encode(data).decode()


def _written(values: dict[str, Any]) -> dict[str, Any]:
    return {k: instant(v) if isinstance(v, float) else v for k, v in values.items()}
