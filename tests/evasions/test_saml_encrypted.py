"""Encrypting for the gate is something that anybody can do, and that proves nothing."""

import base64
import copy

import pytest
from lxml import etree

from taskgate.identity.saml.names import (
    SAML,
    XENC,
)
from tests.evasions.saml_cases import (
    IDP,
    REQUEST,
    Case,
    eves_parts,
    refusal,
)
from tests.identity.saml.around import OWN
from tests.identity.saml.issuing import Idp, encrypted, key


def _sealed(plain: bytes, **options: str) -> str:
    return encrypted(plain, key(OWN).public_key(), **options)


def encrypted_but_signed_by_nobody(idp: Idp, request: str) -> bytes:
    sealed = _sealed(idp.assertion(request).encode())
    return etree.tostring(idp.response(request, sealed))


def encrypted_by_pkcs1(idp: Idp, request: str) -> bytes:
    sealed = _sealed(idp.assertion(request).encode(), transport=XENC + "rsa-1_5")
    root = idp.response(request, sealed)
    idp.sign(root)
    return etree.tostring(root)


def cbc_outside_a_signature(idp: Idp, request: str) -> bytes:
    inner = etree.fromstring(idp.assertion(request))
    idp.sign(inner)
    sealed = _sealed(etree.tostring(inner), cipher=XENC + "aes256-cbc")
    return etree.tostring(idp.response(request, sealed))


def triple_des(idp: Idp, request: str) -> bytes:
    data = cbc_outside_a_signature(idp, request)
    return data.replace(b"aes256-cbc", b"tripledes-cbc")


def encrypted_for_somebody_else(idp: Idp, request: str) -> bytes:
    sealed = encrypted(idp.assertion(request).encode(), key(1).public_key())
    root = idp.response(request, sealed)
    idp.sign(root)
    return etree.tostring(root)


def encrypted_and_changed(idp: Idp, request: str) -> bytes:
    inner = etree.fromstring(idp.assertion(request))
    idp.sign(inner)
    root = idp.response(request, _sealed(etree.tostring(inner)))
    value = list(root.iter(f"{{{XENC}}}CipherValue"))[1]
    raw = bytearray(base64.b64decode(value.text or ""))
    raw[40] ^= 1
    value.text = base64.b64encode(raw).decode()
    return etree.tostring(root)


def encrypted_wrapping(idp: Idp, request: str) -> bytes:
    """What is encrypted holds a forged assertion around the real, signed one."""
    _, mine, forged = eves_parts(idp, request)
    etree.SubElement(forged, f"{{{SAML}}}Advice").append(mine)
    return etree.tostring(idp.response(request, _sealed(etree.tostring(forged))))


def encrypted_beside_a_real_one(idp: Idp, request: str) -> bytes:
    root, mine, forged = eves_parts(idp, request)
    mine.addnext(etree.fromstring(_sealed(etree.tostring(forged))))
    return etree.tostring(root)


def encrypted_response(idp: Idp, request: str) -> bytes:
    return etree.tostring(idp.response(request, _sealed(idp.signed(request))))


def encrypted_entity(idp: Idp, request: str) -> bytes:
    plain = b'<!DOCTYPE x [<!ENTITY x "ann">]>' + idp.assertion(request).encode()
    root = idp.response(request, _sealed(plain))
    idp.sign(root)
    return etree.tostring(root)


def cipher_elsewhere(idp: Idp, request: str) -> bytes:
    root = etree.fromstring(encrypted_and_changed(idp, request))
    data = list(root.iter(f"{{{XENC}}}CipherData"))[1]
    data.clear()
    etree.SubElement(data, f"{{{XENC}}}CipherReference", URI="http://127.0.0.1:1/x")
    return etree.tostring(root)


def two_keys(idp: Idp, request: str) -> bytes:
    root = etree.fromstring(encrypted_but_signed_by_nobody(idp, request))
    wrapped = next(root.iter(f"{{{XENC}}}EncryptedKey"))
    wrapped.addnext(copy.deepcopy(wrapped))
    return etree.tostring(root)


ENCRYPTED: dict[str, tuple[Case, str]] = {
    "signed by nobody": (encrypted_but_signed_by_nobody, "neither"),
    "the key by PKCS #1 v1.5": (encrypted_by_pkcs1, "RSA-OAEP"),
    "CBC that nobody signed": (cbc_outside_a_signature, "AES-CBC"),
    "Triple DES": (triple_des, "not taken"),
    "for somebody else": (encrypted_for_somebody_else, "not encrypted for this"),
    "changed": (encrypted_and_changed, "not encrypted for this"),
    "a wrapped assertion": (encrypted_wrapping, "one assertion"),
    "beside a real one": (encrypted_beside_a_real_one, "one assertion"),
    "a whole response": (encrypted_response, "no assertion"),
    "an entity": (encrypted_entity, "document type"),
    "a cipher to be fetched": (cipher_elsewhere, "CipherValue"),
    "two keys": (two_keys, "one encrypted key"),
}


@pytest.mark.parametrize(("make", "why"), ENCRYPTED.values(), ids=ENCRYPTED.keys())
def test_what_anybody_can_encrypt_for_the_gate_signs_nobody_in(make: Case, why: str) -> None:
    assert why in refusal(make(IDP, REQUEST))
