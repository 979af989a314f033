"""A whole gateway before a real sshd, and OpenSSH's own client in front of it."""

import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taskgate.demo.cluster import free_port
from taskgate.demo.gate import OwnGate, Person, Ports
from taskgate.model.event import EventKind
from taskgate.recording.layout import open_path
from taskgate.recording.reader import read_session
from tests.gates import OPERATOR
from tests.hosts import Host, running_host, what_is_missing
from tests.patience import eventually

LEAD = Person("lead", "approves", ("leads",))
# What OpenSSH's client sends on every connection by Debian's configuration is left out here.
OPTIONS = (
    "-F", "none", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1",
    "-o", "PreferredAuthentications=password",
    "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
)  # fmt: skip

# Who asks may search and replay too; who leads may administer.
ROLES = """
kind: Role
name: watchers
for: {groups: [testers]}
may: [audit, replay]
---
kind: Role
name: administrators
for: {groups: [leads]}
may: [administer]
"""

_RESOURCE = """
kind: Resource
name: {name}
protocol: ssh
address: 127.0.0.1:{port}
host_keys: {host_key}
credential: {{username: {user}, private_key: {{file: {key}}}}}
"""


@dataclass(slots=True)
class SshSetting:
    """A gateway, the host behind it, and a folder for the client's own files."""

    own: OwnGate
    host: Host
    port: int
    client: Path

    @property
    def home(self) -> Path:
        """A folder at the host that its account may write to."""
        return self.host.home

    def grant(self, task: str, person: Person = OPERATOR) -> str:
        return self.own.grant(person.name, task)

    def grant_of(self, task: str) -> tuple[str, str]:
        """A fresh grant of the operator's: its token and its id."""
        made = self.own.ask("operator", "POST", "/v1/grants", {"task": task, "reason": "a test"})
        return str(made["token"]), str(made["grant"]["id"])

    def arguments(self, task: str, *options: str) -> list[str]:
        known = self.client / "known_hosts"
        return [
            "ssh", *options, *OPTIONS, "-o", f"UserKnownHostsFile={known}",
            "-p", str(self.port), f"{task}@localhost",
        ]  # fmt: skip

    def environment(self, token: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "LC_", "LANG"))}
        asking = {"SSH_ASKPASS": str(self.client / "askpass"), "SSH_ASKPASS_REQUIRE": "force"}
        return {**kept, **asking, "TG_TOKEN": token}

    def ssh(
        self,
        task: str,
        command: str,
        *options: str,
        token: str = "",
        stdin: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """OpenSSH's client through the gate, under a fresh grant."""
        return subprocess.run(
            [*self.arguments(task, *options), command],
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=90,
            env={**self.environment(token or self.grant(task)), **(more or {})},
        )  # fmt: skip

    def lines(
        self, task: str, text: str, *options: str, token: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """`ssh -T` without a command, lines on its standard input."""
        return subprocess.run(
            self.arguments(task, "-T", *options),
            input=text, capture_output=True, text=True, check=False, timeout=90,
            env=self.environment(token or self.grant(task)),
        )  # fmt: skip

    def sftp(self, task: str, *lines: str, token: str = "") -> "subprocess.CompletedProcess[str]":
        """OpenSSH's sftp with a batch of commands; `-` before one lets the rest go on."""
        return subprocess.run(
            ["sftp", "-o", "BatchMode=no", *self.options("-P"), "-b", "-", f"{task}@localhost"],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True, text=True, check=False, timeout=90,
            env=self.environment(token or self.grant(task)),
        )  # fmt: skip

    def scp(self, task: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """OpenSSH's scp; HOST in the arguments is the gate."""
        told = [one.replace("HOST", f"{task}@localhost") for one in arguments]
        return subprocess.run(
            ["scp", *self.options("-P"), *told],
            capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL,
            env=self.environment(self.grant(task)),
        )  # fmt: skip

    def started_scp(self, task: str, *arguments: str) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        told = [one.replace("HOST", f"{task}@localhost") for one in arguments]
        return subprocess.Popen(
            ["scp", *self.options("-P"), *told],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.environment(self.grant(task)),
        )  # fmt: skip

    def options(self, port: str) -> list[str]:
        known = self.client / "known_hosts"
        return [*OPTIONS, "-o", f"UserKnownHostsFile={known}", port, str(self.port)]

    def start(
        self,
        task: str,
        command: str,
        *options: str,
        token: str = "",
        more: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        return subprocess.Popen(
            [*self.arguments(task, *options), command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**self.environment(token or self.grant(task)), **(more or {})},
        )  # fmt: skip

    def events(self, session: str) -> list[tuple[str, dict[str, Any]]]:
        """A recording's events: kind and facts."""
        read = read_session(self.own.recordings, session)
        return [(entry.kind, dict(entry.facts)) for entry in read]

    def resident(self) -> int:
        """Bytes of memory that the gateway holds."""
        for line in Path(f"/proc/{self.own.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def resized(self, task: str, columns: int, rows: int) -> None:
        """Waits until the newest session of `task` has a terminal of that size: a client may send
        what is typed next before it."""
        id_ = self.newest_session(task)

        def is_there() -> bool:
            found = (f for kind, f in self.events(id_) if kind == EventKind.TERMINAL_RESIZED)
            return any((f["columns"], f["rows"]) == (columns, rows) for f in found)

        eventually(is_there, "no other size")

    def limit_file_size(self, bytes_: int = 1) -> None:
        """From here on the gateway can write no file any further than that, as on a full disk."""
        resource.prlimit(self.own.pid, resource.RLIMIT_FSIZE, (bytes_, bytes_))

    def recorded(self, task: str) -> list[tuple[str, dict[str, Any]]]:
        """The recording of the newest session of `task`, once that has ended."""
        id_ = self.newest_session(task)

        def sealed() -> list[tuple[str, dict[str, Any]]]:
            events = self.events(id_)
            over = bool(events) and events[-1][0] == EventKind.RECORDING_SEALED
            # Its file is put away behind that.
            return events if over and not open_path(self.own.recordings, id_).exists() else []

        return eventually(sealed, f"{id_} was not sealed")

    @contextmanager
    def master(
        self, task: str, socket: Path, *options: str, more: Mapping[str, str] | None = None
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """A connection without a channel, which others share by `ControlPath=socket`."""
        # One that was killed leaves its socket.
        socket.unlink(missing_ok=True)
        arguments = self.arguments(task, "-M", "-N", "-S", str(socket), *options)
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**self.environment(self.grant(task)), **(more or {})},
        )  # fmt: skip
        try:
            eventually(lambda: socket.exists() or process.poll() is not None, "no connection")
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                # OpenSSH's master outlives SIGTERM while it closes a channel that failed to open.
                process.kill()
                process.wait(30)

    def waiting(self, task: str) -> str:
        """The id of the approval that `task` waits for, once there is one."""

        def found() -> str:
            asked = self.own.ask("lead", "GET", "/v1/approvals")
            waits = (str(o["id"]) for o in asked if o["task"] == task and o["state"] == "waiting")
            return next(waits, "")

        return eventually(found, "nothing waits")

    def is_waiting(self, approval: str) -> bool:
        found = self.own.ask("lead", "GET", "/v1/approvals")
        return any(one["id"] == approval and one["state"] == "waiting" for one in found)

    def newest_session(self, task: str) -> str:
        """The id of the newest session of `task`."""
        found = self.own.ask("operator", "GET", f"/v1/sessions?task={task}&limit=1")
        return str(found[0]["id"])

    def refused(self, task: str) -> str:
        """What the newest session of `task` was refused, a line each."""
        denied = [f for kind, f in self.recorded(task) if kind == EventKind.REQUEST_DENIED]
        return "\n".join(str(facts["text"]) for facts in denied)

    @contextmanager
    def agent(self) -> Iterator[dict[str, str]]:
        """An ssh-agent for the client: the variables that name it."""
        socket = self.client / "agent"
        process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            eventually(lambda: _answers(socket), "no agent")
            yield {"SSH_AUTH_SOCK": str(socket)}
        finally:
            process.terminate()
            process.wait(30)
            socket.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    """Whether somebody listens there: the socket is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def running_ssh_gate(
    host: Host,
    *tasks: str,
    people: tuple[Person, ...] = (),
    document: str = "",
    durability: str = "process",
    more: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Iterator[SshSetting]:
    """A gateway of its own before `host`, which is resource `target`. `more` are further keys of
    its configuration, `secrets` variables of its environment."""
    with tempfile.TemporaryDirectory(prefix="tg-ssh-gate-") as directory:
        root = Path(directory)
        port = free_port()
        own = OwnGate(root / "gate", Ports(free_port(), free_port()), secrets=secrets or {})
        (root / "gate").mkdir()
        found = document or _RESOURCE.format(
            name="target", port=host.port, host_key=host.host_key, user=host.account.name,
            key=host.key,
        )  # fmt: skip
        policy = {"target.yaml": found, "tasks.yaml": "---\n".join(tasks)}
        own.configure(policy, durability=durability, more={"ssh": {"port": port}, **(more or {})})
        everyone = (OPERATOR, *people)
        own.add_people(everyone)
        own.start()
        try:
            own.sign_in(*everyone)
            client = root / "client"
            client.mkdir()
            (client / "askpass").write_text('#!/bin/sh\nprintf "%s\\n" "$TG_TOKEN"\n')
            (client / "askpass").chmod(0o700)
            (client / "known_hosts").write_text(own.command("operator", "known-hosts").stdout)
            yield SshSetting(own, host, port, client)
        finally:
            own.stop()


@pytest.fixture(scope="session")
def ssh_host() -> Iterator[Host]:
    """One sshd for all tests of a process."""
    missing = what_is_missing()
    if missing and os.environ.get("TASKGATE_TEST_ALL") and os.geteuid() == 0:
        pytest.fail(f"{missing}, and this run must test with it")
    if missing:
        pytest.skip(missing)
    with running_host() as host:
        yield host
