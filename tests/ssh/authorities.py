"""The gate's own keys for SSH, and what somebody could do at a host who had got hold of them."""

import asyncio
import subprocess
import time
from pathlib import Path

from taskgate.gateway.config import load_config
from taskgate.gateway.foundation import SshKey, open_state, ssh_key_of
from taskgate.protocols.ssh.certificates import CertificateFields
from taskgate.protocols.ssh.driver.minting import mint
from tests.hosts import Host
from tests.ssh_setting import SshSetting


def key_of_gate(setting: SshSetting, purpose: SshKey) -> bytes:
    """A private key of the gate's, out of its store."""

    async def read() -> bytes:
        async with open_state(load_config(setting.own.config)) as state:
            return await ssh_key_of(state, purpose)

    return asyncio.run(read())


def fields(**changed: object) -> CertificateFields:
    """As the gate has them for a plain session."""
    now = int(time.time())
    about: dict[str, object] = {
        "serial": 7,
        "key_id": "local:operator task=ops session=s_1",
        "principals": ("web-restart",),
        "valid_after": now - 60,
        "valid_before": now + 300,
    }
    return CertificateFields(**(about | changed))  # type: ignore[arg-type]


def write_pair(folder: Path, authority: bytes, what: CertificateFields) -> Path:
    """A key and its certificate as OpenSSH's client reads them; the key's path."""
    made = mint(authority, what)
    key = folder / "minted"
    key.write_text(made.private_key)
    key.chmod(0o600)
    (folder / "minted-cert.pub").write_text(made.certificate)
    return key


def straight(
    host: Host, key: Path, command: str, *options: str
) -> "subprocess.CompletedProcess[str]":
    """OpenSSH's client at the host, past the gate, with that key and its certificate alone."""
    return subprocess.run(
        ["ssh", "-F", "none", *options, "-i", key, "-o", "IdentitiesOnly=yes",
         "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
         "UserKnownHostsFile=/dev/null", "-p", str(host.port),
         f"{host.account.name}@127.0.0.1", command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
