"""What a visitor of the demo does: runs psql, ssh and scp under a task, and the CLI as one of the
people."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskgate.demo.gate import Person
from taskgate.demo.shop import DATABASE, Shop

PATIENCE_S = 30.0


class NotAsPromised(Exception):
    """What was seen instead."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


class Visitor:
    """Acts in the demo as its people would, by the commands that it prints."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def psql(self, who: Person, task: str, *statements: str) -> Said:
        """`taskgate connect TASK -- -c ...`: psql with the SQLSTATE of errors, unaligned."""
        with self.start_psql(who, task, *statements) as running:
            out, err = running.communicate(timeout=PATIENCE_S)
        return Said(running.returncode, out, err)

    def start_psql(self, who: Person, task: str, *statements: str) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        commands = [part for statement in statements for part in ("-c", statement)]
        return self._start(
            who, "connect", task, "--reason", "a tour of the demo", "--",
            "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", *commands,
        )  # fmt: skip

    def ssh(self, who: Person, task: str, command: str) -> Said:
        """`taskgate connect TASK -- COMMAND`: at the task's host."""
        with self.start_ssh(who, task, command) as running:
            out, err = running.communicate(timeout=PATIENCE_S)
        return Said(running.returncode, out, err)

    def start_ssh(self, who: Person, task: str, command: str) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        return self._start(who, "connect", task, "--reason", "a tour of the demo", "--", command)

    def scp(self, who: Person, task: str, source: str, target: str) -> Said:
        """`taskgate exec TASK -- scp SOURCE TARGET`"""
        return self.exec(who, task, "scp", source, target)

    def exec(self, who: Person, task: str, *command: str, text_in: str = "") -> Said:
        """`taskgate exec TASK -- COMMAND...`"""
        with self.start_exec(who, task, *command) as running:
            out, err = running.communicate(text_in, timeout=PATIENCE_S)
        return Said(running.returncode, out, err)

    def start_exec(self, who: Person, task: str, *command: str) -> "subprocess.Popen[str]":
        """The same, not waited for; what it reads is written to its `stdin`."""
        reason = ("--reason", "a tour of the demo")
        return self._start(who, "exec", task, *reason, "--", *command, stdin=subprocess.PIPE)

    def psql_by_hand(self, task: str, token: str, statement: str) -> Said:
        """psql as the README's connection string has it, without `taskgate connect`."""
        done = subprocess.run(  # noqa: S603
            [  # noqa: S607 - the psql that is first on the demo's path
                "psql", "-XqAt", "-h", "localhost", "-p", str(self.shop.gate.ports.postgres),
                "-U", task, "-d", DATABASE, "-c", statement,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env={**self._surroundings(None), "PGPASSWORD": token},
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def cli(self, who: Person, *arguments: str) -> Said:
        """`taskgate --profile WHO ...`"""
        done = self.shop.gate.command(who.name, *arguments, timeout_s=PATIENCE_S)
        return Said(done.returncode, done.stdout, done.stderr)

    def ask(self, who: Person, *arguments: str) -> Any:
        """The same with `--json`, read. Raises: NotAsPromised."""
        said = self.cli(who, *arguments, "--json")
        if said.status:
            raise NotAsPromised(f"taskgate {arguments[0]}: {said.err.strip()}")
        return json.loads(said.out)

    def waiting_approval(self, who: Person, part: str) -> str:
        """The id of the held request whose text holds `part`, as soon as `who` sees it."""

        def found() -> str:
            waiting = self.ask(who, "approvals")
            return next((one["id"] for one in waiting if part in one["text"]), "")

        return eventually(found, f"nobody was asked to approve {part}")

    def _start(
        self, who: Person, *arguments: str, stdin: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603
            [*self.shop.gate.program, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._surroundings(who),
            start_new_session=True,
        )

    def _surroundings(self, who: Person | None) -> dict[str, str]:
        own = self.shop.gate.surroundings(who.name if who is not None else "nobody")
        return {**own, "PATH": os.pathsep.join((str(self.shop.programs), os.environ["PATH"]))}


def eventually(found: Callable[[], str], otherwise: str) -> str:
    """The first answer that is not empty. Raises: NotAsPromised after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.1)
    raise NotAsPromised(otherwise)
