"""A real OpenSSH server for tests: an unprivileged process on loopback, one account, keys of its
own. Debian's openssh-server brings the program; no service is started."""

import contextlib
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from taskgate.demo.cluster import Account, free_port, server_account
from tests.patience import PATIENCE_S, eventually

SSHD = Path("/usr/sbin/sshd")
_LISTENS = "Server listening on"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
TrustedUserCAKeys {root}/user_ca
AuthorizedPrincipalsFile {root}/principals
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
LogLevel DEBUG1
SetEnv HOME={root}/home
AcceptEnv *
AllowTcpForwarding yes
AllowAgentForwarding yes
X11Forwarding yes
MaxSessions 1000
MaxStartups 1000
PrintMotd no
Subsystem sftp internal-sftp
"""
# bash reads its .bashrc before each command that sshd gives it (bash(1), INVOCATION).
_NOTE = """
printf '%s\\0' "$BASH_EXECUTION_STRING" >> {root}/commands
"""


@dataclass(slots=True)
class Host:
    """A running sshd. `home` is a folder that its account may write to, `key` the private key
    that lets in, `host_key` the public key that it shows."""

    root: Path
    home: Path
    port: int
    account: Account
    key: Path
    host_key: str
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def mark(self) -> int:
        """Where the list of commands ends now, for `commands_since`."""
        return (self.root / "commands").stat().st_size

    def commands_since(self, mark: int) -> list[str]:
        """Every command line that the host's shell was given after `mark`, verbatim."""
        with (self.root / "commands").open("rb") as commands:
            commands.seek(mark)
            return commands.read().decode(errors="replace").split("\0")[:-1]

    def run(self, script: str) -> str:
        """Runs a shell script as the host's account, past the gate."""
        done = subprocess.run(
            ["/bin/sh", "-c", script], check=True, capture_output=True, text=True,
            **_as(self.account),
        )  # fmt: skip
        return str(done.stdout)

    def trust(self, authority: str, *principals: str) -> None:
        """Lets in whoever shows a certificate of that authority (a line of a .pub file) for one of
        `principals`; from the next sign-in on."""
        (self.root / "user_ca").write_text(authority)
        (self.root / "principals").write_text("".join(f"{one}\n" for one in principals))

    def runs(self, command: str) -> bool:
        """Whether the account still runs a process with exactly this command line."""
        wanted = command.replace(" ", "\0") + "\0"
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found = entry.read_text(errors="replace") == wanted
                if found and entry.stat().st_uid == self.account.uid:
                    return True
        return False

    def drop_connections(self) -> None:
        """Ends every connection as a host that goes down does; the listener stays."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def connections(self) -> int:
        """How many it serves just now."""
        return len(psutil.Process(self.process.pid).children())

    def restart(self, more: str = "", *, new_key: bool = False) -> None:
        """Stops it with all of its connections, and starts it at the same port, with those lines
        before its configuration; with a new key, as after it was set up anew."""
        self.drop_connections()
        self.stop()
        if new_key:
            (self.root / "host_key").unlink()
            _make_key(self.root, "host_key", self.account)
        config = (self.root / "config").read_text()
        (self.root / "config.more").write_text(more.format(root=self.root) + config)
        self.host_key = _public(self.root)
        self.process = _run(self.root, self.account, "config.more")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


def what_is_missing() -> str:
    """Why no host can be run here; empty where one can."""
    if not SSHD.exists():
        return "openssh-server is not installed: apt-get install openssh-server"
    account = server_account()
    if Path(pwd.getpwuid(account.uid).pw_shell).name != "bash":
        return f"the shell of {account.name} is not bash, which notes the commands it is given"
    if os.geteuid() != 0 and grp.getgrnam("tty").gr_gid not in os.getgroups():
        return "an sshd of a user who is not in group tty cannot hand out terminals"
    return ""


@contextmanager
def running_host(more: str = "") -> Iterator[Host]:
    """Starts one, and removes all of it. `more` are lines before its configuration: of each key,
    sshd takes the first; `{root}` in them is its folder."""
    root = Path(tempfile.mkdtemp(prefix="tg-host-"))
    root.chmod(0o755)
    host = _start(root, more)
    try:
        yield host
    finally:
        host.stop()
        shutil.rmtree(root, ignore_errors=True)


def _start(root: Path, more: str) -> Host:
    account = server_account()
    for name in ("host_key", "client_key"):
        _make_key(root, name, account)
    shutil.copy(root / "client_key.pub", root / "authorized_keys")
    home = root / "home"
    home.mkdir()
    port = free_port()
    (root / "config").write_text((more + _CONFIG).format(port=port, root=root))
    (home / ".bashrc").write_text(_NOTE.format(root=root))
    for name in ("log", "commands", "user_ca", "principals"):
        (root / name).touch()
    if os.geteuid() == 0:
        for path in (home, root / "log", root / "commands"):
            os.chown(path, account.uid, account.gid)
    process = _run(root, account, "config")
    return Host(root, home, port, account, root / "client_key", _public(root), process)


def _make_key(root: Path, name: str, account: Account) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", root / name],
        check=True, input=b"y\n",
    )  # fmt: skip
    if name == "host_key" and os.geteuid() == 0:
        os.chown(root / name, account.uid, account.gid)


def _public(root: Path) -> str:
    return " ".join((root / "host_key.pub").read_text().split()[:2])


def _run(root: Path, account: Account, config: str) -> "subprocess.Popen[bytes]":
    before = (root / "log").read_text().count(_LISTENS)
    process = subprocess.Popen(
        [SSHD, "-D", "-f", root / config, "-E", root / "log"],
        **_as(account),
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    _wait(root / "log", process, before)
    return process


def _as(account: Account) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    # Without that group an unprivileged sshd cannot hand out terminals.
    groups = (grp.getgrnam("tty").gr_gid,)
    return {"user": account.uid, "group": account.gid, "extra_groups": groups}


def _wait(log: Path, process: "subprocess.Popen[bytes]", before: int) -> None:
    def listens() -> bool:
        return log.read_text().count(_LISTENS) > before

    eventually(lambda: listens() or process.poll() is not None, "sshd does not start")
    if not listens():
        raise RuntimeError(f"sshd did not start:\n{log.read_text()}")
