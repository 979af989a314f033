"""What the gateway stands on: its folder, the store, secrets, recordings, the policy."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from taskgate.gateway.config import Config
from taskgate.gateway.policies import Policies
from taskgate.gateway.secrets import Secrets, read_secret_file
from taskgate.identity.local import LocalUsers
from taskgate.identity.passwords import Passwords
from taskgate.identity.second_factors import SecondFactors
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig
from taskgate.model.secret import Secret
from taskgate.protocols.ssh.driver.listening import make_key
from taskgate.recording.journal import Journal
from taskgate.recording.keys import load_or_create
from taskgate.recording.recovery import recover
from taskgate.store.open import Store, open_store

# Names that begin so are the gateway's own; nobody sets or removes them.
RESERVED: Final = "taskgate/"
_MASK_KEY: Final = RESERVED + "mask-key"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """The store and the secrets: what commands on the gateway's own host also use."""

    clock: Clock
    store: Store
    secrets: Secrets


@dataclass(frozen=True, slots=True)
class Foundation:
    """All of it. `mask_key` keys the hash transform; it is the same on every node, so that
    hashed values still join."""

    state: State
    journal: Journal
    policies: Policies
    mask_key: bytes


@asynccontextmanager
async def open_state(config: Config) -> AsyncIterator[State]:
    """The store, its tables up to date. Raises: BadConfig, StoreUnavailable."""
    make_state_dir(config.state_dir)
    clock = Clock()
    async with open_store(config.store_url, _store_password(config)) as store:
        yield State(clock, store, Secrets(store.secrets, config.master_key_ref))


@asynccontextmanager
async def lay_foundation(config: Config) -> AsyncIterator[Foundation]:
    """Everything that must stand before anybody is let in.

    Raises: BadConfig (also for a policy that is wrong), NotRecorded, StoreUnavailable.
    """
    async with open_state(config) as state:
        await state.secrets.prepare()
        journal = Journal(
            config.audit_dir,
            config.audit.durability,
            load_or_create(config.audit_key),
            state.clock.now,
            packed=config.audit.packed,
        )
        try:
            for recovered in recover(journal, state.clock.now()):
                _log.warning(
                    "recording.recovered",
                    recording=recovered.recording,
                    events=recovered.events,
                    cut_bytes=recovered.cut_bytes,
                    damage=recovered.damage,
                )
            policies = Policies(config.policy, state.store.policies, state.clock)
            await policies.load()
            yield Foundation(state, journal, policies, await _mask_key(state))
        finally:
            journal.close(state.clock.now())


@asynccontextmanager
async def local_users(state: State) -> AsyncIterator[LocalUsers]:
    """The gate's own users."""
    passwords = Passwords()
    try:
        second = SecondFactors(state.store.factors, state.secrets, "taskgate")
        yield LocalUsers(state.store.users, state.store.attempts, passwords, second)
    finally:
        passwords.close()


def ensure_not_reserved(name: str) -> None:
    """Raises: BadConfig for the name of a secret that is the gateway's own."""
    if name.startswith(RESERVED):
        raise BadConfig(f"names that begin with {RESERVED} are the gateway's own")


def make_state_dir(path: Path) -> None:
    """Makes the folder for its owner alone. Raises: BadConfig."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise BadConfig(f"the state folder {path} cannot be written")
    except OSError as error:
        raise BadConfig(
            f"the state folder {path} cannot be made: {error.strerror}",
            hint="make it, for the gateway's own user, or name another in state_dir",
        ) from None


def _store_password(config: Config) -> Secret | None:
    ref = config.store_password
    if ref is None:
        return None
    if ref.source == "file":
        return read_secret_file(Path(ref.name))
    value = os.environ.get(ref.name)
    if not value:
        raise BadConfig(
            f"the environment has no {ref.name}, where the store's password should be",
            hint="set it for the gateway's process",
        )
    return Secret(os.fsencode(value))


class SshKey(StrEnum):
    """The gate's own keys for SSH. One key signs for one purpose alone, so that what opens the
    gate never opens a host."""

    HOST = "ssh-host-key"
    GATE_CA = "ssh-gate-ca"  # signs the gate's host key
    CLIENT_CA = "ssh-client-ca"  # signs what people sign in with at the gate
    UPSTREAM_CA = "ssh-upstream-ca"  # signs what the gate signs in with at hosts


async def ssh_key_of(state: State, purpose: SshKey) -> bytes:
    """The one that all nodes share, a private key in OpenSSH's form; made when it is first
    needed. Raises: StoreUnavailable, BadConfig."""
    made = Secret(make_key())
    name = RESERVED + purpose.value
    kept = await state.secrets.set_once(name, made, by="taskgate", now=state.clock.now())
    return kept.reveal_bytes()


async def _mask_key(state: State) -> bytes:
    made = Secret(randomness.token_hex(32))
    kept = await state.secrets.set_once(_MASK_KEY, made, by="taskgate", now=state.clock.now())
    return kept.reveal_bytes()
