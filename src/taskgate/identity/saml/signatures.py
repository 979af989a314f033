"""Signatures over messages: who is believed, and what exactly was signed. Pure.

An XML signature can point anywhere and transform anything, and most attacks on SAML live off that.
Here it may do one thing: cover the element that it stands in, whole, by exclusive canonicalization.
Everything else is refused before the signature is computed, and what is read afterwards is the
canonical text that was signed, never the message around it. The key is the configured one;
a signature's own KeyInfo is not looked at.

Sources: SAML 2.0 core section 5.4; XML Signature 1.1; bindings section 3.4.4.1 (query strings).
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidCertificate, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import DS, ENVELOPED, EXC_C14N, SIGNATURE
from taskgate.identity.saml.xml import (
    Element,
    children_of,
    id_of,
    serialized,
    strict_parser,
)

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
RSA_SHA256: Final = _MORE + "rsa-sha256"
# Nothing with SHA-1, DSA, or a secret (HMAC with a public key as if it were one).
_METHODS: Final = frozenset(
    method
    for method in SignatureMethod
    if method.name in {f"{kind}_SHA{bits}" for kind in ("RSA", "ECDSA") for bits in (256, 384, 512)}
)
_DIGESTS: Final = frozenset(
    {DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512}
)
_CONFIGURATION: Final = SignatureConfiguration(
    require_x509=True,
    location="./",
    expect_references=1,
    signature_methods=_METHODS,
    digest_algorithms=_DIGESTS,
    ignore_ambiguous_key_info=True,
)
MIN_RSA_BITS: Final = 2048


def is_signed(element: Element) -> bool:
    """Whether it claims to be: a signature stands in it as a child."""
    return bool(children_of(element, SIGNATURE))


def signed_part(element: Element, certificates: Sequence[x509.Certificate]) -> Element:
    """What a signature in `element` covers, read from the canonical text that was signed, without
    the signature itself: the element as its signer had it.

    Raises: TokenRefused, also where the signature is made in any way but the plain one.
    """
    signatures = children_of(element, SIGNATURE)
    if len(signatures) != 1:
        raise TokenRefused("there is not one signature")
    _ensure_plain(signatures[0], id_of(element))
    document = serialized(element)
    why = "the signature is by no key of the provider's"
    for certificate in certificates:
        try:
            found = XMLVerifier().verify(
                document,
                x509_cert=certificate,
                expect_config=_CONFIGURATION,
                id_attribute="ID",
                parser=strict_parser(),
            )
        except InvalidCertificate:
            why = "the provider's certificate has run out, or is not valid yet"
            continue
        except (SignXMLException, BadSignature, etree.LxmlError, ValueError, TypeError, KeyError):
            continue
        part = None if isinstance(found, list) else found.signed_xml
        if part is None or part.tag != element.tag or part.get("ID") != element.get("ID"):
            raise TokenRefused("the signature covers something else")
        return part
    raise TokenRefused(why)


def _ensure_plain(signature: Element, covered: str) -> None:
    """Raises: TokenRefused for a signature that is not the plain one over the ID `covered`."""
    parts = [_ds(child) for child in signature]
    if parts not in (["SignedInfo", "SignatureValue", "KeyInfo"], ["SignedInfo", "SignatureValue"]):
        raise TokenRefused("the signature has parts that it must not have")
    info = signature[0]
    if [_ds(child) for child in info] != ["CanonicalizationMethod", "SignatureMethod", "Reference"]:
        raise TokenRefused("the signature must cover one thing")
    canonicalization, method, reference = info
    _ensure_algorithm(canonicalization, {EXC_C14N})
    _ensure_algorithm(method, {one.value for one in _METHODS})
    if set(reference.attrib) != {"URI"} or reference.get("URI") != f"#{covered}":
        raise TokenRefused("the signature covers another element than the one it stands in")
    if [_ds(child) for child in reference] != ["Transforms", "DigestMethod", "DigestValue"]:
        raise TokenRefused("the signature's reference has parts that it must not have")
    transforms = list(reference[0])
    if [_ds(one) for one in transforms] != ["Transform", "Transform"]:
        raise TokenRefused("the signature transforms what it covers in other ways than allowed")
    _ensure_algorithm(transforms[0], {ENVELOPED})
    _ensure_algorithm(transforms[1], {EXC_C14N}, prefixes=True)
    _ensure_algorithm(reference[1], {one.value for one in _DIGESTS})


def _ensure_algorithm(element: Element, allowed: set[str], *, prefixes: bool = False) -> None:
    if set(element.attrib) != {"Algorithm"} or element.get("Algorithm") not in allowed:
        raise TokenRefused(f"the signature's {_ds(element)} is not one that is taken")
    inner = list(element)
    if prefixes and len(inner) == 1 and inner[0].tag == f"{{{EXC_C14N}}}InclusiveNamespaces":
        inner = list(inner[0])
    if inner:
        raise TokenRefused(f"the signature's {_ds(element)} has parameters")


def _ds(element: Element) -> str:
    tag = str(element.tag)
    return tag.removeprefix(f"{{{DS}}}") if tag.startswith(f"{{{DS}}}") else "?"


# Signatures over query strings.


def signed_query(query: str, key: rsa.RSAPrivateKey) -> str:
    """`query` with the algorithm and the signature appended; both then go as they are."""
    text = f"{query}&SigAlg={quote(RSA_SHA256, safe='')}"
    made = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}&Signature={quote(base64.b64encode(made).decode(), safe='')}"


def check_query(
    signed: str, algorithm: str, signature: str, certificates: Sequence[x509.Certificate]
) -> None:
    """That a query string was signed by one of `certificates`. `signed` is the text as it came,
    still encoded. Raises: TokenRefused."""
    kind, _, name = algorithm.removeprefix(_MORE).partition("-")
    made = _HASHES.get(name)
    if not algorithm.startswith(_MORE) or kind not in ("rsa", "ecdsa") or made is None:
        raise TokenRefused("the signature's method is not one that is taken")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        raise TokenRefused("the signature is no base64") from None
    for certificate in certificates:
        key = certificate.public_key()
        try:
            if isinstance(key, rsa.RSAPublicKey) and kind == "rsa":
                key.verify(raw, signed.encode(), padding.PKCS1v15(), made)
                return
            if isinstance(key, ec.EllipticCurvePublicKey) and kind == "ecdsa":
                key.verify(_asn1(raw), signed.encode(), ec.ECDSA(made))
                return
        except (BadSignature, ValueError):
            continue
    raise TokenRefused("the signature is by no key of the provider's")


def _asn1(raw: bytes) -> bytes:
    """RFC 4050 section 3.3: the two numbers one after the other."""
    half = len(raw) // 2
    return encode_dss_signature(
        int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    )


def ensure_strong(certificate: x509.Certificate) -> None:
    """Raises: TokenRefused for a key that is too short, or of a kind that nothing here takes."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return
    raise TokenRefused(f"a key must be RSA of {MIN_RSA_BITS} bits, or of an elliptic curve of 256")


def certificate_from(text: str) -> x509.Certificate:
    """From the base64 within an X509Certificate element. Raises: TokenRefused."""
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(text.split())))
    except (ValueError, binascii.Error):
        raise TokenRefused("a certificate cannot be read") from None
