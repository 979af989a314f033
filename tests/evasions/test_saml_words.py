"""SAML responses that were said to somebody else, or long ago, or that two readers could read
in two ways: nobody is signed in by them."""

import contextlib
import copy
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from lxml import etree

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import (
    SAML,
)
from taskgate.identity.saml.redirects import decoded, inflated
from taskgate.identity.saml.xml import parse_message
from taskgate.model.limits import (
    CLOCK_SKEW_S,
    MAX_SAML_BYTES,
    MAX_XML_ATTRIBUTES,
    MAX_XML_DEPTH,
    SAML_ASSERTION_S,
)
from tests.evasions.saml_cases import IDP, REQUEST, Case, drop, refusal
from tests.identity.saml.issuing import Idp


def _changed(**changed: object) -> Case:
    return lambda idp, request: idp.signed(request, **changed)


def _at(offset_s: float, *names: str) -> Case:
    return lambda idp, request: idp.signed(request, **dict.fromkeys(names, idp.now() + offset_s))


def unsigned_answer_to_another(idp: Idp, request: str) -> bytes:
    return idp.signed(request).replace(
        b'InResponseTo="' + request.encode(), b'InResponseTo="_other', 1
    )


def no_destination(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    del root.attrib["Destination"]
    idp.sign(root)
    return etree.tostring(root)


def two_confirmations(idp: Idp, request: str) -> bytes:
    root = idp.response(request)
    confirmation = next(root.iter(f"{{{SAML}}}SubjectConfirmation"))
    confirmation.addnext(copy.deepcopy(confirmation))
    idp.sign(root)
    return etree.tostring(root)


def _without(tag: str) -> Case:
    def make(idp: Idp, request: str) -> bytes:
        root = idp.response(request)
        drop(next(root.iter(f"{{{SAML}}}{tag}")))
        idp.sign(root)
        return etree.tostring(root)

    return make


STATUS = "urn:oasis:names:tc:SAML:2.0:status:"
WORDS: dict[str, tuple[Case, str]] = {
    "for another audience": (_changed(audience="https://other.example.com"), "audience"),
    "for no audience": (_without("AudienceRestriction"), "audience"),
    "for another recipient": (_changed(recipient="https://other.example.com/acs"), "recipient"),
    "for another destination": (_changed(destination="https://other.example.com"), "destination"),
    "signed for no destination": (no_destination, "destination"),
    "by another issuer": (_changed(issuer="https://evil.example"), "another issuer"),
    "expired": (_at(-CLOCK_SKEW_S, "until"), "expired"),
    "older than an hour, whatever it says": (
        _at(-SAML_ASSERTION_S - CLOCK_SKEW_S, "issued"), "expired"
    ),
    "not valid yet": (_at(61, "since"), "not count yet"),
    "issued in the future": (_at(61, "issued"), "future"),
    "signed in in the future": (_at(61, "authenticated"), "future"),
    "the provider's session is over": (_at(-CLOCK_SKEW_S, "session"), "session has ended"),
    "an answer to another request, outside the signature": (unsigned_answer_to_another, "request"),
    "no conditions": (_without("Conditions"), "one Conditions"),
    "no confirmation": (_without("SubjectConfirmation"), "one SubjectConfirmation"),
    "two confirmations": (two_confirmations, "one SubjectConfirmation"),
    "no statement of signing in": (_without("AuthnStatement"), "one AuthnStatement"),
    "nobody": (_without("NameID"), "names nobody"),
    "not a bearer's": (
        _changed(method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"), "confirmed"
    ),
    "a condition that is not known": (
        _changed(conditions='<saml:Condition Type="x"/>'), "not understood"
    ),
    "an encrypted attribute": (
        _changed(
            more="<saml:AttributeStatement><saml:EncryptedAttribute/></saml:AttributeStatement>"
        ),
        "not taken",
    ),
    "a failure": (_changed(status=STATUS + "Responder"), "refused: Responder"),
    "a name that is another one each time": (
        _changed(
            name_attributes=' Format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient"'
        ),
        "transient",
    ),
    "a name of another provider's": (
        _changed(name_attributes=' NameQualifier="https://evil.example"'), "another provider"
    ),
    "a name for another service": (
        _changed(name_attributes=' SPNameQualifier="https://other.example.com"'), "another service"
    ),
    "an empty name": (_changed(subject=""), "proper subject"),
    "a name with an element in it": (_changed(subject="ann<saml:x/>.evil"), "text alone"),
    "a name with space around it": (_changed(subject="ann\n"), "proper subject"),
    "a name that nobody can see": (_changed(subject="ann\u200b"), "proper subject"),
    "a very long name": (_changed(subject="a" * 256), "proper subject"),
}  # fmt: skip


@pytest.mark.cap("SAML_ASSERTION_S")
@pytest.mark.parametrize(("make", "why"), WORDS.values(), ids=WORDS.keys())
def test_what_was_said_to_somebody_else_or_long_ago_signs_nobody_in(make: Case, why: str) -> None:
    assert why in refusal(make(IDP, REQUEST))


def _text(make: Callable[[bytes], bytes]) -> Case:
    """A good response whose text `make` changes."""
    return lambda idp, request: make(idp.signed(request, subject="ann.evil"))


def _doctype(subset: str) -> Case:
    return _text(
        lambda data: f"<!DOCTYPE x [{subset}]>".encode() + data.replace(b"ann.evil", b"&x;")
    )


_LAUGHS = "".join(
    f'<!ENTITY x{n} "{f"&x{n - 1};" * 10 if n else "ha" * 10}">' for n in range(10)
).replace("x9", "x")
XML: dict[str, tuple[Case, str]] = {
    "a comment within the name": (
        _text(lambda data: data.replace(b"ann.evil", b"ann<!---->.evil")), "comment",
    ),
    "a comment within a group": (
        _text(lambda data: data.replace(b"analysts<", b"analy<!--x-->sts<")), "comment",
    ),
    "an instruction within the name": (
        _text(lambda data: data.replace(b"ann.evil", b"ann<?x?>.evil")), "comment",
    ),
    "CDATA within the name": (
        _text(lambda data: data.replace(b"ann.evil", b"ann<![CDATA[]]>.evil")), "comment",
    ),
    "a comment before everything": (_text(lambda data: b"<!-- -->" + data), "comment"),
    "an entity": (_doctype('<!ENTITY x "ann">'), "document type"),
    "a file as an entity": (_doctype('<!ENTITY x SYSTEM "file:///etc/passwd">'), "document type"),
    "a host as an entity": (
        _doctype('<!ENTITY x SYSTEM "http://127.0.0.1:1/x">'), "document type",
    ),
    "a parameter entity": (
        _doctype('<!ENTITY % y SYSTEM "http://127.0.0.1:1/x"> %y;'), "document type",
    ),
    "a billion laughs": (_doctype(_LAUGHS), "document type"),
    "a default attribute by a document type": (
        _doctype('<!ATTLIST saml:NameID Format CDATA "x">'), "document type",
    ),
    "a document type in UTF-16": (
        _text(lambda data: '<!DOCTYPE x [<!ENTITY x "ann">]>'.encode("utf-16") + data), "UTF-8",
    ),
    "a declared encoding that hides markup": (
        _text(lambda data: b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-' + data), "instruction",
    ),
    "XML 1.1": (_text(lambda data: b'<?xml version="1.1"?>' + data), "instruction"),
    "not UTF-8": (_text(lambda data: data.replace(b"ann.evil", b"ann\xff")), "UTF-8"),
    "a NUL": (_text(lambda data: data.replace(b"ann.evil", b"ann\0.evil")), "well-formed"),
    "an entity that is not there": (
        _text(lambda data: data.replace(b"ann.evil", b"&x;")), "well-formed",
    ),
    "two documents": (_text(lambda data: data + data), "well-formed"),
    "half a document": (_text(lambda data: data[: len(data) // 2]), "well-formed"),
    "nothing": (_text(lambda data: b""), "well-formed"),
    "JSON": (_text(lambda data: b'{"sub": "ann"}'), "well-formed"),
    "too large": (_text(lambda data: data + b" " * MAX_SAML_BYTES), "larger than"),
    "too deep": (
        lambda idp, request: etree.tostring(
            idp.response(request, "<a>" * MAX_XML_DEPTH + "</a>" * MAX_XML_DEPTH)
        ),
        "nested deeper",
    ),
    "too many attributes": (
        _text(
            lambda data: data.replace(
                b"<saml:NameID",
                b"<saml:NameID" + b"".join(b' a%d=""' % n for n in range(MAX_XML_ATTRIBUTES)),
            )
        ),
        "attributes",
    ),
    "too many namespaces": (
        _text(
            lambda data: data.replace(
                b"<saml:NameID",
                b"<saml:NameID"
                + b"".join(b' xmlns:n%d="u:%d"' % (n, n) for n in range(MAX_XML_ATTRIBUTES)),
            )
        ),
        "attributes",
    ),
}  # fmt: skip


@pytest.mark.cap("MAX_SAML_BYTES", "MAX_XML_DEPTH", "MAX_XML_ATTRIBUTES")
@pytest.mark.parametrize(("make", "why"), XML.values(), ids=XML.keys())
def test_xml_that_two_readers_could_read_in_two_ways_signs_nobody_in(make: Case, why: str) -> None:
    assert why in refusal(make(IDP, REQUEST))


# What costs the gate more than its sender.


@pytest.mark.cap("MAX_SAML_BYTES")
def test_a_small_message_does_not_become_a_large_one() -> None:
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeezed.compress(b"<a/>" * 50_000_000) + squeezed.flush()
    assert len(bomb) < 2 * MAX_SAML_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(TokenRefused):
            inflated(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_SAML_BYTES
    finally:
        tracemalloc.stop()
    with pytest.raises(TokenRefused):
        decoded("A" * (2 * MAX_SAML_BYTES + 1))


HEAVY = {
    "elements": b"<a>" + b"<b/>" * 65_000 + b"</a>",
    "attributes": b"<a" + b"".join(b' a%d=""' % n for n in range(25_000)) + b"/>",
    "namespaces": b"<a" + b"".join(b' xmlns:a%d="u"' % n for n in range(15_000)) + b"/>",
    "depth": b"<a>" * 37_000 + b"</a>" * 37_000,
    "one long text": b"<a>" + b"&amp;" * 52_000 + b"</a>",
    "ids": b"<a>" + b"".join(b'<b ID="a%d"/>' % n for n in range(16_000)) + b"</a>",
}


@pytest.mark.parametrize("data", HEAVY.values(), ids=HEAVY.keys())
def test_the_largest_message_is_read_or_refused_soon(data: bytes) -> None:
    assert len(data) <= MAX_SAML_BYTES
    began = time.process_time()
    with contextlib.suppress(TokenRefused):
        parse_message(data)
    assert time.process_time() - began < 2.0
