"""Which policy counts now: read from its folder or the store, applied whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig, Conflict, StoreUnavailable
from taskgate.model.ports import PolicyStore
from taskgate.model.token import PolicyVersion
from taskgate.policy.load import load_dir, load_files
from taskgate.policy.rules import Members, Policy, Right, Role

POLL_S = 1.0
HISTORY = 200
FROM_FILES = "files"
_NOTHING = Policy(version="none", resources={}, tasks={}, roles={}, files={})


def _entrusting(policy: Policy, person: str) -> Policy:
    role = Role(
        name=Policies.ENTRUSTED,
        description="Whoever used the one-time code of the first run",
        source=Policies.ENTRUSTED,
        members=Members(frozenset(), frozenset({person})),
        rights=frozenset({Right.ADMINISTER, Right.AUTHOR}),
    )
    return replace(policy, roles={**policy.roles, f" {role.name}": role})


class Policies:
    """`current` is the policy in force; before the first `load` it permits nothing.

    With `folder`, the files there are the source: each version read is also kept in the store,
    and other files are refused. Without, the store's newest applied version counts, on every node.
    """

    # The name of their role; a file's would have no capital letter.
    ENTRUSTED: ClassVar = "First administrator"

    def __init__(self, folder: Path | None, store: PolicyStore, clock: Clock) -> None:
        self._folder = folder
        self._store = store
        self._clock = clock
        self._current = _NOTHING
        # Whoever used the one-time code of a first run, until when, and the policy with their role.
        self._entrusted: tuple[str, float] | None = None
        self._with_entrusted: Policy | None = None
        self._one_change = asyncio.Lock()
        self._listeners: list[Callable[[Policy], None]] = []

    @property
    def current(self) -> Policy:
        if self._entrusted is None:
            return self._current
        person, until = self._entrusted
        if self._clock.now() >= until:
            self._entrusted = self._with_entrusted = None
            return self._current
        if self._with_entrusted is None:
            self._with_entrusted = _entrusting(self._current, person)
        return self._with_entrusted

    def entrust(self, person: str, until: float) -> None:
        """Gives a person (an `Identity.key`) the rights of a first administrator until then."""
        if (person, until) != self._entrusted and self._clock.now() < until:
            self._entrusted, self._with_entrusted = (person, until), None

    @property
    def folder(self) -> Path | None:
        return self._folder

    @property
    def loaded(self) -> bool:
        """Whether there is a policy at all."""
        return self._current is not _NOTHING

    def on_change(self, listener: Callable[[Policy], None]) -> None:
        """`listener` is called, on the loop, with each policy that comes into force."""
        self._listeners.append(listener)

    async def load(self, by: str = FROM_FILES) -> Policy:
        """Reads the source again. What is wrong with it changes nothing.

        Raises: PolicyErrors, StoreUnavailable.
        """
        if self._folder is not None:
            await self.put_in_force(await self.checked(None), by)
            return self._current
        async with self._one_change:
            kept = await self._store.current()
            if kept is not None and kept.version != self._current.version:
                self._turn_to(await asyncio.to_thread(load_files, kept.files))
            return self._current

    async def checked(self, files: Mapping[str, str] | None) -> Policy:
        """The policy in `files`, or in the folder; not in force yet.

        Raises: PolicyErrors; Conflict for files where a folder is the source, and the other way
        round.
        """
        if files is None and self._folder is not None:
            return await asyncio.to_thread(load_dir, self._folder)
        if files is None:
            raise Conflict(
                "this gateway has no policy folder to read again",
                hint="taskgate policy apply DIR sends the files of a folder",
            )
        if self._folder is not None:
            raise Conflict(
                "this gateway reads its policy from a folder of files",
                hint=f"change them in {self._folder}, then taskgate policy apply without a folder",
            )
        return await asyncio.to_thread(load_files, files)

    async def put_in_force(self, policy: Policy, by: str) -> PolicyVersion:
        """Keeps a checked policy as the newest version, and lets it count from now on.

        Raises: StoreUnavailable; then the one before still counts.
        """
        async with self._one_change:
            newest = await self._store.history(1)
            if newest and newest[0].version == policy.version:
                version = newest[0]
            else:
                now = self._clock.now()
                version = PolicyVersion(policy.version, policy.files, now, by)
                await self._store.apply(version)
            self._turn_to(policy)
            return version

    async def follow(self) -> None:
        """Never ends: takes over what another node has applied to the store."""
        while True:
            await asyncio.sleep(POLL_S)
            if self._folder is not None:
                continue
            try:
                newest = await self._store.history(1)
                if newest and newest[0].version != self._current.version:
                    await self.load()
            except (StoreUnavailable, BadConfig):
                # What is in force stays so; readiness tells of the store.
                continue

    async def history(self, limit: int = HISTORY) -> tuple[PolicyVersion, ...]:
        """Newest first, without files. Raises: StoreUnavailable."""
        return await self._store.history(limit)

    async def version(self, version: str) -> PolicyVersion | None:
        """One applied version with its files. Raises: StoreUnavailable."""
        return await self._store.get(version)

    def _turn_to(self, policy: Policy) -> None:
        if policy.version == self._current.version:
            return
        self._current = policy
        self._with_entrusted = None
        for listener in self._listeners:
            listener(policy)
