"""The gateway's own authority and certificate."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from taskgate.gateway.certificates import (
    authority_pem,
    fingerprint,
    own_certificate,
)
from taskgate.model.errors import BadConfig
from tests.patience import PATIENCE_S

NOW = 1_767_225_600.0
DAY_S = 86_400.0
NAMES = ("localhost", "127.0.0.1", "::1", "gate.example.com")


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, NAMES, NOW)
    again = own_certificate(tmp_path, NAMES, NOW + DAY_S)
    assert first.trust_pem == again.trust_pem == authority_pem(tmp_path, NOW)
    assert fingerprint(first.trust_pem).startswith("sha256:")
    found = x509.load_pem_x509_certificate(first.cert.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == set(NAMES)


@pytest.mark.parametrize(
    ("days", "names", "same"),
    [(300, NAMES, True), (340, NAMES, False), (1, (*NAMES, "new.example.com"), False)],
)
def test_it_is_renewed_before_its_end_or_for_a_new_name(
    tmp_path: Path, days: float, names: tuple[str, ...], same: bool
) -> None:
    before = own_certificate(tmp_path, NAMES, NOW)
    cert, trust = before.cert.read_bytes(), before.trust_pem
    after = own_certificate(tmp_path, names, NOW + days * DAY_S)
    assert (after.cert.read_bytes() == cert) is same
    assert after.trust_pem == trust, "people need not trust anew"


def test_the_authority_signs_no_other_authority(tmp_path: Path) -> None:
    ca = x509.load_pem_x509_certificate(authority_pem(tmp_path, NOW).encode())
    basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    own_certificate(tmp_path, NAMES, NOW)
    for name in ("ca.key", "gateway.key"):
        assert (tmp_path / "tls" / name).stat().st_mode & 0o777 == 0o600
    assert not [path for path in (tmp_path / "tls").iterdir() if path.name.startswith(".")]


def test_what_cannot_be_used_is_told_and_not_replaced(tmp_path: Path) -> None:
    own_certificate(tmp_path, NAMES, NOW)
    key = tmp_path / "tls" / "ca.key"
    good = key.read_bytes()
    key.write_bytes(b"broken")
    with pytest.raises(BadConfig, match="own CA"):
        own_certificate(tmp_path, NAMES, NOW)
    key.unlink()
    with pytest.raises(BadConfig):
        own_certificate(tmp_path, NAMES, NOW)
    key.write_bytes(good)
    assert own_certificate(tmp_path, NAMES, NOW)
    other = tmp_path / "other"
    own_certificate(other, NAMES, NOW)
    key.write_bytes((other / "tls" / "ca.key").read_bytes())
    with pytest.raises(BadConfig, match="belong together"):
        own_certificate(tmp_path, NAMES, NOW)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_strict_client_accepts_it_and_no_old_protocol(tmp_path: Path, name: str) -> None:
    import time

    made = own_certificate(tmp_path, NAMES, time.time())
    context = made.context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context(cadata=made.trust_pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with context.wrap_socket(theirs, server_side=True) as accepted:
            accepted.sendall(b"hello")

    server = threading.Thread(target=serve)
    server.start()
    with client.wrap_socket(ours, server_hostname=name) as connection:
        assert connection.recv(5) == b"hello"
    server.join(PATIENCE_S)
    assert not server.is_alive()
