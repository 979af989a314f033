"""Where access is in use, and what of it nobody uses: for whoever must not hunt."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from taskgate.gateway.policies import Policies
from taskgate.gateway.records import Records
from taskgate.identity.tokens import hash_token, looks_right
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import NotFound, StoreUnavailable
from taskgate.model.ports import GrantStore, UsageStore
from taskgate.model.usage import DormantGrant, IdlePerson, NewPlace, Place, UseSelector

_GRANT = re.compile(r"g-[0-9a-z]{13}\Z")
# The index of requests may be behind; the map then counts what it has.
_CATCH_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Hygiene:
    """What deserves a look. `unused_tasks` has each task's last use, None for never."""

    dormant: tuple[DormantGrant, ...]
    unused_tasks: tuple[tuple[str, float | None], ...]
    new_places: tuple[NewPlace, ...]
    idle_people: tuple[IdlePerson, ...]


class UseMap:
    """The map of use, from sessions, sign-ins and the recordings' index."""

    def __init__(
        self,
        store: UsageStore,
        grants: GrantStore,
        policies: Policies,
        records: Records,
        clock: Clock,
        issuers: Collection[str] = (),
    ) -> None:
        """`issuers` are those whose people a directory keeps, if one does."""
        self._store = store
        self._grants = grants
        self._policies = policies
        self._records = records
        self._clock = clock
        self._issuers = tuple(sorted({"local", *issuers}))

    async def places(
        self, selectors: Sequence[UseSelector], limit: int = limits.MAX_PLACES
    ) -> tuple[Place, ...]:
        """Every place that fits any of the selectors, the most recently used first.

        Raises: StoreUnavailable.
        """
        with suppress(StoreUnavailable, TimeoutError, OSError):
            await self._records.catch_up(_CATCH_UP_S)
        found: dict[tuple[object, ...], Place] = {}
        for selector in selectors:
            for place in await self._store.places(selector, limit):
                key = (
                    place.identity, place.acts_for, place.source, place.application, place.way,
                    place.task, place.resource, tuple(sorted(place.claims.items())),
                )  # fmt: skip
                found.setdefault(key, self._with_host(place))
        newest = sorted(found.values(), key=lambda one: -one.last_at)
        return tuple(newest[:limit])

    async def selector_of(self, what: str) -> UseSelector:
        """What somebody means by a word: a token, a grant's id, a task's name, or a person (a
        local user's name, or `issuer:subject`).

        Raises: NotFound, StoreUnavailable.
        """
        word = what.strip()
        if word.startswith("tg_"):
            found = await self._grants.by_token(hash_token(word)) if looks_right(word) else None
            if found is None:
                raise NotFound("there is no such token, or its grant has lapsed")
            return UseSelector(grant_id=found[0].id)
        if _GRANT.match(word):
            if await self._grants.get(word) is None:
                raise NotFound(f"there is no grant {word}")
            return UseSelector(grant_id=word)
        if word in self._policies.current.tasks:
            return UseSelector(task=word)
        return UseSelector(person=word if ":" in word else f"local:{word}")

    async def hygiene(self, idle_s: float) -> Hygiene:
        """What was idle for `idle_s` seconds, or is new since then. Raises: StoreUnavailable."""
        now = self._clock.now()
        most = limits.MAX_HYGIENE_LINES
        used = await self._store.tasks_used()
        unused = [
            (name, used.get(name))
            for name in sorted(self._policies.current.tasks)
            if used.get(name, 0.0) < now - idle_s
        ]
        return Hygiene(
            dormant=await self._store.dormant(now, idle_s, most),
            unused_tasks=tuple(unused[:most]),
            new_places=await self._store.new_places(now - idle_s, most),
            idle_people=await self._store.idle_people(now - idle_s, self._issuers, most),
        )

    def _with_host(self, place: Place) -> Place:
        resource = self._policies.current.resources.get(place.resource)
        if resource is None:
            return place
        return replace(place, host=f"{resource.host}:{resource.port}")
