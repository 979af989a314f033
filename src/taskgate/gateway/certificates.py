"""The gateway's own certificate authority, and the certificate it serves with.

Both are made at first start where the configuration names no certificate. The authority lives
ten years and signs nothing but this gateway's certificate (RFC 5280 path length 0); the
certificate lives a year and is renewed, at a start, thirty days before its end.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taskgate.model.errors import BadConfig

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a listener serves with: PEM files, and what clients should trust (PEM; empty where
    their system's own list does)."""

    cert: Path
    key: Path
    trust_pem: str

    def context(self) -> ssl.SSLContext:
        """A server's TLS 1.2+ context (RFC 9325). Raises: BadConfig."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        try:
            context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise BadConfig(
                f"cannot serve TLS with {self.cert} and {self.key}: {error}",
                hint="both must be PEM, belong together and be readable by the gateway's user",
            ) from None
        return context


def fingerprint(pem: str) -> str:
    """`sha256:` and the hex digest of the first certificate in `pem`."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def own_certificate(state_dir: Path, names: Iterable[str], now: float) -> ServerCertificate:
    """The gateway's certificate for `names` (host names and addresses) under its own authority,
    both made or renewed as needed. `now` in seconds since the epoch.

    Raises: BadConfig where the files are there and cannot be used.
    """
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    folder = state_dir / "tls"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_cert, ca_key = _authority(folder, moment)
    wanted = sorted(set(names))
    cert_file, key_file = folder / "gateway.pem", folder / "gateway.key"
    if not _serves(cert_file, key_file, ca_cert, wanted, moment):
        _issue(cert_file, key_file, ca_cert, ca_key, wanted, moment)
    return ServerCertificate(cert_file, key_file, _pem(ca_cert).decode())


def authority_pem(state_dir: Path, now: float) -> str:
    """The authority's certificate, made first if there is none. Raises: BadConfig."""
    folder = state_dir / "tls"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return _pem(_authority(folder, moment)[0]).decode()


def _authority(
    folder: Path, moment: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert_file, key_file = folder / "ca.pem", folder / "ca.key"
    if not cert_file.exists() and not key_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "taskgate CA")])
        certificate = (
            _builder(name, name, key, moment, CA_DAYS)
            .add_extension(_issuer(key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _key_pem(key), private=True)
        _write(cert_file, _pem(certificate), private=False)
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key_found = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise BadConfig(
            f"the gateway's own CA in {folder} cannot be used: {error}",
            hint="restore ca.pem and ca.key from backup; without them clients must trust anew",
        ) from None
    if not isinstance(key_found, ec.EllipticCurvePrivateKey) or (
        key_found.public_key() != certificate.public_key()
    ):
        raise BadConfig(f"{cert_file} and {key_file} do not belong together")
    return certificate, key_found


def _serves(
    cert_file: Path,
    key_file: Path,
    ca: x509.Certificate,
    names: list[str],
    moment: datetime.datetime,
) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        certificate.verify_directly_issued_by(ca)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    except OSError as error:
        raise BadConfig(f"cannot read the gateway's certificate: {error}") from None
    covered = {str(name.value) for name in found}
    fresh = certificate.not_valid_after_utc - moment > datetime.timedelta(days=RENEW_DAYS)
    return fresh and covered.issuperset(names) and key.public_key() == certificate.public_key()


def _issue(
    cert_file: Path,
    key_file: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: list[str],
    moment: datetime.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "taskgate")])
    certificate = (
        _builder(subject, ca.subject, key, moment, LEAF_DAYS)
        .add_extension(_issuer(ca_key), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_san(name) for name in names]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(key_file, _key_pem(key), private=True)
    _write(cert_file, _pem(certificate), private=False)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    moment: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for clients whose clock is a little behind.
        .not_valid_before(moment - datetime.timedelta(hours=1))
        .not_valid_after(moment + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issuer(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes, *, private: bool) -> None:
    """Whole or not at all, and never readable by others in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    mode = 0o600 if private else 0o644
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
