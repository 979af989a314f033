"""Certificates as OpenSSH's own ssh-keygen reads them."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgate.protocols.ssh.certificates import CertificateFields
from taskgate.protocols.ssh.driver.listening import make_key
from taskgate.protocols.ssh.driver.minting import mint

PLAIN = CertificateFields(7, "local:a task=t session=s_1", ("web",), 1_000_000_000, 1_000_000_300)
FORCED = CertificateFields(
    2**63 - 1, "k", ("web", "db"), 1_000_000_000, 1_000_000_300, "echo 'a b'",
    ("10.0.0.5", "fd00::/64"), permit_pty=True, permit_port_forwarding=True,
)  # fmt: skip


def _listed(folder: Path, fields: CertificateFields) -> str:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH is not installed")
    (folder / "c.pub").write_text(mint(make_key(), fields).certificate)
    done = subprocess.run(
        ["ssh-keygen", "-L", "-f", "c.pub"], cwd=folder, check=True, capture_output=True,
        text=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return " ".join(done.stdout.split())


def test_a_plain_one_permits_nothing_besides(tmp_path: Path) -> None:
    said = _listed(tmp_path, PLAIN)
    assert "ssh-ed25519-cert-v01@openssh.com user certificate" in said
    assert 'Key ID: "local:a task=t session=s_1" Serial: 7' in said
    assert "Valid: from 2001-09-09T01:46:40 to 2001-09-09T01:51:40" in said
    assert "Principals: web Critical Options: (none) Extensions: (none)" in said


def test_what_is_forced_is_a_critical_option(tmp_path: Path) -> None:
    said = _listed(tmp_path, FORCED)
    assert "Principals: web db Critical Options: force-command echo 'a b'" in said
    assert "source-address 10.0.0.5" in said
    assert "fd00::/64" in said
    assert said.endswith("Extensions: permit-port-forwarding permit-pty")


def test_no_two_have_the_same_key() -> None:
    authority = make_key()
    first, second = mint(authority, PLAIN), mint(authority, PLAIN)
    assert first.fingerprint != second.fingerprint
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize(
    "named", [name for name in CertificateFields.__slots__ if "permit_" in name]
)
def test_what_it_permits_is_recorded_in_its_own_words(tmp_path: Path, named: str) -> None:
    changed: dict[str, Any] = {named: True}
    fields = replace(PLAIN, **changed)
    (permits,) = fields.permits
    assert _listed(tmp_path, fields).endswith(f"Extensions: {permits}")
