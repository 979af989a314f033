"""SCRAM-SHA-256 by the RFC's own example, SASLprep by its table, and servers that cheat."""

import base64
import hashlib
import hmac
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import TaskgateError, UpstreamFault
from taskgate.protocols.postgres.scram import (
    SCRAM,
    SCRAM_PLUS,
    Binding,
    ScramClient,
    md5_answer,
    prepare_password,
    saslprep,
    tls_server_end_point,
)
from tests.certificates import Authority

# RFC 7677 section 3, but for the user name, which PostgreSQL leaves empty; the proof and the
# signature there depend on it, so they are checked with the name put back in.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)


class RfcClient(ScramClient):
    """With the user name of the RFC's example."""

    def __init__(self) -> None:
        super().__init__("pencil", NONCE)
        self._bare = f"n=user,r={NONCE}"


@dataclass
class Server:
    """The other side, by the RFC: what it says in answer to a client."""

    password: str
    salt: bytes = b"0123456789abcdef"
    iterations: int = 4096
    nonce: str = "serverpart"

    def first(self, client_first: bytes) -> bytes:
        self.bare = client_first.decode().split(",", 2)[2]
        nonce = self.bare.split("r=")[1] + self.nonce
        salt = base64.b64encode(self.salt).decode()
        self.said = f"r={nonce},s={salt},i={self.iterations}"
        return self.said.encode()

    def final(self, client_final: bytes) -> bytes:
        without_proof, _, proof = client_final.decode().rpartition(",p=")
        signed = f"{self.bare},{self.said},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac(
            "sha256", prepare_password(self.password), self.salt, self.iterations
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        recovered = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if recovered != client_key:
            return b"e=invalid-proof"
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        return b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))


def test_the_rfc_example() -> None:
    client = RfcClient()
    assert client.first() == b"n,,n=user,r=" + NONCE.encode()
    assert client.final(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize("binding", list(Binding))
def test_with_a_server_each_binding(binding: Binding) -> None:
    server = Server("pässwörd")
    client = ScramClient("pässwörd", NONCE, binding, b"end point")
    first = client.first()
    assert first.decode().startswith(binding.value)
    assert client.mechanism == (SCRAM_PLUS if binding is Binding.BOUND else SCRAM)
    final = client.final(server.first(first))
    channel = base64.b64decode(final.split(b",")[0][2:])
    assert channel == binding.value.encode() + (b"end point" if binding is Binding.BOUND else b"")
    client.verify(server.final(final))


def test_a_server_that_does_not_know_the_password() -> None:
    client = ScramClient("right", NONCE)
    server = Server("wrong")
    final = client.final(server.first(client.first()))
    with pytest.raises(UpstreamFault):
        client.verify(server.final(final))
    for made_up in (b"v=", b"v=AAAA", b"v=" + base64.b64encode(bytes(32)), b"", b"x=1"):
        with pytest.raises(UpstreamFault):
            client.verify(made_up)


def test_a_signature_before_the_proof_is_none() -> None:
    client = ScramClient("x", NONCE)
    client.first()
    with pytest.raises(UpstreamFault):
        client.verify(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.cap("MAX_SCRAM_ITERATIONS")
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"r=other,s=QUJD,i=4096", "another exchange's nonce"),
        (b"r=" + NONCE.encode() + b",s=QUJD,i=4096", "a nonce that adds nothing"),
        (b"r=" + NONCE.encode() + b"x,s=,i=4096", "no salt"),
        (b"r=" + NONCE.encode() + b"x,s=!,i=4096", "a salt that is not base64"),
        (b"r=" + NONCE.encode() + b"x,s=QUJD,i=0", "no work"),
        (b"r=" + NONCE.encode() + b"x,s=QUJD,i=-1", "less than no work"),
        (b"r=" + NONCE.encode() + b"x,s=QUJD,i=9999999999", "endless work"),
        (
            b"r=" + NONCE.encode() + b"x,s=QUJD,i=%d" % (limits.MAX_SCRAM_ITERATIONS + 1),
            "more work than the cap",
        ),
        (b"r=" + NONCE.encode() + b"x,s=QUJD", "no iterations"),
        (b"m=ext,r=" + NONCE.encode() + b"x,s=QUJD,i=4096", "a mandatory extension"),
        (b"s=QUJD,r=" + NONCE.encode() + b"x,i=4096", "the wrong order"),
        (b"r=\xff,s=QUJD,i=4096", "not ASCII"),
        (b"", "nothing"),
    ],
)
def test_first_messages_that_are_refused(message: bytes, why: str) -> None:
    client = ScramClient("x", NONCE)
    client.first()
    with pytest.raises(UpstreamFault):
        client.final(message)


@given(st.binary(max_size=100))
def test_arbitrary_messages(message: bytes) -> None:
    client = ScramClient("pw-that-is-secret", NONCE)
    client.first()
    told = []
    for read in (client.final, client.verify):
        try:
            read(message)
        except TaskgateError as error:
            told.append(str(error))
    assert not any("pw-that-is-secret" in text for text in told)


def test_binding_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="certificate"):
        ScramClient("x", NONCE, Binding.BOUND)


# RFC 4013 section 3.
@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", None),
        ("\u0627\u0031", None),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("a\u00a0b", "a b"),
        ("\u00ad", None),
        ("\u0627a", None),
        ("\ue000", None),
    ],
)
def test_saslprep(text: str, prepared: str | None) -> None:
    assert saslprep(text) == prepared
    # What SASLprep refuses PostgreSQL takes as it is.
    assert prepare_password(text) == (text if prepared is None else prepared).encode()


def test_md5() -> None:
    # As PostgreSQL computes it: md5(md5(password || user) || salt).
    inner = hashlib.md5(b"secretbob").hexdigest()
    want = "md5" + hashlib.md5(inner.encode() + b"\1\2\3\4").hexdigest()
    assert md5_answer("bob", "secret", b"\1\2\3\4") == want
    assert md5_answer("bob", "secret", b"\1\2\3\5") != want


def _self_signed(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    authority: Authority,
) -> bytes:
    issued = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    return (
        x509.CertificateBuilder()
        .subject_name(issued.subject)
        .issuer_name(issued.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
        .sign(key, algorithm)
        .public_bytes(serialization.Encoding.DER)
    )


def test_the_end_point_takes_the_hash_of_the_signature(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    key = ec.generate_private_key(ec.SECP256R1())
    for algorithm, name in (
        (hashes.SHA256(), "sha256"),
        (hashes.SHA384(), "sha384"),
        (hashes.SHA512(), "sha512"),
    ):
        der = _self_signed(key, algorithm, authority)
        assert tls_server_end_point(der) == hashlib.new(name, der).digest()


def test_a_certificate_without_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    der = _self_signed(ed25519.Ed25519PrivateKey.generate(), None, authority)
    assert tls_server_end_point(der) is None
    assert tls_server_end_point(b"") is None
    assert tls_server_end_point(b"junk") is None
