"""Tasks, rules and roles as the decision point reads them: compiled, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from taskgate.model.authentication import SignInDemand
from taskgate.model.decision import ApprovalDemand, Outcome, TaskLimits
from taskgate.model.identity import IdentityKind
from taskgate.model.masks import ColumnMask, MaskSet
from taskgate.model.names import NamePattern, PartPattern
from taskgate.model.resource import Resource
from taskgate.policy.hours import Hours
from taskgate.policy.patterns import ObjectPattern
from taskgate.policy.trusts import Trust
from taskgate.policy.vocabulary import ANY_VERB, RuleVocabulary


class Effect(StrEnum):
    PERMIT = "permit"
    HOLD = "hold"
    DENY = "deny"


class Right(StrEnum):
    """What a role may hold. `APPROVE` counts where a task's hold does not say who agrees."""

    ADMINISTER = "administer"
    AUTHOR = "author"
    APPROVE = "approve"
    AUDIT = "audit"
    REPLAY = "replay"
    REVOKE = "revoke"
    OFFBOARD = "offboard"


# Those that a role may be given over some tasks only.
SCOPED = frozenset({Right.APPROVE, Right.AUDIT, Right.REPLAY, Right.REVOKE})


class AgentHold(StrEnum):
    """What a task holds where an agent does it, though it permits it to people."""

    NOTHING = "nothing"
    WRITES = "writes"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Entry:
    """One verb and one pattern of a rule; `word` is the key as written (`write` for `insert`)."""

    verb: str
    pattern: ObjectPattern
    word: str
    source: str

    def __str__(self) -> str:
        return f"{self.word} {self.pattern.text}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One list item under permit, hold or deny.

    `address` is unique in the policy (`sales-report/permit[0]`), `source` is `file:line`.
    `demand` is filled for HOLD only. `trusted` says that the results of the functions named
    need no masking.
    """

    address: str
    source: str
    effect: Effect
    entries: tuple[Entry, ...]
    reason: str = ""
    demand: ApprovalDemand | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Who: any member of `groups`, anyone in `subjects` (`issuer:subject`), or whoever came under
    one of `trusts` (`Trust.identity_issuer`), if of one of `kinds`. Empty `kinds` means every
    kind."""

    groups: frozenset[str]
    subjects: frozenset[str]
    kinds: frozenset[IdentityKind] = frozenset()
    trusts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lasts:
    """How long a grant lives, in seconds: unasked, and at most."""

    default_s: float
    at_most_s: float


@dataclass(frozen=True, slots=True)
class StandingLimit:
    """The most that one approval may agree to in advance: so many uses in so many seconds."""

    uses: int
    lasts_s: float


@dataclass(frozen=True, slots=True)
class BreakGlassRule:
    """Who may take a task up outside its members and hours, for how long, with whose consent
    (None: nobody's), and who reviews it afterwards (`within_s` seconds)."""

    members: Members
    lasts_s: float
    second: ApprovalDemand | None
    review: ApprovalDemand


Candidates = tuple[tuple[Rule, Entry], ...]


@dataclass(frozen=True, slots=True)
class RuleIndex:
    """The entries of one effect by the action's verb, `any` included, in the file's order."""

    by_verb: Mapping[str, Candidates]
    any_verb: Candidates

    def of(self, verb: str) -> Candidates:
        """Entries that might match an action of `verb`, also one that no vocabulary has."""
        return self.by_verb.get(verb, self.any_verb)


@dataclass(frozen=True, slots=True)
class MaskPattern:
    """A column mask compiled, with its place. `demand` is who approves where a comparison with
    the column is held; None otherwise."""

    mask: ColumnMask
    relation: NamePattern
    column: PartPattern
    source: str
    demand: ApprovalDemand | None = None

    def __str__(self) -> str:
        return f"{self.mask.relation}.{self.mask.column}"


@dataclass(frozen=True, slots=True)
class CertificateTerms:
    """What certificates say that the gate signs itself for a task's hosts. Without `principals`,
    the credential's username. `force_command`: one for each command."""

    principals: tuple[str, ...] = ()
    force_command: bool = False
    lasts_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `mask_patterns` are the column masks of `masks`, in the same order. `standing`
    None: no approvals in advance. `direct`: a provider's own token may take it up. `sign_in`: what
    the sign-in of its holder must be like. `keep_files`: contents of files are recorded."""

    name: str
    description: str
    source: str
    resources: tuple[str, ...]
    members: Members
    lasts: Lasts
    hours: Hours | None
    rules: tuple[Rule, ...]
    otherwise: Outcome
    hold_for: ApprovalDemand | None
    masks: MaskSet
    mask_patterns: tuple[MaskPattern, ...]
    limits: TaskLimits
    record_rows: bool
    record_output: bool
    standing: StandingLimit | None
    vocabulary: RuleVocabulary
    permits: RuleIndex = field(repr=False)
    holds: RuleIndex = field(repr=False)
    denies: RuleIndex = field(repr=False)
    direct: bool = False
    hold_agents: AgentHold = AgentHold.NOTHING
    break_glass: BreakGlassRule | None = None
    sign_in: SignInDemand | None = None
    certificate: CertificateTerms = CertificateTerms()
    keep_files: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """Rights over the gate itself, for whom. `tasks` are patterns of the tasks that the rights
    reach; empty for everything."""

    name: str
    description: str
    source: str
    members: Members
    rights: frozenset[Right]
    tasks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """One applied set of files. `version` is the SHA-256 (hex) of their names and contents."""

    version: str
    resources: Mapping[str, Resource]
    tasks: Mapping[str, Task]
    roles: Mapping[str, Role]
    files: Mapping[str, str]
    trusts: Mapping[str, Trust] = field(default_factory=dict)


def index_rules(rules: tuple[Rule, ...], effect: Effect, vocabulary: RuleVocabulary) -> RuleIndex:
    """The index of one effect. A deny or hold also counts for verbs that have its effect."""
    pairs = [(rule, entry) for rule in rules if rule.effect is effect for entry in rule.entries]
    by_verb: dict[str, Candidates] = {}
    for verb in vocabulary.verbs:
        counts = {ANY_VERB, verb}
        if effect is not Effect.PERMIT:
            counts.update(vocabulary.deny_verbs(verb))
        by_verb[verb] = tuple(pair for pair in pairs if pair[1].verb in counts)
    return RuleIndex(by_verb, tuple(pair for pair in pairs if pair[1].verb == ANY_VERB))
