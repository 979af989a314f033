"""SAML responses that the provider did not sign, in every way known: nobody is signed in by them.

Numbered wrappings are those of Somorovsky et al., "On Breaking SAML" (USENIX Security 2012).
"""

import base64
import copy
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureMethod,
)

from taskgate.identity.saml.assertion import Expected
from taskgate.identity.saml.names import (
    ASSERTION,
    DS,
    ENVELOPED,
    EXC_C14N,
    SAML,
    SAMLP,
    SIGNATURE,
)
from taskgate.identity.saml.people import identity_of
from taskgate.identity.saml.response import read_response
from taskgate.identity.saml.xml import Element
from tests.evasions.saml_cases import (
    IDP,
    NOW,
    REQUEST,
    Case,
    drop,
    eves_parts,
    name_in,
    refusal,
    signature_in,
)
from tests.identity.saml.around import OWN, settings_for
from tests.identity.saml.issuing import ACS, AUDIENCE, Idp, key


def test_the_response_that_the_cases_change_is_a_good_one() -> None:
    expected = Expected(IDP.entity_id, AUDIENCE, ACS, REQUEST, NOW)
    found = read_response(IDP.signed(REQUEST), expected, [IDP.certificate], [key(OWN)])
    assert identity_of(settings_for(""), AUDIENCE, found, NOW).key == "corp:ann"


def _object(signature: Element, content: Element) -> None:
    etree.SubElement(signature, f"{{{DS}}}Object").append(content)


def _signed_response(idp: Idp, request: str) -> tuple[Element, Element]:
    """Eve's response signed as a whole, and a copy of it that says `ann` and has no signature."""
    root = idp.response(request, subject="eve")
    idp.sign(root)
    forged = copy.deepcopy(root)
    drop(forged.find(SIGNATURE))
    forged.set("ID", "_forged")
    inner = forged.find(ASSERTION)
    assert inner is not None
    inner.set("ID", "_forged_too")
    name_in(forged).text = "ann"
    return root, forged


def xsw1(idp: Idp, request: str) -> bytes:
    root, forged = _signed_response(idp, request)
    signature = copy.deepcopy(signature_in(root))
    drop(root.find(SIGNATURE))
    _object(signature, root)
    forged.insert(1, signature)
    return etree.tostring(forged)


def xsw2(idp: Idp, request: str) -> bytes:
    root, forged = _signed_response(idp, request)
    signature = copy.deepcopy(signature_in(root))
    drop(root.find(SIGNATURE))
    forged.insert(1, root)
    forged.insert(2, signature)
    return etree.tostring(forged)


def xsw3(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    root.insert(root.index(mine), forged)
    return etree.tostring(root)


def xsw3_last(idp: Idp, request: str) -> bytes:
    root, _, forged = eves_parts(idp, request)
    root.append(forged)
    return etree.tostring(root)


def xsw4(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    root.remove(mine)
    forged.append(mine)
    root.append(forged)
    return etree.tostring(root)


def xsw5(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    signature = signature_in(mine)
    mine.remove(signature)
    forged.insert(1, signature)
    root.insert(root.index(mine), forged)
    return etree.tostring(root)


def xsw6(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    signature = copy.deepcopy(signature_in(mine))
    root.remove(mine)
    _object(signature, mine)
    forged.insert(1, signature)
    root.append(forged)
    return etree.tostring(root)


def xsw7(idp: Idp, request: str) -> bytes:
    root, _, forged = eves_parts(idp, request)
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(forged)
    root.insert(1, extensions)
    return etree.tostring(root)


def xsw8(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    signature = signature_in(mine)
    original = copy.deepcopy(mine)
    drop(original.find(SIGNATURE))
    root.remove(mine)
    forged.insert(1, signature)
    _object(signature, original)
    root.append(forged)
    return etree.tostring(root)


def in_the_advice(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    root.remove(mine)
    etree.SubElement(forged, f"{{{SAML}}}Advice").append(mine)
    root.append(forged)
    return etree.tostring(root)


def in_an_attribute_value(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    root.remove(mine)
    value = next(forged.iter(f"{{{SAML}}}AttributeValue"))
    value.append(mine)
    root.append(forged)
    return etree.tostring(root)


def same_id(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    forged.set("ID", mine.get("ID", ""))
    root.insert(root.index(mine), forged)
    return etree.tostring(root)


def same_id_by_another_name(idp: Idp, request: str) -> bytes:
    root, mine, _ = eves_parts(idp, request)
    root.set("{http://www.w3.org/XML/1998/namespace}id", mine.get("ID", ""))
    return etree.tostring(root)


def response_within_the_response(idp: Idp, request: str) -> bytes:
    root, _ = _signed_response(idp, request)
    outer = idp.response(request)
    outer.append(root)
    return etree.tostring(outer)


def another_root(idp: Idp, request: str) -> bytes:
    root, _, _ = eves_parts(idp, request)
    outer = etree.Element(f"{{{SAMLP}}}ArtifactResponse", ID="_o", Version="2.0")
    outer.append(root)
    return etree.tostring(outer)


def assertion_alone(idp: Idp, request: str) -> bytes:
    _, mine, _ = eves_parts(idp, request)
    return etree.tostring(mine)


def unsigned(idp: Idp, request: str) -> bytes:
    return etree.tostring(idp.response(request))


def signature_stripped(idp: Idp, request: str) -> bytes:
    root, _, _ = eves_parts(idp, request)
    drop(root.find(ASSERTION)[1] if root.find(ASSERTION) is not None else None)  # type: ignore[index]
    return etree.tostring(root)


def swapped_in_a_signed_response(idp: Idp, request: str) -> bytes:
    root, _ = _signed_response(idp, request)
    old = root.find(ASSERTION)
    assert old is not None
    root.replace(old, etree.fromstring(idp.assertion(request)))
    return etree.tostring(root)


def response_signed_by_the_provider_assertion_by_another(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    idp.sign(root.find(ASSERTION), by=key(1))
    idp.sign(root)
    return etree.tostring(root)


def changed_name(idp: Idp, request: str) -> bytes:
    return idp.signed(request, subject="eve").replace(b">eve<", b">ann<")


def changed_group(idp: Idp, request: str) -> bytes:
    data = idp.signed(request, groups=["visitors"])
    return data.replace(b">visitors<", b">analysts<")


def by_another_key(idp: Idp, request: str) -> bytes:
    """Its own certificate is in the signature, as usual."""
    root = idp.response(request)
    idp.sign(root.find(ASSERTION), by=key(1))
    return etree.tostring(root)


def bare_key_in_the_signature(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    idp.sign(root.find(ASSERTION), by=key(1))
    info = next(root.iter(f"{{{DS}}}KeyInfo"))
    info.clear()
    value = etree.SubElement(etree.SubElement(info, f"{{{DS}}}KeyValue"), f"{{{DS}}}RSAKeyValue")
    numbers = key(1).public_key().public_numbers()
    for name, number in (("Modulus", numbers.n), ("Exponent", numbers.e)):
        raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
        etree.SubElement(value, f"{{{DS}}}{name}").text = base64.b64encode(raw).decode()
    return etree.tostring(root)


def hmac_with_the_certificate(idp: Idp, request: str) -> bytes:
    """The public key as if it were a shared secret."""
    root, mine, _ = eves_parts(idp, request)
    name_in(mine).text = "ann"
    signature = signature_in(mine)
    mine.remove(signature)
    info = signature[0]
    info[1].set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(etree.tostring(mine, method="c14n", exclusive=True))
    info[2][2].text = base64.b64encode(digest.finalize()).decode()
    public = idp.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    maker = hmac.HMAC(public, hashes.SHA256())
    maker.update(etree.tostring(info, method="c14n", exclusive=True))
    signature[1].text = base64.b64encode(maker.finalize()).decode()
    mine.insert(1, signature)
    return etree.tostring(root)


def sha1(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    idp.sign(root.find(ASSERTION), signature_algorithm=SignatureMethod.RSA_SHA1)
    return etree.tostring(root)


def sha1_digest(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    idp.sign(root.find(ASSERTION), digest_algorithm=DigestAlgorithm.SHA1)
    return etree.tostring(root)


def inclusive_canonicalization(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    method = CanonicalizationMethod.CANONICAL_XML_1_0
    idp.sign(root.find(ASSERTION), c14n_algorithm=method)
    return etree.tostring(root)


def with_comments(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    method = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS
    idp.sign(root.find(ASSERTION), c14n_algorithm=method)
    return etree.tostring(root)


def _tampered(change: Callable[[Element], None]) -> Case:
    """A good response with its signature written otherwise."""

    def make(idp: Idp, request: str) -> bytes:
        root = etree.fromstring(idp.signed(request))
        change(next(root.iter(SIGNATURE)))
        return etree.tostring(root)

    return make


def _transform(algorithm: str, content: str = "") -> Case:
    def change(signature: Element) -> None:
        transforms = next(signature.iter(f"{{{DS}}}Transforms"))
        added = etree.SubElement(transforms, f"{{{DS}}}Transform", Algorithm=algorithm)
        if content:
            added.append(etree.fromstring(content))

    return _tampered(change)


def _reference(uri: str | None) -> Case:
    def change(signature: Element) -> None:
        reference = next(signature.iter(f"{{{DS}}}Reference"))
        if uri is None:
            del reference.attrib["URI"]
        else:
            reference.set("URI", uri)

    return _tampered(change)


def _no_canonicalization(signature: Element) -> None:
    transforms = next(signature.iter(f"{{{DS}}}Transforms"))
    transforms.remove(transforms[1])


def _empty_canonicalization(signature: Element) -> None:
    next(signature.iter(f"{{{DS}}}CanonicalizationMethod")).set("Algorithm", "None")


def _second_reference(signature: Element) -> None:
    reference = next(signature.iter(f"{{{DS}}}Reference"))
    info = reference.getparent()
    assert info is not None
    info.append(copy.deepcopy(reference))


def _truncated(signature: Element) -> None:
    method = next(signature.iter(f"{{{DS}}}SignatureMethod"))
    etree.SubElement(method, f"{{{DS}}}HMACOutputLength").text = "0"


def signature_over_the_other_element(idp: Idp, request: str) -> bytes:
    """The assertion's place has a signature that covers the status."""
    root, mine, forged = eves_parts(idp, request)
    root.remove(mine)
    status = root.find(f"{{{SAMLP}}}Status")
    assert status is not None
    status.set("ID", "_status")
    idp.sign(status)
    signature = signature_in(status)
    status.remove(signature)
    forged.insert(1, signature)
    root.append(forged)
    return etree.tostring(root)


def signature_in_the_subject(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    signature = signature_in(mine)
    root.remove(mine)
    forged[1].append(signature)
    root.append(forged)
    return etree.tostring(root)


def two_signatures(idp: Idp, request: str) -> bytes:
    root, mine, _ = eves_parts(idp, request)
    mine.insert(1, copy.deepcopy(signature_in(mine)))
    return etree.tostring(root)


SIGNATURES: dict[str, tuple[Case, str]] = {
    "xsw1": (xsw1, "parts|one assertion|within"),
    "xsw2": (xsw2, "parts|one assertion|within"),
    "xsw3": (xsw3, "one assertion"),
    "xsw3, the other order": (xsw3_last, "one assertion"),
    "xsw4": (xsw4, "one assertion"),
    "xsw5": (xsw5, "one assertion"),
    "xsw6": (xsw6, "one assertion"),
    "xsw7": (xsw7, "parts|one assertion"),
    "xsw8": (xsw8, "one assertion"),
    "the real one in the forged one's advice": (in_the_advice, "one assertion"),
    "the real one in an attribute's value": (in_an_attribute_value, "one assertion"),
    "two assertions of one ID": (same_id, "same ID"),
    "the ID on the response too, as xml:id": (same_id_by_another_name, "same ID"),
    "a response in a response": (response_within_the_response, "parts|within|one assertion"),
    "a response in something else": (another_root, "no response"),
    "an assertion without a response": (assertion_alone, "no response"),
    "nothing is signed": (unsigned, "neither"),
    "the signature taken out": (signature_stripped, "neither"),
    "the assertion of a signed response swapped": (swapped_in_a_signed_response, "no key"),
    "an assertion that another one signed, in a signed response": (
        response_signed_by_the_provider_assertion_by_another, "no key",
    ),
    "another name": (changed_name, "no key"),
    "another group": (changed_group, "no key"),
    "signed by somebody else, whose certificate comes along": (by_another_key, "no key"),
    "signed by a bare key that comes along": (bare_key_in_the_signature, "no key"),
    "the public key as an HMAC's secret": (hmac_with_the_certificate, "not one that is taken"),
    "SHA-1": (sha1, "not one that is taken"),
    "a SHA-1 digest": (sha1_digest, "not one that is taken"),
    "inclusive canonicalization": (inclusive_canonicalization, "not one that is taken"),
    "canonicalization with comments": (with_comments, "not one that is taken"),
    "no canonicalization": (_tampered(_no_canonicalization), "transforms"),
    "canonicalization None": (_tampered(_empty_canonicalization), "not one that is taken"),
    "XSLT": (
        _transform(
            "http://www.w3.org/TR/1999/REC-xslt-19991116",
            '<x:stylesheet xmlns:x="http://www.w3.org/1999/XSL/Transform" version="1.0"/>',
        ),
        "transforms",
    ),
    "XPath": (
        _transform(
            "http://www.w3.org/TR/1999/REC-xpath-19991116",
            f'<XPath xmlns="{DS}">not(ancestor-or-self::Subject)</XPath>',
        ),
        "transforms",
    ),
    "XPath filter 2": (_transform("http://www.w3.org/2002/06/xmldsig-filter2"), "transforms"),
    "base64": (_transform(DS + "base64"), "transforms"),
    "enveloped twice": (_transform(ENVELOPED), "transforms"),
    "canonicalized twice": (_transform(EXC_C14N), "transforms"),
    "a reference to everything": (_reference(""), "another element"),
    "a reference to nothing said": (_reference(None), "another element"),
    "a reference to a file": (_reference("file:///etc/passwd"), "another element"),
    "a reference to another host": (_reference("http://127.0.0.1:1/x"), "another element"),
    "a reference by XPointer": (_reference("#xpointer(/)"), "another element"),
    "two references": (_tampered(_second_reference), "one thing"),
    "a truncated MAC": (_tampered(_truncated), "parameters|not one that is taken"),
    "a signature over another element": (signature_over_the_other_element, "another element|same"),
    "a signature somewhere else": (signature_in_the_subject, "none belongs"),
    "two signatures": (two_signatures, "one signature|same ID"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_what_the_provider_did_not_sign_signs_nobody_in(make: Case, why: str) -> None:
    said = refusal(make(IDP, REQUEST))
    assert any(words in said for words in why.split("|")), said
