"""Names to what they mean, through the catalog; and which names had to be asked for."""

from taskgate.sql.catalog import Catalog
from taskgate.sql.entries import (
    Conversion,
    Entry,
    NameKind,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)

_ABSENT = Entry()
_SYSTEM = "pg_catalog"


class Names:
    """Looks names up. What the catalog has not loaded is noted in `needed`, and meanwhile counts
    as not there; all that is asked for is noted in `used`.

    `path_changed`: an earlier statement of the same script changed what unqualified names mean;
    `objects_changed`: it may have changed the objects themselves. Then what the names will mean is
    not known here, and they count as not there. `creating_in` is the schema that a CREATE SCHEMA
    makes, in which the statements within it create what they create.
    """

    __slots__ = ("catalog", "creating_in", "needed", "objects_changed", "path_changed", "used")

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.needed: set[NeededName] = set()
        self.used: set[NeededName] = set()
        self.creating_in = ""
        self.path_changed = False
        self.objects_changed = False

    def blind(self, schema: str | None) -> bool:
        """Whether a name of this form cannot be resolved ahead."""
        if schema == _SYSTEM:
            return False
        return self.objects_changed or (self.path_changed and schema is None)

    def _entry(self, kind: NameKind, schema: str | None, name: str) -> Entry:
        if self.blind(schema):
            return _ABSENT
        wanted = NeededName(kind, schema, name)
        self.used.add(wanted)
        found = self.catalog.get(wanted)
        if found is None:
            self.needed.add(wanted)
            return _ABSENT
        return found

    def relation(self, schema: str | None, name: str) -> Relation | None:
        """The relation of that name; None if there is none, or it cannot be told."""
        return self._entry("relation", schema, name).relation

    def routines(self, schema: str | None, name: str) -> tuple[Routine, ...]:
        """The functions of that name; without a schema those outside pg_catalog."""
        return self._entry("function", schema, name).routines

    def operator(self, schema: str | None, name: str) -> Entry:
        """The user-defined operators of that name."""
        return self._entry("operator", schema, name)

    def type(self, schema: str | None, name: str) -> TypeInfo | None:
        return self._entry("type", schema, name).type

    def conversions(self) -> tuple[Conversion, ...]:
        """The casts between the server's own types that users have put functions behind."""
        return self._entry("cast", _SYSTEM, "*").conversions

    def cascading(self, schema: str | None, name: str) -> Entry:
        """The tables to which foreign keys pass a change of a relation on."""
        return self._entry("cascading", schema, name)

    def referencing(self, schema: str | None, name: str) -> tuple[tuple[str, str], ...]:
        """The tables whose foreign keys point at a relation, and their partitions."""
        return self._entry("referencing", schema, name).tables
