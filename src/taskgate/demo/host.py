"""The demo's host: a small web server's folder and the SSH server before it (`demo/sshd.py`)."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from taskgate.demo.cluster import Account
from taskgate.demo.sshd import Serving

HOST_USER = "deploy"
STOP_TIMEOUT_S = 10.0


class HostFault(Exception):
    """The host could not be started. The message has its own words."""


def new_key() -> str:
    """A private key in OpenSSH's form."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_key(private: str) -> str:
    """The line that belongs to `private`: `ssh-ed25519 AAAA...`."""
    key = load_ssh_private_key(private.encode(), None).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Two private keys: the host's own, and the one with which the gate signs in."""

    host: str = field(repr=False)
    gate: str = field(repr=False)


class Host:
    """`directory` is what the host's account sees as its home and, over SFTP, as `/`; it and its
    parents must let that account through."""

    def __init__(
        self, directory: Path, *, port: int, page_port: int, account: Account, keys: HostKeys
    ) -> None:
        """`port` is its SSH server's, `page_port` its web page's."""
        self.directory = directory
        self.port = port
        self.page_port = page_port
        self.log = directory.with_name("host.log")
        self._account = account
        self._keys = keys
        self._process: subprocess.Popen[str] | None = None

    @property
    def account(self) -> str:
        """Whom commands run as."""
        return self._account.name

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and waits until it listens; the files are made at the first start.

        Raises:
            HostFault.
        """
        if not self.directory.exists():
            self._furnish()
        root = os.geteuid() == 0
        serving = Serving(
            port=self.port,
            page_port=self.page_port,
            root=str(self.directory),
            user=HOST_USER,
            host_key=self._keys.host,
            authorized_key=public_key(self._keys.gate),
            uid=self._account.uid if root else None,
            gid=self._account.gid if root else None,
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "taskgate.demo.sshd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(asdict(serving)) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ready\n":
            self.stop()
            tail = self.log.read_text(errors="replace")[-2000:]
            raise HostFault(f"the host's SSH server did not start:\n{tail}")

    def stop(self) -> None:
        """Ends the server, and what runs under it."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def with_host_key(self, key: str) -> "Host":
        """The same host as somebody would pose as it who has not its key. Start one at a time."""
        return Host(
            self.directory, port=self.port, page_port=self.page_port, account=self._account,
            keys=HostKeys(key, self._keys.gate),
        )  # fmt: skip

    def read(self, path: str) -> str:
        """A file of the host's, past the gate; `path` as its SFTP shows it."""
        return (self.directory / path.lstrip("/")).read_text()

    def has(self, path: str) -> bool:
        return (self.directory / path.lstrip("/")).exists()

    def _furnish(self) -> None:
        # Whole or not at all: a start that was killed halfway leaves no half a host.
        making = self.directory.with_name("host.new")
        shutil.rmtree(making, ignore_errors=True)
        with resources.as_file(resources.files("taskgate.demo").joinpath("web")) as web:
            shutil.copytree(web, making)
        (making / "srv/app/current").symlink_to("releases/2025-06-02")
        for folder in ("srv/app/uploads", "var/lib"):
            (making / folder).mkdir()
        (making / ".bashrc").write_text("PS1='deploy@web-1:\\w\\$ '\n")
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
            if os.geteuid() == 0:
                os.chown(path, self._account.uid, self._account.gid, follow_symlinks=False)
        making.rename(self.directory)
