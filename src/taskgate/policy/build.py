"""Checked models to the frozen types that decisions are made from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from taskgate.model.audit import fits
from taskgate.model.authentication import SignInDemand
from taskgate.model.decision import ApprovalDemand, Outcome, TaskLimits
from taskgate.model.errors import BadConfig
from taskgate.model.identity import IdentityKind
from taskgate.model.masks import ColumnMask, Compared, KindMask, MaskSet
from taskgate.model.names import spell_pattern
from taskgate.model.resource import Credential, HostTrust, Resource, SecretRef, TlsMode
from taskgate.policy.document import Document, Path
from taskgate.policy.hours import parse_hours
from taskgate.policy.models import (
    Approvers,
    BreakGlassModel,
    ForMembers,
    HoldRule,
    LastsModel,
    MaskModel,
    PermitRule,
    PlainRule,
    RoleModel,
    SignInModel,
    StandingModel,
    TaskBase,
)
from taskgate.policy.patterns import parse_column, parse_object
from taskgate.policy.problems import problem
from taskgate.policy.resource_models import ResourceModel, SecretSource, split_address
from taskgate.policy.rule_models import rules_of, words_of
from taskgate.policy.rules import (
    AgentHold,
    BreakGlassRule,
    CertificateTerms,
    Effect,
    Entry,
    Lasts,
    MaskPattern,
    Members,
    Right,
    Role,
    Rule,
    StandingLimit,
    Task,
    index_rules,
)
from taskgate.policy.shapes import PatternError
from taskgate.policy.ssh_models import CertificateModel, SshResourceModel
from taskgate.policy.trust_models import TrustModel
from taskgate.policy.trusts import Trust
from taskgate.policy.vocabulary import ANY_VERB, NameShape, RuleVocabulary, VerbSpec, nearest

_DEFAULT_GRANT_S = 3600.0
# As `Approvers.within` has it.
_ROLE_HOLD_S = 900.0
_NOBODY: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
_ANY_SPEC = VerbSpec(ANY_VERB, "everything", NameShape.FLEXIBLE, columns=False)


def build_resource(model: ResourceModel | SshResourceModel, vocabulary: RuleVocabulary) -> Resource:
    """The resource that a checked document describes."""
    host, port = split_address(model.address, vocabulary.default_port)
    credential = model.credential
    if isinstance(model, SshResourceModel):
        return Resource(
            name=model.name,
            protocol=model.protocol,
            host=host,
            port=port,
            tls=TlsMode.DISABLE,
            credential=Credential(
                username=credential.username,
                password=_secret(credential.password),
                private_key=_secret(credential.private_key),
                passphrase=_secret(model.credential.passphrase),
                minted=model.credential.certificate is not None,
                source_addresses=tuple(model.credential.source_addresses or ()),
            ),
            labels=dict(model.labels),
            host_trust=HostTrust(
                keys=() if model.first_use else tuple(model.host_keys or ()),
                authorities=tuple(model.host_ca or ()),
                known_hosts_file=model.known_hosts_file or "",
                first_use=model.first_use,
            ),
        )
    return Resource(
        name=model.name,
        protocol=model.protocol,
        host=host,
        port=port,
        tls=TlsMode(model.tls),
        credential=Credential(
            username=credential.username,
            password=_secret(credential.password),
            certificate=_secret(model.credential.certificate),
            private_key=_secret(credential.private_key),
        ),
        ca_file=model.ca_file,
        database=model.database,
        databases=tuple(model.databases or ()),
        labels=dict(model.labels),
    )


def _secret(source: SecretSource | None) -> SecretRef | None:
    if source is None:
        return None
    for name in ("env", "file", "store"):
        value = getattr(source, name)
        if value is not None:
            return SecretRef(name, value)
    return None


def build_role(model: RoleModel, document: Document) -> Role:
    """The role that a checked document describes."""
    return Role(
        model.name,
        model.description,
        document.where(),
        _members(model.for_),
        frozenset(Right(right) for right in model.may),
        frozenset(model.tasks or ()),
    )


def demand_of_roles(roles: Iterable[Role], task: str) -> ApprovalDemand | None:
    """Who approves for a task where its own holds do not say it; None for nobody."""
    members = [
        role.members
        for role in roles
        if Right.APPROVE in role.rights
        and (not role.tasks or any(fits(task, one) for one in role.tasks))
    ]
    if not members:
        return None
    return ApprovalDemand(
        groups=frozenset().union(*(one.groups for one in members)),
        subjects=frozenset().union(*(one.subjects for one in members)),
        people=1,
        within_s=_ROLE_HOLD_S,
    )


def build_trust(model: TrustModel, document: Document) -> Trust:
    """The trust rule that a checked document describes."""
    return Trust(
        name=model.name,
        description=model.description,
        source=document.where(),
        issuer=model.signer,
        jwks_uri=model.jwks_uri or "",
        ca_file=model.ca_file,
        audiences=frozenset(model.audience),
        conditions=model.claims,
        tasks=frozenset(model.tasks),
        lasts_s=model.lasts,
    )


def _members(model: ForMembers) -> Members:
    return Members(
        frozenset(model.groups or ()),
        frozenset(model.people or ()),
        frozenset(IdentityKind(kind) for kind in model.kinds or ()),
    )


def _demand(model: Approvers | None) -> ApprovalDemand | None:
    if model is None:
        return None
    return ApprovalDemand(
        frozenset(model.groups or ()),
        frozenset(model.subjects or ()),
        model.people,
        model.within,
    )


def _break_glass(model: BreakGlassModel | None) -> BreakGlassRule | None:
    if model is None:
        return None
    reviewers = model.review.for_
    return BreakGlassRule(
        members=_members(model.for_),
        lasts_s=model.lasts,
        second=_demand(model.second_person),
        review=ApprovalDemand(
            frozenset(reviewers.groups or ()),
            frozenset(reviewers.people or ()),
            1,
            model.review.within,
        ),
    )


def _lasts(model: LastsModel) -> Lasts:
    default, at_most = model.default, model.at_most
    if at_most is None:
        at_most = default if default is not None else _DEFAULT_GRANT_S
    return Lasts(min(_DEFAULT_GRANT_S, at_most) if default is None else default, at_most)


def _sign_in(model: SignInModel | None) -> SignInDemand | None:
    if model is None:
        return None
    return SignInDemand(model.mfa, model.within, tuple(model.acr or ()))


def _certificate(model: CertificateModel | None) -> CertificateTerms:
    if model is None:
        return CertificateTerms()
    return CertificateTerms(tuple(model.principals or ()), model.force_command, model.lasts)


def _agent_hold(value: bool | str) -> AgentHold:
    if value == "writes":
        return AgentHold.WRITES
    return AgentHold.EVERYTHING if value else AgentHold.NOTHING


@dataclass(slots=True)
class TaskBuilder:
    """Builds one task; what cannot be meant is collected in `errors`."""

    model: TaskBase
    document: Document
    vocabulary: RuleVocabulary
    known_kinds: frozenset[str]
    # Who approves where the task itself does not say it.
    role_demand: ApprovalDemand | None = None
    errors: list[BadConfig] = field(default_factory=list)

    def build(self) -> Task:
        """The task. It is only good for use if `errors` stayed empty."""
        model = self.model
        hold_for = _demand(model.hold_for) or self.role_demand
        rules = tuple(self._rules(hold_for))
        patterns = tuple(self._column_masks(model.mask, hold_for))
        kinds = tuple(self._kind_masks(model.mask))
        if model.otherwise == "hold" and hold_for is None:
            self._wrong(("otherwise",), "otherwise: hold, but nobody approves", "add hold_for")
        if model.hold_agents and hold_for is None:
            self._wrong(("hold_agents",), "hold_agents, but nobody approves", "add hold_for")
        if model.hold_for is not None and not self._hold_for_counts():
            self._wrong(
                ("hold_for",),
                "hold_for never takes effect: every hold has its own for",
                "leave it out, or say otherwise: hold",
            )
        if not self.vocabulary.relational:
            for path, given in (
                (("limits", "rows"), model.limits.rows is not None),
                (("record", "rows"), model.record.rows),
            ):
                if given:
                    self._wrong(path, f"{self.vocabulary.protocol} has no rows", "leave it out")
        else:
            protocol = self.vocabulary.protocol
            if model.record.output:
                self._wrong(("record", "output"), f"{protocol} has rows, not output", "rows: true")
            if model.record.files:
                self._wrong(("record", "files"), f"{protocol} has no files", "leave it out")
        if model.binary is not None and (self.vocabulary.relational or not model.mask):
            self._wrong(
                ("binary",),
                "binary is about commands and files that masks cannot look into, and there is none",
                "leave it out",
            )
        standing = model.approvals.standing
        return Task(
            name=model.name,
            description=model.description,
            source=self.document.where(),
            resources=(model.resource,) if model.resource else tuple(model.resources or ()),
            members=_members(model.for_) if model.for_ is not None else Members(*_NOBODY),
            lasts=_lasts(model.lasts),
            hours=parse_hours(model.hours) if model.hours is not None else None,
            rules=rules,
            otherwise=Outcome(model.otherwise),
            hold_for=hold_for,
            masks=MaskSet(
                tuple(pattern.mask for pattern in patterns), kinds, model.binary == "pass"
            ),
            mask_patterns=patterns,
            limits=TaskLimits(
                model.limits.rows, model.limits.bytes, model.limits.idle, model.limits.statement
            ),
            record_rows=model.record.rows,
            record_output=model.record.output,
            standing=StandingLimit(standing.uses, standing.lasts)
            if isinstance(standing, StandingModel)
            else None,
            vocabulary=self.vocabulary,
            permits=index_rules(rules, Effect.PERMIT, self.vocabulary),
            holds=index_rules(rules, Effect.HOLD, self.vocabulary),
            denies=index_rules(rules, Effect.DENY, self.vocabulary),
            direct=model.direct,
            hold_agents=_agent_hold(model.hold_agents),
            break_glass=_break_glass(model.break_glass),
            sign_in=_sign_in(model.sign_in),
            certificate=_certificate(model.certificate),
            keep_files=model.record.files,
        )

    def _wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.errors.append(problem(self.document, path, message, hint))

    def _hold_for_counts(self) -> bool:
        holds = cast("list[HoldRule]", rules_of(self.model, "hold"))
        return (
            self.model.otherwise == "hold"
            or bool(self.model.hold_agents)
            or any(rule.for_ is None for rule in holds)
            or any(mask.compared == "hold" and mask.for_ is None for mask in self.model.mask)
        )

    def _rules(self, hold_for: ApprovalDemand | None) -> Iterable[Rule]:
        for effect in Effect:
            for number, model in enumerate(rules_of(self.model, effect.value)):
                path: Path = (effect.value, number)
                entries = tuple(self._entries(model, effect, path))
                demand = None
                if isinstance(model, HoldRule):
                    demand = _demand(model.for_) or hold_for
                    if demand is None:
                        self._wrong(path, "nobody approves this hold", "add for, or hold_for")
                trusted = isinstance(model, PermitRule) and model.trusted
                if trusted and any(entry.verb != "call" for entry in entries):
                    self._wrong((*path, "trusted"), "trusted goes with call only")
                yield Rule(
                    address=f"{self.model.name}/{effect.value}[{number}]",
                    source=self.document.where(path),
                    effect=effect,
                    entries=entries,
                    reason=model.reason,
                    demand=demand,
                    trusted=trusted,
                )

    def _entries(self, model: PlainRule, effect: Effect, path: Path) -> Iterable[Entry]:
        words = words_of(model)
        if not words:
            self._wrong(path, "a rule without a verb", f"write {self.vocabulary.example}")
        for word, patterns in words.items():
            for verb in self.vocabulary.expand(word):
                spec = self.vocabulary.spec(verb) or _ANY_SPEC
                if spec.ungated and effect is Effect.PERMIT:
                    self._wrong((*path, word), f"{word} needs no permit", "leave it out")
                for number, text in enumerate(patterns):
                    place = (*path, word, number)
                    try:
                        pattern = parse_object(text, spec, self.vocabulary)
                    except PatternError as error:
                        self._wrong(place, str(error), error.hint)
                        continue
                    yield Entry(verb, pattern, word, self.document.where(place))

    def _column_masks(
        self, models: list[MaskModel], hold_for: ApprovalDemand | None
    ) -> Iterable[MaskPattern]:
        for number, model in enumerate(models):
            path: Path = ("mask", number)
            compared = Compared(model.compared or "deny")
            demand = None
            if compared is Compared.HOLD:
                demand = _demand(model.for_) or hold_for
                if demand is None:
                    self._wrong((*path, "compared"), "nobody approves", "add for, or hold_for")
            for index, text in enumerate(model.columns or ()):
                place = (*path, "columns", index)
                try:
                    relation, column = parse_column(text, self.vocabulary)
                except PatternError as error:
                    self._wrong(place, str(error), error.hint)
                    continue
                yield MaskPattern(
                    ColumnMask(
                        str(relation),
                        spell_pattern(column),
                        model.as_,
                        compared,
                        f"{self.model.name}/mask[{number}]",
                    ),
                    relation,
                    column,
                    self.document.where(place),
                    demand,
                )

    def _kind_masks(self, models: list[MaskModel]) -> Iterable[KindMask]:
        seen: set[str] = set()
        for number, model in enumerate(models):
            for index, kind in enumerate(model.kinds or ()):
                place = ("mask", number, "kinds", index)
                if kind not in self.known_kinds:
                    self._wrong(place, f"unknown kind {kind}", nearest(kind, self.known_kinds))
                if kind in seen:
                    self._wrong(place, f"{kind} is masked already above", "keep one of the two")
                seen.add(kind)
                yield KindMask(kind, model.as_, f"{self.model.name}/mask[{number}]")
