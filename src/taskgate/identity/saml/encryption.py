"""Opening an encrypted assertion. Pure.

The key travels by RSA-OAEP alone: PKCS #1 v1.5 lets whoever can ask often enough decrypt by the
answers (Bleichenbacher). The content is AES-GCM, which notices changes. AES-CBC does not, and
betrays its text to the same kind of asking (Jager and Somorovsky, 2011); it is taken only inside
a response whose signature was checked first, so that nobody but the provider can make us decrypt.
SHA-1 within OAEP stands: it signs nothing there, and nothing rests on its collisions.

Sources: XML Encryption 1.1 sections 5.2, 5.5; SAML 2.0 core section 6.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import DS, XENC, XENC11
from taskgate.identity.saml.xml import Element, children_of, elements_of, only_child, text_of

OAEP: Final = XENC + "rsa-oaep-mgf1p"
OAEP11: Final = XENC11 + "rsa-oaep"
GCM: Final = {f"{XENC11}aes{bits}-gcm": bits // 8 for bits in (128, 192, 256)}
_CBC: Final = {f"{XENC}aes{bits}-cbc": bits // 8 for bits in (128, 192, 256)}
_DIGESTS: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    DS + "sha1": hashes.SHA1,
    XENC + "sha256": hashes.SHA256,
    XENC + "sha512": hashes.SHA512,
}
_MASKS: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    XENC11 + "mgf1sha1": hashes.SHA1,
    XENC11 + "mgf1sha256": hashes.SHA256,
    XENC11 + "mgf1sha512": hashes.SHA512,
}
_BLOCK: Final = 16
_GCM_NONCE: Final = 12


def opened(element: Element, keys: Sequence[rsa.RSAPrivateKey], *, authentic: bool) -> bytes:
    """What an EncryptedAssertion holds. `authentic` says that its ciphertext was signed.

    Raises: TokenRefused, in one form for all that goes wrong with keys and content.
    """
    data = only_child(element, f"{{{XENC}}}EncryptedData")
    wrapped = list(elements_of(element, f"{{{XENC}}}EncryptedKey"))
    if len(wrapped) != 1:
        raise TokenRefused("there must be one encrypted key")
    algorithm = _algorithm(data)
    length = GCM.get(algorithm)
    if length is None and authentic:
        length = _CBC.get(algorithm)
    if length is None:
        raise TokenRefused(
            "the assertion is encrypted with AES-CBC in a response that is not signed"
            if algorithm in _CBC
            else "the assertion is encrypted in a way that is not taken"
        )
    scheme, sealed, content = _padding(wrapped[0]), _cipher_value(wrapped[0]), _cipher_value(data)
    for key in keys:
        try:
            secret = key.decrypt(sealed, scheme)
            if len(secret) != length:
                continue
            return _gcm(secret, content) if algorithm in GCM else _cbc(secret, content)
        except (ValueError, InvalidTag):
            continue
    raise TokenRefused("the assertion is not encrypted for this gateway's key")


def _gcm(secret: bytes, content: bytes) -> bytes:
    return AESGCM(secret).decrypt(content[:_GCM_NONCE], content[_GCM_NONCE:], None)


def _cbc(secret: bytes, content: bytes) -> bytes:
    """Raises: ValueError."""
    if len(content) < 2 * _BLOCK or len(content) % _BLOCK:
        raise ValueError
    decryptor = Cipher(AES(secret), CBC(content[:_BLOCK])).decryptor()
    plain = decryptor.update(content[_BLOCK:]) + decryptor.finalize()
    # XML Encryption 5.2.2: only the last octet is the padding's length, the others are random.
    if not 1 <= plain[-1] <= _BLOCK:
        raise ValueError
    return plain[: -plain[-1]]


def _padding(wrapped: Element) -> padding.OAEP:
    algorithm = _algorithm(wrapped)
    if algorithm not in (OAEP, OAEP11):
        raise TokenRefused("the assertion's key is not encrypted by RSA-OAEP")
    method = only_child(wrapped, f"{{{XENC}}}EncryptionMethod")
    digest = mask = _DIGESTS[DS + "sha1"]
    for child in method:
        named = child.get("Algorithm", "")
        if child.tag == f"{{{DS}}}DigestMethod" and named in _DIGESTS:
            digest = _DIGESTS[named]
        elif child.tag == f"{{{XENC11}}}MGF" and algorithm == OAEP11 and named in _MASKS:
            mask = _MASKS[named]
        else:
            raise TokenRefused("the assertion's key is encrypted with parameters not taken")
    return padding.OAEP(padding.MGF1(mask()), digest(), None)


def _algorithm(element: Element) -> str:
    return only_child(element, f"{{{XENC}}}EncryptionMethod").get("Algorithm", "")


def _cipher_value(element: Element) -> bytes:
    """CipherReference, which would send us elsewhere for the text, is none."""
    cipher = only_child(element, f"{{{XENC}}}CipherData")
    if len(children_of(cipher)) != 1:
        raise TokenRefused("the encrypted data is not in one piece")
    try:
        text = text_of(only_child(cipher, f"{{{XENC}}}CipherValue"))
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise TokenRefused("the encrypted data is no base64") from None
