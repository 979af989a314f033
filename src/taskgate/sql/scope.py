"""What names a query can see: columns, tables and aliases, CTEs.

Source: PostgreSQL's `parser/parse_relation.c`; manual sections 7.2 and 7.8.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from taskgate.sql.accesses import Access
from taskgate.sql.nodes import Node
from taskgate.sql.values import UNKNOWN, Value, union

SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


@dataclass(frozen=True, slots=True)
class Field:
    """A column that can be named. Of a relation: `access` and its own name there, `column`.
    Of anything else: `computed`, whose reading has been noted where it was computed."""

    name: str
    computed: Value | None = None
    access: Access | None = None
    column: str = ""

    @property
    def value(self) -> Value:
        if self.computed is not None:
            return self.computed
        return UNKNOWN if self.access is None else self.access.value(self.column)

    def read(self) -> Value:
        """Its lineage, and the note that it is read."""
        if self.access is not None:
            self.access.touch(self.column)
        return self.value

    def renamed(self, name: str) -> "Field":
        return self if name == self.name else replace(self, name=name)


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a query or FROM item, in order. `rest` is what any further columns hold that
    could not be told apart; None where these are all."""

    fields: tuple[Field, ...]
    rest: Value | None = None

    def read_all(self) -> Value:
        """The lineage of a whole row, and the note that all of it is read."""
        values = [f.read() for f in self.fields]
        if self.rest is not None:
            values.append(self.rest)
        return union(values)


@dataclass(frozen=True, slots=True)
class Source:
    """What an alias (or a bare table name) stands for. `schema` is that of a relation named
    without alias, which `schema.table.column` may name. Of a relation's system columns any can be
    named, but no star shows them."""

    alias: str
    rows: Rows
    access: Access | None = None
    schema: str = ""

    def find(self, name: str) -> list[Field]:
        """The columns of that name: more than one only where PostgreSQL finds it ambiguous."""
        found = [f for f in self.rows.fields if f.name == name]
        if not found and self.access is not None and name in SYSTEM_COLUMNS:
            return [Field(name, None, self.access, name)]
        return found

    def read_all(self) -> Value:
        """The lineage of a whole row, and the note that all of it is read."""
        if self.access is not None:
            self.access.touch_all()
        return self.rows.read_all()


@dataclass(frozen=True, slots=True)
class Item:
    """One FROM item: the columns that can be named bare and that `*` shows, and the aliases
    within. `rest` as in Rows."""

    rows: Rows
    sources: tuple[Source, ...]


@dataclass(slots=True)
class Cte:
    """A WITH query. `rows` is None until it has been read; `read` reads it."""

    name: str
    rows: Rows | None = None
    read: Callable[[], Rows] | None = None
    under_way: bool = False


@dataclass(slots=True)
class Scope:
    """What can be named at one level; `parent` is the query around. `where` is the condition that
    each row of this level meets."""

    parent: "Scope | None" = None
    items: list[Item] = field(default_factory=list)
    ctes: dict[str, Cte] = field(default_factory=dict)
    windows: dict[str, Value] = field(default_factory=dict)
    where: Node | None = None

    def levels(self) -> Iterator["Scope"]:
        """This one, then those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def cte(self, name: str) -> Cte | None:
        for scope in self.levels():
            found = scope.ctes.get(name)
            if found is not None:
                return found
        return None

    def sources(self) -> Iterator[Source]:
        for item in self.items:
            yield from item.sources
