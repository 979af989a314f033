"""The signing key's file."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from taskgate.model.errors import BadConfig
from taskgate.recording.keys import key_id, load_or_create, load_public, signature_holds


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    key = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path).private_bytes_raw() == key.private_bytes_raw()
    public = load_public(path.with_name("signing.pem.pub"))
    assert public == key.public_key()
    assert len(key_id(public)) == 16
    assert sorted(p.name for p in path.parent.iterdir()) == ["signing.pem", "signing.pem.pub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signing.pem"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(BadConfig, match="others can read") as refused:
        load_or_create(path)
    assert "chmod 600" in refused.value.hint


def test_what_is_no_key_is_refused_without_being_quoted(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    for content in (b"", b"hunter2 is my secret", b"-----BEGIN PRIVATE KEY-----\nhunter2\n"):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(BadConfig) as refused:
            load_or_create(path)
        assert "hunter2" not in str(refused.value)
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BadConfig, match="Ed25519"):
        load_or_create(path)
    with pytest.raises(BadConfig, match="not a public key"):
        load_public(path)


def test_a_signature_is_taken_in_one_spelling_only(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "signing.pem")
    public = key.public_key()
    signature = key.sign(b"message").hex()
    assert signature_holds(public, signature, b"message")
    for wrong in ("", signature.upper(), signature + " ", signature[:-2], "zz" * 64):
        assert not signature_holds(public, wrong, b"message")
    assert not signature_holds(public, signature, b"other")
