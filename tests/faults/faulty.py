"""A gateway that a test may mistreat: its clock set, its limits lowered, its disk filled."""

import contextlib
import json
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from taskgate.demo.cluster import free_port
from taskgate.demo.gate import OwnGate, Person, Ports
from taskgate.recording import layout
from taskgate.recording.damage import Report
from taskgate.recording.format import Entry
from taskgate.recording.keys import load_public
from taskgate.recording.reader import read_recording
from taskgate.recording.verify import verify_dir
from tests.end_to_end.conftest import LEAD, Setting
from tests.gates import OPERATOR, RESOURCE, RunningGate
from tests.patience import PATIENCE_S, eventually
from tests.servers import PASSWORD, SUPERUSER, Server

_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Faulty(Setting):
    """A gateway of a test's own, with what the end-to-end tests' setting has."""

    @property
    def own(self) -> OwnGate:
        return self.gate.own

    def set_clock(self, offset_s: float) -> None:
        """Sets the gateway's wall clock, `offset_s` from the machine's."""
        with (self.own.directory / "clock").open("r+b") as file:
            file.write(struct.pack("<d", offset_s))

    def reload(self, tasks: str) -> None:
        """Puts other tasks in force, as an operator does: new files, and SIGHUP."""
        (self.own.policy / "tasks.yaml").write_text(tasks)
        self.own.signal(signal.SIGHUP)

    def events(self, *kinds: str) -> list[Entry]:
        """What is recorded of these kinds (all of them for none), whatever recording it is in."""
        directory = self.own.recordings
        paths = [*layout.open_paths(directory), *layout.sealed_paths(directory)]
        entries: list[Entry] = []
        for path in paths:
            # A recording may be put away while this looks.
            with contextlib.suppress(Exception):
                entries += read_recording(path)
        return sorted((e for e in entries if not kinds or e.kind in kinds), key=lambda e: e.at)

    def recorded(self, kind: str, *words: str) -> Entry:
        """The first event of that kind with these words in its facts; waits for it."""

        def look() -> Entry | None:
            for event in self.events(kind):
                if all(word in json.dumps(event.facts, default=str) for word in words):
                    return event
            return None

        found = eventually(look, f"no event {kind} with {words} was recorded")
        assert found is not None
        return found

    def logged(self, *words: str) -> str:
        """The first line of the gateway's log with these words; waits for it."""

        def look() -> str:
            lines = self.own.log.read_text(errors="replace").splitlines()
            return next((line for line in lines if all(word in line for word in words)), "")

        return eventually(look, f"no line with {words} was logged")

    def verify(self) -> Report:
        """What `taskgate audit verify` finds, from the files alone."""
        return verify_dir(self.own.recordings, load_public(self.own.public_key))

    def rss_kib(self) -> int:
        """The gateway's resident memory."""
        status = Path(f"/proc/{self.own.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def well(self) -> None:
        """That the gateway serves as it should: ready, and a statement goes through."""

        def look() -> bool:
            with contextlib.suppress(Exception), self.connect("everything") as connection:
                return connection.execute("SELECT 42").fetchone() == (42,)
            return False

        eventually(look, "the gateway serves nobody")


def refusal(faulty: Faulty, task: str, password: str, source: str = "127.0.0.1") -> bytes:
    """What the gate says to a client without TLS, from its answer to the password on."""
    with knocking(faulty, task, source) as client:
        return answer(client, password)


def knocking(faulty: Faulty, task: str, source: str) -> socket.socket:
    """A client without TLS that has sent its start-up."""
    body = struct.pack("!i", 196608) + b"user\0" + task.encode() + b"\0\0"
    where = ("127.0.0.1", faulty.gate.port)
    client = socket.create_connection(where, timeout=PATIENCE_S, source_address=(source, 0))
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    return client


def answer(client: socket.socket, password: str) -> bytes:
    """What the gate says to such a client, from its answer to the password on."""
    told = client.recv(9)
    if told[:1] == b"R":
        client.sendall(b"p" + struct.pack("!i", len(password) + 5) + password.encode() + b"\0")
        told = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            told += piece
    return told


@contextlib.contextmanager
def faulty_gate(
    server: Server,
    database: str,
    tasks: str,
    *,
    port: int = 0,
    user: str = SUPERUSER,
    durability: str = "process",
    limits: Mapping[str, float] | None = None,
    files: Mapping[str, str] | None = None,
    drain_s: float | None = 2.0,
    people: tuple[Person, ...] = (),
    recordings: Callable[[Path], None] | None = None,
) -> Iterator[Faulty]:
    """A gateway before `server`, or before whatever listens on `port`.

    `recordings` is called with the folder of recordings before the first start; `files` are
    further policy files.
    """
    with tempfile.TemporaryDirectory(prefix="tg-faulty-") as name:
        directory = Path(name)
        clock = directory / "clock"
        clock.write_bytes(struct.pack("<d", 0.0))
        faults = {"clock": str(clock), "limits": dict(limits or {})}
        own = OwnGate(
            directory,
            Ports(free_port(), free_port()),
            secrets={
                "TARGET_PASSWORD": PASSWORD,
                "WRONG_PASSWORD": "not-this-one",
                "FAULTS": json.dumps(faults),
            },
            launcher=(str(_LAUNCH),),
        )
        direct = not port and server.tls
        resource = RESOURCE.format(
            port=port or server.port,
            tls="verify-full" if direct else "disable",
            ca=f"ca_file: {server.ca_file}" if direct else "",
            user=user,
            database=database,
            databases="",
        )
        policy = {"target.yaml": resource, "tasks.yaml": tasks, **(files or {})}
        own.configure(policy, durability=durability)
        configured = yaml.safe_load(own.config.read_text()) | {"drain_s": drain_s}
        if drain_s is None:
            del configured["drain_s"]
        own.config.write_text(yaml.safe_dump(configured))
        if recordings is not None:
            recordings(own.recordings)
        try:
            everyone = (OPERATOR, LEAD, *people)
            own.add_people(everyone)
            own.start()
            own.sign_in(*everyone)
            yield Faulty(RunningGate(own), server, database)
        finally:
            own.stop()
            mounted = subprocess.run(["mountpoint", "-q", own.recordings], check=False)
            if mounted.returncode == 0:
                subprocess.run(["umount", own.recordings], check=True)
