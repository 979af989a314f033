"""Somebody leaves: everything of theirs ends at once, and nobody has to hunt for the rest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import structlog

from taskgate.gateway.holds import Holds
from taskgate.gateway.records import Records
from taskgate.gateway.use_map import UseMap
from taskgate.identity.grants import Grants
from taskgate.identity.local import ISSUER, normal_name
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig, NotFound, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity
from taskgate.model.leaving import DIRECTORY, Departure, Ended, Leaver
from taskgate.model.ports import LeavingStore
from taskgate.model.usage import Place, UseSelector

_log = structlog.get_logger(__name__)
SCIM = DIRECTORY


@dataclass(frozen=True, slots=True)
class Offboarded:
    """What was ended, where it had been in use, and by which other keys somebody of the same
    name has come in (`also_seen`): those are not touched."""

    people: tuple[str, ...]
    ended: Ended
    places: tuple[Place, ...]
    also_seen: tuple[str, ...] = ()


class Leaving:
    """Offboards and reinstates. Who may do so is for the caller to judge."""

    def __init__(
        self,
        store: LeavingStore,
        grants: Grants,
        holds: Holds,
        use_map: UseMap,
        records: Records,
        clock: Clock,
    ) -> None:
        self._store = store
        self._grants = grants
        self._holds = holds
        self._use_map = use_map
        self._records = records
        self._clock = clock

    async def keys_of(self, who: str) -> frozenset[str]:
        """The `Identity.key`s that a name means: `issuer:subject`, or a local user's name.

        Raises: NotFound for somebody nobody here has ever seen: a mistyped name must not look
        like an offboarding that worked.
        """
        key = _key(who)
        known = await self._store.seen((key,), "")
        if not known:
            raise NotFound(
                f"nobody by the name {key} has ever come in here",
                hint="taskgate user list shows local users; others are written issuer:subject, as"
                " taskgate sessions --all and taskgate hygiene show them",
            )
        return frozenset(known)

    async def offboard(
        self, keys: Collection[str], why: str, by: Identity | None, door: str
    ) -> Offboarded:
        """Ends all that these keys have, everywhere, and bars them. `by` None means `door` itself
        (SCIM).

        On this node it is done when this returns, on others within the poll of revocations.
        Raises: StoreUnavailable; then nothing has happened. NotRecorded; then it has.
        """
        people = tuple(sorted({*keys, *await self._store.seen(keys, "")}))
        facts = {"object": ", ".join(people), "people": list(people), "reason": why, "door": door}
        leaver = Leaver(
            keys=frozenset(people),
            users=frozenset(_local(people)),
            by=by.key if by is not None else door,
            why=why,
        )
        try:
            await self._records.log(EventKind.PERSON_OFFBOARDED, by, facts)
        finally:
            # Taking rights away never waits for anything: it happens though nobody can write it
            # down.
            ended = await self._store.offboard(leaver, self._clock.now())
            self._grants.heard(ended.revocations)
        await self._holds.look_again((*ended.approvals, *ended.withdrawn))
        places, also = await self._map(people)
        await self._records.log(
            EventKind.PERSON_OFFBOARDED,
            by,
            {**facts, "ended": _counts(ended), "places": [_place_facts(p) for p in places[:100]]},
        )
        _log.info("person.offboarded", people=people, door=door, **_counts(ended))
        return Offboarded(people, ended, places, also)

    async def reinstate(
        self, keys: Collection[str], why: str, by: Identity | None, only_by: str | None = None
    ) -> bool:
        """Lets them in again (with `only_by`, only where that door had shut them out); False
        where there was nothing to lift. What they had does not come back.

        Raises: NotRecorded, StoreUnavailable.
        """
        left = await self._store.departures(keys)
        if not [one for one in left if only_by is None or one.by == only_by]:
            return False
        people = sorted(one.person for one in left)
        facts = {"object": ", ".join(people), "people": people, "reason": why}
        await self._records.log(EventKind.PERSON_REINSTATED, by, facts)
        return await self._store.reinstate(keys, only_by)

    async def departures(self, keys: Collection[str]) -> tuple[Departure, ...]:
        """Which of these have left. Raises: StoreUnavailable."""
        return await self._store.departures(keys)

    async def _map(self, people: tuple[str, ...]) -> tuple[tuple[Place, ...], tuple[str, ...]]:
        try:
            places = await self._use_map.places([UseSelector(person=key) for key in people])
            subjects = {key.rpartition(":")[2] for key in people}
            seen = [await self._store.seen((), subject) for subject in sorted(subjects)]
            also = sorted({key for keys in seen for key in keys} - set(people))
        except TaskgateError as error:
            # They are out; where they were can be asked again.
            _log.warning("use_map.failed", why=error.message)
            return (), ()
        return places, tuple(also)


def _key(who: str) -> str:
    word = who.strip()
    if not word or not word.isprintable():
        raise NotFound("that is nobody's name")
    if ":" in word and not word.startswith(f"{ISSUER}:"):
        return word
    try:
        return f"{ISSUER}:{normal_name(word.removeprefix(f'{ISSUER}:'))}"
    except BadConfig:
        raise NotFound(f"{word} is no local user's name", hint="write issuer:subject") from None


def _local(people: Collection[str]) -> list[str]:
    prefix = f"{ISSUER}:"
    return [key.removeprefix(prefix) for key in people if key.startswith(prefix)]


def _counts(ended: Ended) -> dict[str, object]:
    return {
        "grants": len({one.grant_id for one in ended.revocations}),
        "sign_ins": ended.logins,
        "users": list(ended.users),
        "sessions": list(ended.sessions),
        "approvals": list(ended.approvals),
        "withdrawn": list(ended.withdrawn),
        "standing": list(ended.standing),
    }


def _place_facts(place: Place) -> dict[str, object]:
    return {
        "source": place.source,
        "application": place.application,
        "way": place.way,
        "task": place.task,
        "resource": place.resource,
        "host": place.host,
        "claims": dict(place.claims),
        "times": place.times,
        "last_at": place.last_at,
    }
