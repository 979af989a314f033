"""The ways from OpenSSH's client to a host that are measured, and the processes behind them."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import Watched
from bench.ssh.sshd import PROGRAM, Sshd, running_sshd
from taskgate.demo.cluster import free_port
from taskgate.demo.gate import OwnGate, Person, Ports

CLIENT = Person("bench", "runs the benchmark", ("benchers",))
TASK = "bench"
BULK = "bulk"
_NEEDED = ("ssh", "scp", "sftp", "rsync", "ssh-keyscan")

# One key exchange and one cipher on every way, so that what differs is the way. OpenSSH among
# itself would take sntrup761, whose keys cost tens of milliseconds.
_CONFIG = """
Host *
  IgnoreUnknown ObscureKeystrokeTiming
  ObscureKeystrokeTiming no
  KexAlgorithms curve25519-sha256
  Ciphers aes128-gcm@openssh.com
  GlobalKnownHostsFile /dev/null
  UserKnownHostsFile {root}/known_hosts
  StrictHostKeyChecking yes
  IdentitiesOnly yes
  IdentityAgent none
  LogLevel ERROR

Host direct jumped
  HostName 127.0.0.1
  Port {host.port}
  User {host.user}
  IdentityFile {host.key}

Host jumped
  ProxyJump jump

Host jump
  HostName 127.0.0.1
  Port {jump.port}
  User {jump.user}
  IdentityFile {jump.key}

Host gate
  HostName 127.0.0.1
  Port {port}
  User {task}
  PubkeyAuthentication no
  PreferredAuthentications password
  NumberOfPasswordPrompts 1
"""

_POLICY = """
kind: Resource
name: host
protocol: ssh
address: 127.0.0.1:{port}
host_keys: {host_key}
credential: {{username: {user}, private_key: {{file: {key}}}}}
---
kind: Task
name: {task}
resource: host
for: {{groups: [benchers]}}
lasts: {{default: 4h, at_most: 4h}}
permit:
  - run: ["true", cat, "sleep *"]
  - run: ["{rsync}"]
  - terminal: [cat]
  - see: ["{home}/**"]
  - write: ["{home}/**", /dev/null]
deny:
  - {{run: ["rm **"], reason: a benchmark removes nothing}}
"""


@dataclass(frozen=True, slots=True)
class SshWay:
    """One way to the host: what OpenSSH's programs call it. `middle` is the process in between,
    None for none."""

    name: str
    host: str
    middle: Watched | None


@dataclass(frozen=True, slots=True)
class SshBench:
    """Everything that is up. `root` is a folder for the client's own files."""

    root: Path
    host: Sshd
    ways: tuple[SshWay, ...]
    gate: OwnGate
    token: str

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def environment(self) -> Mapping[str, str]:
        """For OpenSSH's programs: who is asked for the password."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "LC_", "LANG"))}
        return {
            **kept, "SSH_ASKPASS": str(self.root / "askpass"), "SSH_ASKPASS_REQUIRE": "force",
            "BENCH_TOKEN": self.token,
        }  # fmt: skip

    def program(self, name: str, *words: str) -> list[str]:
        """A command line of OpenSSH's, by this bench's configuration."""
        return [name, "-F", str(self.config), *words]


def what_is_missing() -> str:
    """Why nothing can be measured here; empty where it can."""
    found = os.get_exec_path()
    missing = [n for n in _NEEDED if not any((Path(p) / n).exists() for p in found)]
    if not PROGRAM.exists():
        missing.append("sshd")
    return ", ".join(missing)


@contextmanager
def everything(
    bulk_bytes: int, launcher: tuple[str, ...] = ("-m", "taskgate.cli.main")
) -> Iterator[SshBench]:
    """Starts the host, the jump host and the gate. The host's home has a file `bulk` of so many
    bytes."""
    with ExitStack() as stack:
        # In memory where that is possible: not the disk is measured.
        shared = Path("/dev/shm")
        place = shared if os.access(shared, os.W_OK) else None
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tg-bench-", dir=place)))
        root.chmod(0o755)
        host = stack.enter_context(running_sshd(root / "host"))
        jump = stack.enter_context(running_sshd(root / "jump"))
        _fill(host.home / BULK, bulk_bytes)
        gate = stack.enter_context(_gate(root, host, launcher))
        port = gate.ports.ssh
        (root / "config").write_text(
            _CONFIG.format(root=root, host=host, jump=jump, port=port, task=TASK)
        )
        known = gate.command(CLIENT.name, "known-hosts").stdout.replace("localhost", "127.0.0.1")
        (root / "known_hosts").write_text(
            f"[127.0.0.1]:{host.port} {host.host_key}\n"
            f"[127.0.0.1]:{jump.port} {jump.host_key}\n{known}"
        )
        (root / "askpass").write_text('#!/bin/sh\nprintf "%s\\n" "$BENCH_TOKEN"\n')
        (root / "askpass").chmod(0o700)
        ways = (
            SshWay("direct", "direct", None),
            SshWay("jump host", "jumped", Watched(jump.pid)),
            SshWay("gate", "gate", Watched(gate.pid)),
        )
        yield SshBench(root, host, ways, gate, gate.grant(CLIENT.name, TASK))


def _fill(path: Path, count: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(count >> 20):
            file.write(block)
    path.chmod(0o644)


@contextmanager
def _gate(root: Path, host: Sshd, launcher: tuple[str, ...]) -> Iterator[OwnGate]:
    own = root / "gate"
    own.mkdir()
    gate = OwnGate(own, Ports(free_port(), free_port(), free_port()), secrets={}, launcher=launcher)
    policy = _POLICY.format(
        port=host.port, host_key=host.host_key, user=host.user, key=host.key, home=host.home,
        task=TASK, rsync=_rsync_server(root, host.home),
    )  # fmt: skip
    gate.configure({"bench.yaml": policy})
    gate.add_people((CLIENT,))
    gate.start()
    try:
        gate.sign_in(CLIENT)
        yield gate
    finally:
        gate.stop()


def _rsync_server(root: Path, home: Path) -> str:
    """What `rsync -a` asks a host to run, which a rule has to spell out: its options are guarded,
    and are another version's others."""
    told = root / "told"
    remote = root / "remote"
    remote.write_text(f'#!/bin/sh\nshift\necho "$@" >{told}\nexit 1\n')
    remote.chmod(0o700)
    subprocess.run(
        ["rsync", "-a", "-e", str(remote), f"{root}/", f"host:{home}/copy/"],
        capture_output=True, check=False,
    )  # fmt: skip
    return told.read_text().strip()
