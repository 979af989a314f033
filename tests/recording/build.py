"""What the tests of recordings are made of: a journal, sessions, requests."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskgate.model.event import Event, EventKind
from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity, IdentityKind
from taskgate.recording.journal import Durability, Journal
from taskgate.recording.recording import Recording

# 2026-01-06 09:00 UTC, a Tuesday.
TUESDAY = 1767690000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ANN = Identity("ann", groups=frozenset({"analysts", "emea"}), method="password")
AGENT = Identity("bot-7", kind=IdentityKind.AGENT, acts_for=ANN)


@dataclass(slots=True)
class FakeClock:
    now: float = TUESDAY

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def info(session: str, who: Identity = ANN, at: float = TUESDAY) -> SessionInfo:
    return SessionInfo(
        id=session,
        grant_id="g1",
        identity=who,
        task="sales-report",
        resource="warehouse",
        protocol="postgres",
        client_address="127.0.0.1:50000",
        client_application="psql",
        started_at=at,
    )


def journal(
    directory: Path,
    *,
    key: Ed25519PrivateKey = KEY,
    durability: Durability = "process",
    packed: bool = False,
    max_open_files: int = 100,
    write: Callable[[int, bytes | bytearray], int] | None = None,
) -> Journal:
    if write is None:
        return Journal(
            directory,
            durability,
            key,
            FakeClock(),
            packed=packed,
            max_open_files=max_open_files,
        )
    return Journal(
        directory,
        durability,
        key,
        FakeClock(),
        packed=packed,
        max_open_files=max_open_files,
        write=write,
    )


def permitted(number: int, text: str = "", **facts: Any) -> Event:
    about: dict[str, Any] = {
        "request": number,
        "text": text or f"SELECT email FROM sales.customers WHERE id = {number}",
        "actions": [
            {
                "verb": "select",
                "object": "sales.customers",
                "kind": "table",
                "columns": ["email"],
                "via": "",
            }
        ],
        "outcome": "permit",
        "rule": "sales-report/permit[0]",
        "policy_version": "p1",
    }
    return Event(EventKind.REQUEST_PERMITTED, TUESDAY + number, about | facts)


def finished(number: int, **facts: Any) -> Event:
    return Event(EventKind.REQUEST_FINISHED, TUESDAY + number + 0.5, {"request": number} | facts)


def record(log: Journal, session: str, requests: int = 3, **opening: Any) -> Recording:
    """A session with some requests, flushed, still open."""
    recording = log.open(info(session, **opening), reason="monthly report")
    for number in range(1, requests + 1):
        recording.append(permitted(number))
        recording.append(finished(number, rows=1))
    recording.flush()
    return recording


def sealed_file(directory: Path, session: str) -> Path:
    return next(directory.glob(f"2026/*/*/{session}.tgr*"))


@dataclass(slots=True)
class Disk:
    """An `os.write` that fails as told: `fail` raises for each write, `short` writes that many
    bytes and says so; `only` says of which file, by the end of its name. `calls` counts."""

    real: Callable[[int, bytes | bytearray], int]
    fail: OSError | None = None
    short: int | None = None
    only: str = ""
    calls: int = 0
    written: list[int] = field(default_factory=list)

    def write(self, fd: int, content: bytes | bytearray) -> int:
        self.calls += 1
        if not os.readlink(f"/proc/self/fd/{fd}").endswith(self.only):
            return self.real(fd, content)
        if self.fail is not None:
            raise self.fail
        if self.short is not None:
            content = content[: self.short]
        count = self.real(fd, content)
        self.written.append(count)
        return count
