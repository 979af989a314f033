"""What the policy says of a request."""

from dataclasses import dataclass, field
from enum import StrEnum

from taskgate.model.masks import MaskSet


class Outcome(StrEnum):
    PERMIT = "permit"
    HOLD = "hold"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """Caps of a task. None means the gateway's own cap counts (`model.limits`).

    `rows` and `max_bytes` bound one statement's answer; `idle_s` a silent session; `statement_s`
    one statement's run.
    """

    rows: int | None = None
    max_bytes: int | None = None
    idle_s: float | None = None
    statement_s: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalDemand:
    """Who must agree before a held request runs: `people` distinct members of any of `groups`
    (or named in `subjects`), within `within_s` seconds."""

    groups: frozenset[str]
    subjects: frozenset[str]
    people: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and why.

    `rule` is the rule's address (`sales-report/permit[0]`), `source` its `file:line`.
    `demands` is filled for HOLD only: each one must be met.
    `masks` and `limits` are the obligations of a permit, and of a hold once approved.
    `trusted` are the functions called whose results need no masking, as `Action.object` spells.
    `keep_files`: what passes through a file that is opened is recorded.
    """

    outcome: Outcome
    rule: str
    source: str
    reason: str
    policy_version: str
    demands: tuple[ApprovalDemand, ...] = ()
    masks: MaskSet = field(default_factory=MaskSet)
    limits: TaskLimits = field(default_factory=TaskLimits)
    hint: str = ""
    trusted: frozenset[str] = frozenset()
    keep_files: bool = False
