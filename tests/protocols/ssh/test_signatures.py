"""Signatures as `ssh-keygen -Y sign` makes them: by security keys, of which this machine has none,
and in forms that it would not make."""

import base64
import hashlib
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taskgate.protocols.ssh.driver.certificates import presented
from taskgate.protocols.ssh.driver.signatures import signer

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PLAIN = b"ssh-ed25519"
SECURITY = b"sk-ssh-ed25519@openssh.com"
APPLICATION = b"ssh:"
TOUCHED = b"\x01"


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def blob(kind: bytes) -> bytes:
    of_device = string(APPLICATION) if kind == SECURITY else b""
    return string(kind) + string(PUBLIC) + of_device


def signed(kind: bytes, data: bytes, flags: bytes = TOUCHED) -> bytes:
    """A signature blob; a security key's as PROTOCOL.u2f of OpenSSH has it."""
    if kind == PLAIN:
        return string(PLAIN) + string(KEY.sign(data))
    counter = (7).to_bytes(4)
    hashed = hashlib.sha256(APPLICATION).digest(), hashlib.sha256(data).digest()
    return (
        string(kind) + string(KEY.sign(hashed[0] + flags + counter + hashed[1])) + flags + counter
    )


def armoured(
    kind: bytes = PLAIN,
    message: bytes = b"text",
    *,
    version: int = 1,
    namespace: bytes = b"here",
    algorithm: str = "sha512",
    flags: bytes = TOUCHED,
    behind: bytes = b"",
) -> str:
    hashed = hashlib.new(algorithm, message).digest()
    parts = (namespace, b"", algorithm.encode())
    data = b"SSHSIG" + b"".join(string(part) for part in (*parts, hashed))
    whole = b"".join((
        b"SSHSIG", version.to_bytes(4), string(blob(kind)), *map(string, parts),
        string(signed(kind, data, flags)), behind,
    ))  # fmt: skip
    lines = "\n".join(textwrap.wrap(base64.b64encode(whole).decode(), 70))
    return f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n"


def fingerprint(kind: bytes) -> str:
    found = presented(blob(kind))
    assert found is not None
    return found.shown.fingerprint


@pytest.mark.parametrize("kind", [PLAIN, SECURITY])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_signer_is_told(kind: bytes, algorithm: str) -> None:
    assert signer(armoured(kind, algorithm=algorithm), "here", b"text") == fingerprint(kind)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(armoured(SECURITY, flags=b"\x00"), id="a security key that nobody touched"),
        pytest.param(armoured(message=b"other"), id="another text"),
        pytest.param(armoured(namespace=b"there"), id="another namespace"),
        pytest.param(armoured(version=2), id="another version"),
        pytest.param(armoured(algorithm="sha1"), id="a weak hash"),
        pytest.param(armoured(behind=b"x"), id="more behind it"),
        pytest.param(armoured().replace("BEGIN SSH", "BEGIN PGP"), id="another armour"),
        pytest.param(armoured()[:-60], id="cut short"),
        pytest.param("", id="nothing"),
        pytest.param("-----BEGIN SSH SIGNATURE----- -----END SSH SIGNATURE-----", id="empty"),
    ],
)
def test_what_proves_nothing(text: str) -> None:
    assert signer(text, "here", b"text") is None


@pytest.mark.parametrize(
    "signature",
    [b"", b"\x00", b"\xff" * 4, string(PLAIN), string(b"\xff"), string(PLAIN) + b"\x01"],
)
def test_what_is_no_signature_of_a_connection(signature: bytes) -> None:
    key = presented(blob(PLAIN))
    assert key is not None
    assert key.signed(b"session", b"request", signed(PLAIN, string(b"session") + b"request"))
    assert not key.signed(b"session", b"request", signature)
