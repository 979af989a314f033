"""What is hidden, and as what."""

from dataclasses import dataclass
from enum import StrEnum


class TransformKind(StrEnum):
    REDACT = "redact"
    PARTIAL = "partial"
    HASH = "hash"
    NULL = "null"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Transform:
    """How a value is replaced. `constant` is the replacement's text, for CONSTANT only."""

    kind: TransformKind
    constant: str = ""


class Compared(StrEnum):
    """What happens where a masked column steers a result (WHERE, ORDER BY, ...)."""

    DENY = "deny"
    HOLD = "hold"
    PERMIT = "permit"


@dataclass(frozen=True, slots=True)
class ColumnMask:
    """Hides one column. `relation` is `schema.table`; all three are literal lower-level names
    or patterns with `*`; matching is `policy.patterns`'s."""

    relation: str
    column: str
    transform: Transform
    compared: Compared
    rule: str


@dataclass(frozen=True, slots=True)
class KindMask:
    """Hides every value of one kind (`credit_card`, `email`, ...), wherever it shows."""

    kind: str
    transform: Transform
    rule: str


@dataclass(frozen=True, slots=True)
class MaskSet:
    """Every mask of a task, in the order of the file; for a column the first match counts.
    `pass_binary`: answers that are no text, in which nothing can be masked, pass all the same."""

    columns: tuple[ColumnMask, ...] = ()
    kinds: tuple[KindMask, ...] = ()
    pass_binary: bool = False

    def __bool__(self) -> bool:
        return bool(self.columns or self.kinds)
