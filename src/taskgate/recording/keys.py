"""The gateway's signing key: Ed25519 (RFC 8032), in a file that its owner alone can read.

Files are PEM: PKCS #8 for the private key (RFC 5958), SubjectPublicKeyInfo for the public one
(RFC 5280 section 4.1). An auditor needs the public one, and should keep a copy elsewhere.
"""

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from taskgate.model.errors import BadConfig

_MAX_KEY_FILE_BYTES = 16 * 1024


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The key in the file; made where there is none, with mode 0600, and `PATH.pub` beside it.

    Raises:
        BadConfig: the file cannot be read, is no Ed25519 key, or others can read it.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path, pem, 0o600)
    except FileExistsError:
        # Another process was first: its key counts.
        return load_or_create(path)
    except OSError as error:
        raise BadConfig(f"the signing key cannot be made: {error}", where=str(path)) from error
    write_public(key.public_key(), path.with_name(path.name + ".pub"))
    return key


def write_public(key: Ed25519PublicKey, path: Path) -> None:
    """Writes the public key as PEM, in place of what was there.

    Raises:
        BadConfig: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _write_new(part, public_pem(key), 0o644)
        part.replace(path)
    except OSError as error:
        raise BadConfig(f"the public key cannot be written: {error}", where=str(path)) from error


def public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def load_public(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file.

    Raises:
        BadConfig: the file cannot be read, or is no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise BadConfig(f"not a public key: {error}", where=str(path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadConfig("not an Ed25519 public key", where=str(path))
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """A key's short name in recordings: 16 hex digits of the SHA-256 over its raw bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def signature_holds(key: Ed25519PublicKey, signature_hex: str, message: bytes) -> bool:
    """Whether the signature, in lower-case hex, is this key's over the message."""
    try:
        signature = bytes.fromhex(signature_hex)
        if signature.hex() != signature_hex:
            return False
        key.verify(signature, message)
    except (ValueError, InvalidSignature):
        return False
    return True


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadConfig(f"the signing key cannot be read: {error}", where=str(path)) from error
    with open(fd, "rb") as file:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise BadConfig(
                "others can read the signing key",
                where=str(path),
                hint=f"chmod 600 {path}, and make a new key if it may have been copied",
            )
        pem = file.read(_MAX_KEY_FILE_BYTES)
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The parser's own words may quote the key: they are left out.
        raise BadConfig("not a private key in PEM", where=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadConfig("not an Ed25519 private key", where=str(path))
    return key


def _write_new(path: Path, content: bytes, mode: int) -> None:
    # Written whole under another name first: a crash leaves no half key.
    part = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.link(part, path)
    finally:
        os.unlink(part)
