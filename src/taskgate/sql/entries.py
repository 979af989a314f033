"""What names mean in a database: the facts that a look-up answers with."""

from dataclasses import dataclass
from typing import Literal

from taskgate.model.names import spell

NameKind = Literal["relation", "function", "operator", "type", "referencing", "cascading", "cast"]

# FirstNormalObjectId (PostgreSQL source, src/include/access/transam.h).
_FIRST_USERS_OID = 16_384


@dataclass(frozen=True, slots=True)
class NeededName:
    """A name as written. `schema` None means that the search path decides.

    The kind `referencing` asks for the tables whose foreign keys point at a relation, transitively;
    `cascading` for those of them to which a change is passed on. `cast` has but one name, `*`: the
    casts between the server's own types that users have put functions behind.
    """

    kind: NameKind
    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """`type_name` is as `format_type` spells it; `inherited` says that a parent table has it too.
    `number` is the attribute number that row descriptions carry."""

    number: int
    name: str
    type_oid: int
    type_name: str
    inherited: bool = False

    @property
    def of_users_type(self) -> bool:
        """Whether its type is none of the server's own, and so may be anything."""
        return self.type_oid >= _FIRST_USERS_OID

    @property
    def nested(self) -> bool:
        """Whether its values may be arrays or documents."""
        return (
            self.of_users_type
            or self.type_name.endswith("[]")
            or self.type_name in ("json", "jsonb", "xml")
        )

    @property
    def bounded(self) -> bool:
        """Whether a sum of its values may be more than the sum's type holds."""
        return self.of_users_type or self.type_name.startswith(("interval", "money"))


@dataclass(frozen=True, slots=True)
class Routine:
    """A function, procedure or aggregate; of an operator, cast or type, the one behind it.

    `kind` is pg_proc.prokind; `version` changes whenever the definition does.
    """

    schema: str
    name: str
    oid: int
    language: str
    extension_owned: bool
    returns_set: bool = False
    volatile: bool = True
    kind: str = "f"
    version: str = ""

    @property
    def spelled(self) -> str:
        return spell(own_temporary(self.schema), self.name)

    @property
    def native(self) -> bool:
        """Compiled code that came with the server or an extension: no SQL of a user's runs."""
        return self.schema == "pg_catalog" or (
            self.language in ("internal", "c") and self.extension_owned
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view, sequence and so on. `kind` is pg_class.relkind.

    `definition` is the query of a view or materialized view. `ancestors` and `descendants` are
    inheritance parents and children or partitions, all levels, as (schema, name).
    `has_triggers`: a write may run code of users. It counts triggers, functions in constraints,
    defaults and indexes, those of descendants too, and row security; `has_rules` counts rules on
    writes. `runs` changes whenever one of those does, or a trigger's function.
    """

    oid: int
    schema: str
    name: str
    kind: str
    temporary: bool
    columns: tuple[Column, ...]
    definition: str | None = None
    ancestors: tuple[tuple[str, str], ...] = ()
    descendants: tuple[tuple[str, str], ...] = ()
    has_triggers: bool = False
    has_rules: bool = False
    runs: str = ""

    @property
    def spelled(self) -> str:
        """`schema.name`; temporary relations are in `pg_temp`, whatever their session's number."""
        return spell("pg_temp" if self.temporary else self.schema, self.name)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type. `kind` is pg_type.typtype; `casts` are the functions of casts from and to it."""

    oid: int
    schema: str
    name: str
    kind: str
    casts: tuple[Routine, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """A cast between types of the server's own, by their pg_type names. `explicit`: it is only made
    where it is written out. `makers` are functions and operators, by their bare names, that make a
    value of the source type."""

    source_oid: int
    source: str
    target: str
    explicit: bool
    routine: Routine
    makers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name means: nothing at all if every field is empty.

    `routines` are every visible overload of a function, or what is behind the visible operators of
    that name; `operator_schemas` are where those are. `tables` answers `referencing` and
    `cascading`; `runs_code` says that code of users may run in these.
    """

    relation: Relation | None = None
    routines: tuple[Routine, ...] = ()
    operator_schemas: tuple[str, ...] = ()
    type: TypeInfo | None = None
    tables: tuple[tuple[str, str], ...] = ()
    runs_code: bool = False
    conversions: tuple[Conversion, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogAnswer:
    """One look-up's answer, with the session's state at that moment.

    `schemas` is the effective search path, implicit ones included; `creation_schema` is where new
    objects go; `temp_schema` is empty as long as the session has none. `isolation` is the
    transaction's level.
    """

    entries: tuple[tuple[NeededName, Entry], ...]
    schemas: tuple[str, ...]
    creation_schema: str
    temp_schema: str
    database: str
    user: str
    session_user: str
    server_version: int
    server_encoding: str
    standard_conforming_strings: bool
    isolation: str = ""

    @property
    def frozen(self) -> bool:
        """Whether the transaction goes on seeing the catalogs as they were at its start."""
        return self.isolation in ("repeatable read", "serializable")

    @property
    def has_temporary(self) -> bool:
        """Whether this session has temporary objects, which others do not see."""
        return bool(self.temp_schema)


def own_temporary(schema: str) -> str:
    """The session's own temporary schema goes by `pg_temp`, whatever its number."""
    return "pg_temp" if schema.startswith("pg_temp_") else schema
