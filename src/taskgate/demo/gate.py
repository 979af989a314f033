"""A gateway of one's own: its configuration, its process, its people. For the demo, the tests
against a whole gateway, and the benchmark."""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from taskgate.gateway.secrets import Secrets
from taskgate.identity.local import LocalUsers
from taskgate.identity.passwords import Passwords
from taskgate.identity.second_factors import SecondFactors
from taskgate.model.errors import Conflict
from taskgate.model.identity import IdentityKind
from taskgate.model.resource import SecretRef
from taskgate.store.open import open_store

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
_MODULE = ("-m", "taskgate.cli.main")


class GateFault(Exception):
    """The gateway did not start, or a command of its failed. The message has the words of it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in. The password is a demo's, and printed."""

    name: str
    about: str
    groups: tuple[str, ...]
    kind: IdentityKind = IdentityKind.HUMAN

    @property
    def password(self) -> str:
        return f"{self.name}-at-the-shop"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway listens on 127.0.0.1; None for what it does not serve."""

    postgres: int
    api: int
    ssh: int | None = None


class OwnGate:
    """One gateway under `directory`: `gateway.yaml`, `policy/`, `state/`, `profiles/`, its log.

    `secrets` become environment variables of the gateway alone. `launcher` are
    Python's arguments that start the CLI, for a benchmark that measures inside.
    """

    def __init__(
        self,
        directory: Path,
        ports: Ports,
        *,
        secrets: Mapping[str, str],
        launcher: Sequence[str] = _MODULE,
    ) -> None:
        self.directory = directory
        self.ports = ports
        self.config = directory / "gateway.yaml"
        self.policy = directory / "policy"
        self.state = directory / "state"
        self.profiles = directory / "profiles"
        self.log = directory / "gateway.log"
        self._secrets = dict(secrets)
        self._launcher = tuple(launcher)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.ports.api}"

    @property
    def ca_file(self) -> Path:
        """The authority that the gateway makes at its first start."""
        return self.state / "tls" / "ca.pem"

    @property
    def recordings(self) -> Path:
        return self.state / "recordings"

    @property
    def public_key(self) -> Path:
        """What the recordings verify against."""
        return self.state / "recording.key.pub"

    @property
    def program(self) -> list[str]:
        """The command line of the CLI."""
        return [sys.executable, *_MODULE]

    @property
    def pid(self) -> int:
        """The gateway's process, while it runs."""
        if self._process is None:
            raise GateFault("the gateway is not running")
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends the gateway's process a signal."""
        os.kill(self.pid, number)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def configure(
        self,
        policy: Mapping[str, str],
        *,
        durability: str = "process",
        plaintext: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Writes the configuration and the policy files (name to text), in place of any before;
        `more` are further keys of the configuration.

        `plaintext` lets clients without TLS in, from this machine alone: the wheel's psql.
        """
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.policy, ignore_errors=True)
        self.policy.mkdir()
        for name, text in policy.items():
            (self.policy / name).write_text(text)
        wanted = {
            "state_dir": "state",
            "policy": "policy",
            "public_url": self.url,
            "node": "own",
            "postgres": {"port": self.ports.postgres, "plaintext": plaintext},
            "api": {"port": self.ports.api},
            **({} if self.ports.ssh is None else {"ssh": {"port": self.ports.ssh}}),
            "audit": {"durability": durability},
            "log": {"format": "json"},
            "drain_s": 2,
            **(more or {}),
        }
        self.config.write_text(yaml.safe_dump(wanted, sort_keys=False))

    def add_people(self, people: tuple[Person, ...]) -> None:
        """Makes the users that are not there yet. The gateway must not be running."""
        asyncio.run(self._add_people(people))

    async def _add_people(self, people: tuple[Person, ...]) -> None:
        passwords = Passwords()
        try:
            async with open_store(f"sqlite+aiosqlite:///{self.state / 'taskgate.db'}") as store:
                key = SecretRef("file", str(self.state / "master.key"))
                second = SecondFactors(store.factors, Secrets(store.secrets, key), "taskgate")
                users = LocalUsers(store.users, store.attempts, passwords, second)
                for person in people:
                    with contextlib.suppress(Conflict):
                        await users.add(
                            person.name,
                            person.password,
                            frozenset(person.groups),
                            time.time(),
                            kind=person.kind,
                        )
        finally:
            passwords.close()

    def start(self) -> None:
        """Starts the gateway and waits until it is ready.

        Raises:
            GateFault: it ended, or stayed silent; with the end of its log.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *self._launcher, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_clean_environment(), **self._secrets},
                start_new_session=True,
                preexec_fn=_stop_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.running:
            if self._ready():
                return
            time.sleep(_POLL_S)
        self.stop()
        tail = self.log.read_text(errors="replace")[-3000:]
        raise GateFault(f"the gateway did not start:\n{tail}")

    def stop(self) -> None:
        """SIGTERM and a wait for the drain, then SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def sign_in(self, *people: Person) -> None:
        """`taskgate login` as each of them, all at once, into profiles of their names.

        Raises:
            GateFault: with the command's words.
        """
        running = [
            subprocess.Popen(  # noqa: S603
                [
                    *self.program, "login", person.name, "--server", self.url,
                    "--ca", str(self.ca_file), "--password-stdin",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=self.surroundings(person.name),
            )
            for person in people
        ]  # fmt: skip
        for person, login in zip(people, running, strict=True):
            with login:
                _, said = login.communicate(person.password + "\n", timeout=60)
            if login.returncode:
                raise GateFault(said.strip())

    def grant(self, person: str, task: str, lasts_s: float | None = None) -> str:
        """Takes up `task` as a signed-in person, through the API; the grant's token.

        Raises:
            GateFault: with the gateway's words.
        """
        asked = {"task": task, "reason": "a run of one's own", "lasts_s": lasts_s}
        return str(self.ask(person, "POST", "/v1/grants", asked)["token"])

    def ask(self, person: str, method: str, path: str, body: object = None) -> Any:
        """One call of the API as a signed-in person: what it answers.

        Raises:
            GateFault: with the gateway's words.
        """
        profile = json.loads((self.profiles / f"{person}.json").read_text())
        request = urllib.request.Request(  # noqa: S310 - a constant https scheme
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {profile['token']}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=30, context=self._trusting()
            ) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise GateFault(error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    def command(
        self, who: str, *arguments: str, text_in: str = "", timeout_s: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the CLI as `who` (a profile) and waits for it."""
        return subprocess.run(  # noqa: S603
            [*self.program, *arguments],
            input=text_in,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=self.surroundings(who),
        )

    def surroundings(self, who: str) -> dict[str, str]:
        """The environment in which the CLI acts as `who`."""
        return {
            **_clean_environment(),
            "TASKGATE_CONFIG_DIR": str(self.profiles),
            "TASKGATE_PROFILE": who,
        }

    def _trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - a constant https scheme
                f"{self.url}/readyz", timeout=2, context=self._trusting()
            ) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def _clean_environment() -> dict[str, str]:
    # Whatever the caller has set for another gateway or database must not leak in here.
    return {k: v for k, v in os.environ.items() if not k.startswith(("PG", "TASKGATE_"))}


def _stop_with_parent() -> None:  # runs in the child, between fork and exec
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
