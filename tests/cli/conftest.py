"""A running gateway, and people who use the command against it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.gate import Gate, password_of, start_gate


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `taskgate` as a person would, in a process of its own."""

    gate: Gate
    home: Path

    def environment(self, who: str = "", **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TASKGATE_", "PG"))}
        own = {"TASKGATE_CONFIG_DIR": str(self.home), "TASKGATE_PROFILE": who or "default"}
        return kept | own | more

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "taskgate.cli.main", *arguments]

    def run(
        self, who: str, *arguments: str, stdin: str = "", more: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), env=self.environment(who, **(more or {})), input=stdin,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def ok(self, who: str, *arguments: str, stdin: str = "") -> str:
        found = self.run(who, *arguments, stdin=stdin)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def sign_in(self, *names: str) -> None:
        for name in names:
            self.ok(
                name, "login", name, "--server", self.gate.url, "--ca", str(self.gate.ca),
                "--password-stdin", stdin=password_of(name) + "\n",
            )  # fmt: skip


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    gate = asyncio.run(start_gate(tmp_path_factory.mktemp("gate")))
    running = Shell(gate, tmp_path_factory.mktemp("home") / "taskgate")
    running.sign_in("ann", "lea", "aud", "rep", "adm")
    yield running
    gate.stop()
