"""What names mean to one role under one search path in one database.

The analysis asks a `Catalog` for names; those it lacks are looked up at the resource with
`catalog_query`'s statement, whose answer `parse_catalog_answer` reads.
"""

import hashlib
import json
from collections.abc import Iterable

from taskgate.model.limits import MAX_CACHED_NAMES, RESOLUTION_TTL_S
from taskgate.sql.catalog_query import catalog_query, parse_catalog_answer
from taskgate.sql.entries import (
    CatalogAnswer,
    Column,
    Entry,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)

__all__ = [
    "Catalog",
    "CatalogAnswer",
    "Column",
    "Entry",
    "NeededName",
    "Relation",
    "Routine",
    "TypeInfo",
    "catalog_query",
    "parse_catalog_answer",
]


class Catalog:
    """Entries by name, each believed for RESOLUTION_TTL_S after it was looked up.

    For one (resource, database, role, search path); a session with temporary objects needs one of
    its own. `generation` counts the times that a known name came to mean something else.
    """

    __slots__ = (
        "_by_oid",
        "_digests",
        "_entries",
        "_past",
        "creation_schema",
        "database",
        "generation",
        "schemas",
        "server_version",
        "temp_schema",
        "user",
    )

    def __init__(self, schemas: tuple[str, ...] = (), user: str = "") -> None:
        self.schemas = schemas
        self.user = user
        self.creation_schema = ""
        self.temp_schema = ""
        self.database = ""
        self.server_version = 0
        self.generation = 0
        # Oldest first: an entry that is loaded again moves to the end.
        self._entries: dict[NeededName, tuple[Entry, float]] = {}
        # What expired names meant, to see whether they still mean it.
        self._past: dict[NeededName, Entry] = {}
        self._by_oid: dict[int, Relation] = {}
        self._digests: dict[NeededName, bytes] = {}

    def get(self, name: NeededName) -> Entry | None:
        """What the name means; None if it has not been looked up (lately)."""
        found = self._entries.get(name)
        return None if found is None else found[0]

    def add(self, answer: CatalogAnswer, now: float) -> None:
        """Takes in an answer that was given at `now` (seconds, any clock used throughout)."""
        self.schemas = answer.schemas
        self.user = answer.user
        self.creation_schema = answer.creation_schema
        self.temp_schema = answer.temp_schema
        self.database = answer.database
        self.server_version = answer.server_version
        if len(self._entries) + len(self._past) + len(answer.entries) > MAX_CACHED_NAMES:
            self._entries.clear()
            self._past.clear()
            self._by_oid.clear()
            self._digests.clear()
            self.generation += 1
        for name, entry in answer.entries:
            before = self._entries.pop(name, (None, 0.0))[0] or self._past.pop(name, None)
            if before is not None and before != entry:
                self.generation += 1
                if before.relation is not None:
                    self._by_oid.pop(before.relation.oid, None)
            if before != entry:
                self._digests.pop(name, None)
            self._entries[name] = (entry, now)
            if entry.relation is not None:
                self._by_oid[entry.relation.oid] = entry.relation

    def expire(self, now: float) -> None:
        """Forgets what was looked up RESOLUTION_TTL_S ago or more, or after `now`."""
        gone = []
        for name, (entry, at) in self._entries.items():
            if 0 <= now - at < RESOLUTION_TTL_S:
                break
            gone.append((name, entry))
        for name, entry in gone:
            del self._entries[name]
            self._past[name] = entry
            self._digests.pop(name, None)

    def forget(self) -> None:
        """Forgets everything that was looked up, whatever its age."""
        self.expire(float("inf"))

    def fresh_until(self, now: float) -> float:
        """When the first of the entries expires."""
        for _, at in self._entries.values():
            return at + RESOLUTION_TTL_S
        return now + RESOLUTION_TTL_S

    def relation_by_oid(self, oid: int) -> Relation | None:
        """The relation a row description's table OID stands for, if any look-up has met it."""
        return self._by_oid.get(oid)

    def column_type(self, relation: str, column: str) -> int:
        """The type OID of a stored column (`relation` spelled); 0 if no look-up has met it."""
        for known in self._by_oid.values():
            if known.spelled == relation:
                return next((c.type_oid for c in known.columns if c.name == column), 0)
        return 0

    def digest_of(self, names: Iterable[NeededName]) -> str:
        """SHA-256 (hex) over the search path and what these names mean: OIDs, columns, view
        definitions, versions of functions."""
        digest = hashlib.sha256(json.dumps([self.user, self.schemas]).encode())
        for name in sorted(names, key=_sort_key):
            digest.update(self._digest(name))
        return digest.hexdigest()

    def identity_of(self, names: Iterable[NeededName]) -> str:
        """SHA-256 (hex) over which objects these names stand for, however those are defined."""
        digest = hashlib.sha256(self.user.encode())
        for name in sorted(names, key=_sort_key):
            entry = self.get(name) or Entry()
            digest.update(
                repr(
                    (
                        name,
                        entry.relation.oid if entry.relation is not None else 0,
                        [routine.oid for routine in entry.routines],
                        entry.type.oid if entry.type is not None else 0,
                    )
                ).encode()
            )
        return digest.hexdigest()

    def _digest(self, name: NeededName) -> bytes:
        known = self._digests.get(name)
        if known is None:
            text = repr((name, self.get(name)))
            known = self._digests[name] = hashlib.sha256(text.encode()).digest()
        return known


def _sort_key(name: NeededName) -> tuple[str, str, str]:
    return (name.kind, name.schema or "", name.name)
