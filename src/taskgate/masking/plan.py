"""Which fields of an answer are hidden, and as what. Made once a statement; rows follow it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from taskgate.model.masks import ColumnMask, KindMask, MaskSet, Transform, TransformKind
from taskgate.model.names import NamePattern, parse_pattern, split

# The rule that a hidden field of unknown origin is counted under, where several could have hit it.
UNKNOWN_ORIGIN = "unknown-origin"
_REDACT = Transform(TransformKind.REDACT)
_NULL = Transform(TransformKind.NULL)


@dataclass(frozen=True, slots=True)
class FieldOrigin:
    """Where a field's values come from.

    `sources` are all columns that may show in it, as (`schema.table`, column); the column `*`
    stands for any of the relation. Empty if it shows none (a constant); None if it cannot be
    told. `plain` means: one column, unchanged; `sources` then holds this column, under every
    name that it has.
    """

    sources: frozenset[tuple[str, str]] | None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class FieldMask:
    """A field that is replaced as a whole, and the rule that it is counted under.

    `plain` is False for an expression: its type's meaning is unknown, so nothing of it is kept.
    """

    transform: Transform
    rule: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """One entry a field, None for one that no column mask touches; those are searched for
    values of `kinds`. Falsy if nothing at all is to be done."""

    fields: tuple[FieldMask | None, ...]
    kinds: tuple[KindMask, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.kinds) or any(self.fields)

    def transforms(self) -> tuple[Transform, ...]:
        """Every transform in use."""
        return tuple(f.transform for f in self.fields if f) + tuple(k.transform for k in self.kinds)


@dataclass(slots=True)
class MaskCounts:
    """How many values were hidden: by rule (column masks and kind masks alike), and by kind."""

    rules: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: "MaskCounts") -> None:
        self.rules.update(other.rules)
        self.kinds.update(other.kinds)

    def __bool__(self) -> bool:
        return bool(self.rules or self.kinds)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> NamePattern | None:
    """None for a pattern that cannot be read: it then matches everything."""
    try:
        return parse_pattern(text)
    except ValueError:
        return None


@lru_cache(maxsize=16384)
def _name(text: str) -> tuple[str | None, ...]:
    """The parts of a name. One that cannot be read may be any name."""
    try:
        return split(text) or (None,)
    except ValueError:
        return (None,)


def _may_be(pattern: NamePattern | None, name: tuple[str | None, ...]) -> bool:
    if pattern is None or pattern.may_match(name):
        return True
    return name == (None,)


def mask_covers(mask: ColumnMask, relations: Iterable[str], column: str) -> bool:
    """Whether `mask` hides `column` (its bare name, or `*` for any) of a relation that goes by
    any of `relations` (`schema.table`, spelled as `model.names` spells).

    What cannot be resolved counts as covered.
    """
    return _column_covered(mask.column, column) and relation_covered(mask, relations)


@lru_cache(maxsize=16384)
def _column_covered(pattern: str, column: str) -> bool:
    if column in ("*", pattern):
        return True
    parsed = _pattern(pattern)
    # A column comes bare as a rule; one that comes quoted means the same.
    return _may_be(parsed, (column,)) or _may_be(parsed, _name(column))


@lru_cache(maxsize=16384)
def _name_covered(pattern: str, relation: str) -> bool:
    return _may_be(_pattern(pattern), _name(relation))


def relation_covered(mask: ColumnMask, relations: Iterable[str]) -> bool:
    """Whether `mask` hides any column of a relation that goes by any of `relations`."""
    return any(_name_covered(mask.relation, relation) for relation in relations)


def relation_is_masked(relation: str, masks: MaskSet) -> bool:
    """Whether any column of `relation` (spelled as `model.names` spells) is masked."""
    return any(relation_covered(mask, (relation,)) for mask in masks.columns)


def plan_fields(
    fields: Sequence[FieldOrigin],
    masks: MaskSet,
    *,
    also_known: Mapping[str, Sequence[str]] | None = None,
    reaches_masked: bool = False,
) -> MaskPlan:
    """The plan for an answer of `fields`.

    `also_known` gives the other names that a relation in `sources` goes by: its ancestors and
    descendants by inheritance and partitioning. `reaches_masked` says whether the statement
    reaches any masked relation, or a function that might: then a field of unknown origin is
    hidden. A plain column gets its mask's transform; an expression over one, `redact`, because
    nothing of it may be kept (NULL if the mask says NULL).
    """
    if not masks.columns:
        return MaskPlan((None,) * len(fields), masks.kinds)
    planner = _Planner(masks.columns, also_known or {}, reaches_masked)
    return MaskPlan(tuple([planner.field(origin) for origin in fields]), masks.kinds)


class _Planner:
    """One call of `plan_fields`. Most fields of a statement come from few relations, and most
    relations have few masks: each relation is matched once."""

    __slots__ = ("_by_relation", "_known", "_masks", "_reached")

    def __init__(
        self, masks: tuple[ColumnMask, ...], known: Mapping[str, Sequence[str]], reached: bool
    ) -> None:
        self._masks = masks
        self._known = known
        self._reached = reached
        self._by_relation: dict[str, tuple[int, ...]] = {}

    def field(self, origin: FieldOrigin) -> FieldMask | None:
        masks = self._masks
        if origin.sources is None:
            return _unknown(masks) if self._reached else None
        hits = []
        for relation, column in origin.sources:
            # For one column the first match counts, and so does it for all of its names together.
            for at in self._covering(relation):
                if _column_covered(masks[at].column, column):
                    hits.append(at)
                    break
        if not hits:
            return None
        first = masks[min(hits)]
        if origin.plain and all(column != "*" for _, column in origin.sources):
            return FieldMask(first.transform, first.rule)
        return FieldMask(_strict(masks[at] for at in hits), first.rule, plain=False)

    def _covering(self, relation: str) -> tuple[int, ...]:
        """Which masks hide a column of `relation`, by their place in the order of the file."""
        found = self._by_relation.get(relation)
        if found is None:
            names = (relation, *self._known.get(relation, ()))
            found = tuple([i for i, m in enumerate(self._masks) if relation_covered(m, names)])
            self._by_relation[relation] = found
        return found


def _unknown(masks: tuple[ColumnMask, ...]) -> FieldMask:
    rules = {mask.rule for mask in masks}
    rule = rules.pop() if len(rules) == 1 else UNKNOWN_ORIGIN
    return FieldMask(_strict(masks), rule, plain=False)


def _strict(masks: Iterable[ColumnMask]) -> Transform:
    return _NULL if any(m.transform.kind is TransformKind.NULL for m in masks) else _REDACT
