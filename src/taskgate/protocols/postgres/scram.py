"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side; and the older md5 answer.

Sources: RFC 5802 (SCRAM), RFC 7677 (SHA-256), RFC 5929 section 4 (tls-server-end-point), RFC 4013
(SASLprep), PostgreSQL documentation, "SASL Authentication". The nonce is an argument.
"""

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Callable
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from taskgate.model import limits
from taskgate.model.errors import UpstreamFault

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
_MIN_SALT_BYTES: Final = 1


class Binding(Enum):
    """The client's word on channel binding (RFC 5802 section 6): its gs2-cbind-flag.

    UNABLE: it cannot bind (no TLS, or a certificate that names no hash). NOT_OFFERED: it can, but
    the server did not offer it; the server checks that it indeed did not, so that nobody between
    them can have taken the offer away. BOUND: bound to the server's certificate.
    """

    UNABLE = "n,,"
    NOT_OFFERED = "y,,"
    BOUND = "p=tls-server-end-point,,"


class ScramClient:
    """One exchange: `first()`, `final(server's first)`, `verify(server's final)`.

    PostgreSQL takes the user name from the startup packet, so SCRAM's own is empty. `nonce` is
    printable ASCII without commas, fresh for each exchange. `end_point` is the hash of the server's
    certificate (see `tls_server_end_point`), for BOUND only.
    """

    def __init__(
        self, password: str, nonce: str, binding: Binding = Binding.UNABLE, end_point: bytes = b""
    ) -> None:
        if binding is Binding.BOUND and not end_point:
            raise ValueError("channel binding needs the server's certificate")
        self._password = prepare_password(password)
        self._nonce = nonce
        self._bound = binding is Binding.BOUND
        self._gs2 = binding.value
        self._channel = base64.b64encode(
            binding.value.encode("ascii") + (end_point if self._bound else b"")
        ).decode("ascii")
        self._bare = f"n=,r={nonce}"
        self._signature: bytes | None = None

    @property
    def mechanism(self) -> str:
        return SCRAM_PLUS if self._bound else SCRAM

    def first(self) -> bytes:
        """The client-first-message."""
        return (self._gs2 + self._bare).encode("ascii")

    def final(self, server_first: bytes) -> bytes:
        """The client-final-message, with the proof.

        Raises:
            UpstreamFault: malformed, a nonce that is not ours continued (a replay), or a work
                factor beyond `MAX_SCRAM_ITERATIONS`.
        """
        text = _ascii(server_first)
        fields = _fields(text, "r", "s", "i")
        nonce, salt, iterations = fields[0], _base64(fields[1]), _count(fields[2])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise _wrong("its nonce does not continue the gateway's")
        if len(salt) < _MIN_SALT_BYTES:
            raise _wrong("it has no salt")
        without_proof = f"c={self._channel},r={nonce}"
        signed = f"{self._bare},{text},{without_proof}".encode("ascii")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        proof = _xor(client_key, _hmac(hashlib.sha256(client_key).digest(), signed))
        self._signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode('ascii')}".encode("ascii")

    def verify(self, server_final: bytes) -> None:
        """Check the server's signature: it too knows the password.

        Raises:
            UpstreamFault: it does not, or says that it failed.
        """
        text = _ascii(server_final)
        if text.startswith("e="):
            raise _wrong("it reports a failure")
        (encoded,) = _fields(text, "v")
        if self._signature is None:
            raise _wrong("its signature came too early")
        if not hmac.compare_digest(_base64(encoded), self._signature):
            raise _wrong("its signature is wrong; it does not know the password")


def md5_answer(user: str, password: str, salt: bytes) -> str:
    """The answer to AuthenticationMD5Password: "md5" and 32 hex digits."""
    inner = _md5((password + user).encode("utf-8"))
    return "md5" + _md5(inner.encode("ascii") + salt)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """The hash of a DER certificate that tls-server-end-point binds to; None if it has none.

    The hash is that of the certificate's signature, SHA-256 where that is MD5 or SHA-1. A signature
    that names none (Ed25519) leaves the binding undefined (RFC 5929 section 4.1).
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return digest.finalize()


_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare_password(password: str) -> bytes:
    """SASLprep of a password; as it is where SASLprep refuses it, as PostgreSQL does."""
    prepared = saslprep(password)
    return (password if prepared is None else prepared).encode("utf-8")


def saslprep(text: str) -> str | None:
    """RFC 4013's preparation of a stored string, None for a text that it prohibits."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not normal:
        return None
    if any(prohibited(char) for char in normal for prohibited in _PROHIBITED):
        return None
    # RFC 3454 section 6: right-to-left text is so from its first character to its last.
    if any(stringprep.in_table_d1(char) for char in normal):
        if any(stringprep.in_table_d2(char) for char in normal):
            return None
        if not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1])):
            return None
    return normal


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _wrong(what: str) -> UpstreamFault:
    return UpstreamFault(f"the resource's SCRAM message was refused: {what}")


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise _wrong("it is not ASCII") from None


def _fields(text: str, *names: str) -> list[str]:
    """The values of these attributes, which must come first and in this order. What a server
    appends to them is ignored; a mandatory extension (`m=`) comes before them, and is refused."""
    parts = text.split(",")
    if len(parts) < len(names):
        raise _wrong("it ends early")
    values: list[str] = []
    for part, name in zip(parts, names, strict=False):
        if not part.startswith(name + "="):
            raise _wrong(f"it has no {name}= where it should")
        values.append(part[2:])
    return values


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _wrong("it is not base64") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _wrong("its iteration count is no number")
    count = int(text)
    if not 1 <= count <= limits.MAX_SCRAM_ITERATIONS:
        raise _wrong(
            f"it asks for {count} iterations; at most {limits.MAX_SCRAM_ITERATIONS} are done"
        )
    return count
