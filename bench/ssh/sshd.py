"""OpenSSH's server for the benchmark: one that is the host, one that is only a way there."""

import grp
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgate.demo.cluster import free_port, server_account
from taskgate.demo.host import new_key, public_key

PROGRAM = Path("/usr/sbin/sshd")
_START_TIMEOUT_S = 30.0
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
LogLevel ERROR
SetEnv HOME={root}/home
AllowTcpForwarding yes
MaxSessions 1000
MaxStartups 1000
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server. `user` gets in with the private key in the file `key`; `home` is a folder
    it may write to."""

    root: Path
    port: int
    user: str
    key: Path
    host_key: str
    pid: int

    @property
    def home(self) -> Path:
        return self.root / "home"


@contextmanager
def running_sshd(root: Path) -> Iterator[Sshd]:
    """One under `root`, run by an unprivileged account."""
    account, port = server_account(), free_port()
    down: dict[str, Any] = {}
    if os.geteuid() == 0:
        # Without that group an unprivileged sshd cannot hand out terminals.
        terminals = grp.getgrnam("tty").gr_gid
        down = {"user": account.uid, "group": account.gid, "extra_groups": [terminals]}
    root.mkdir()
    (root / "home").mkdir()
    host, client = new_key(), new_key()
    for name, text in (("host_key", host), ("client_key", client)):
        (root / name).write_text(text)
        (root / name).chmod(0o600)
    (root / "authorized_keys").write_text(public_key(client) + "\n")
    (root / "config").write_text(_CONFIG.format(port=port, root=root))
    if os.geteuid() == 0:
        for path in (root / "host_key", root / "home"):
            os.chown(path, account.uid, account.gid)
    log = root / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [PROGRAM, "-D", "-e", "-f", root / "config"], stdin=subprocess.DEVNULL, stderr=said,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, **down,
        )  # fmt: skip
    try:
        _until_up(port, process, log)
        yield Sshd(
            root, port, account.name, root / "client_key", public_key(host), process.pid
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait(15)


def _until_up(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        asked = subprocess.run(
            ["ssh-keyscan", "-T", "5", "-p", str(port), "127.0.0.1"],
            capture_output=True, check=False,
        )  # fmt: skip
        if asked.stdout:
            return
        time.sleep(0.05)
    raise RuntimeError(f"sshd did not start: {log.read_text()[-1000:]}")
