"""The lists that ship as data: safe functions and settings, metadata relations.

Each file says at its head what it holds and what its lines mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from taskgate.sql.values import Value

# Whether success or failure of a call tells nothing of its arguments: of none of them, or of all.
NO_ARGUMENT = 0
EVERY_ARGUMENT = 1_000


@dataclass(frozen=True, slots=True)
class SafeFunction:
    """A function of pg_catalog that needs no rule.

    `columns` are those of its rows where it has several, empty for one that is named after its
    alias. `record`: they depend on the call. `total`: so many arguments, from number `first` (0 is
    the first) on, cannot make it fail. The words are those of the file.
    """

    name: str
    returns_set: bool
    record: bool
    columns: tuple[str, ...]
    total: int
    first: int
    words: frozenset[str]

    def untroubled(self, values: Sequence[Value]) -> range:
        """The places of those arguments that cannot make it fail, whatever they are."""
        at = range(self.first, min(len(values), self.first + self.total))
        if any(v.fails for v in values) or ("alone" in self.words and len(values) > 1):
            return range(0)
        if "stored" in self.words and not all(v.plain and not v.bounded for v in values):
            return range(0)
        if "flat" in self.words and any(v.nested for v in values):
            return range(0)
        if "grows" in self.words and not all(v.solid or v.record for v in values):
            return range(0)
        if "compares" in self.words and any(v.loose for v in values):
            return range(0)
        if len(at) < len(values) and not all(values[one].solid for one in at):
            # What fails for every value is not even called for NULL.
            return range(0)
        return at


@dataclass(frozen=True, slots=True)
class SafeSetting:
    """A setting that needs no rule. `values`: the only ones that may be given, empty for any."""

    name: str
    may_set: bool
    values: tuple[str, ...]


def _lines(name: str) -> list[str]:
    text = files("taskgate.sql").joinpath("data", name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def safe_functions() -> dict[str, SafeFunction]:
    """By name, without pg_catalog."""
    found: dict[str, SafeFunction] = {}
    for line in _lines("safe_functions.txt"):
        name, *words = line.split()
        columns: tuple[str, ...] = ()
        total, first = NO_ARGUMENT, 0
        for word in words:
            key, _, value = word.partition("=")
            if key == "columns":
                columns = tuple(value.split(","))
            elif key == "total":
                total = int(value) if value else EVERY_ARGUMENT
            elif key == "second":
                total, first = 1, 1
        found[name] = SafeFunction(
            name, "set" in words, "record" in words, columns, total, first, frozenset(words)
        )
    return found


@cache
def safe_settings() -> dict[str, SafeSetting]:
    """By name, lower case."""
    found: dict[str, SafeSetting] = {}
    for line in _lines("safe_settings.txt"):
        head, _, values = line.partition("=")
        name, *words = head.split()
        found[name] = SafeSetting(name, "show" not in words, tuple(values.split()))
    return found


@cache
def metadata_relations() -> dict[tuple[str, str], frozenset[str] | None]:
    """By (schema, name): the columns that count as metadata, None for all."""
    found: dict[tuple[str, str], frozenset[str] | None] = {}
    for line in _lines("metadata_relations.txt"):
        qualified, *columns = line.split()
        schema, name = qualified.split(".")
        found[schema, name] = frozenset(columns) if columns else None
    return found


# Relations whose rows hold values of other relations' columns, or what others run: their values'
# origin cannot be told.
REVEALING = frozenset(
    ("pg_catalog", name)
    for name in (
        "pg_statistic",
        "pg_statistic_ext_data",
        "pg_stats",
        "pg_stats_ext",
        "pg_stats_ext_exprs",
        "pg_largeobject",
        "pg_stat_activity",
    )
)
REVEALING_SCHEMAS = frozenset({"pg_toast"})

# Operators of pg_catalog that no operand makes fail: of both, or of the left one only. With the
# exceptions that `operators` makes for what they are given.
COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">=", "@>", "<@", "&&"})
LIKES = frozenset({"~~", "!~~", "~~*", "!~~*"})
NULL_UNLESS_FOUND = frozenset({"->", "->>"})
TOTAL_OPERATORS = {
    **dict.fromkeys((*COMPARISONS, *NULL_UNLESS_FOUND, "||", "?"), 2),
    **dict.fromkeys((*LIKES, "~", "!~", "~*", "!~*", "^@"), 1),
}
# Casts to these take any text as it is.
TOTAL_CASTS = frozenset({"text", "varchar", "bpchar", "name"})
