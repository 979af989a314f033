"""The form of tasks and roles: Pydantic models. The editors' JSON Schema and the reference in
`docs/policy.md` are made from them too, so every field says what it is for."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from taskgate.model import limits
from taskgate.model.masks import Transform, TransformKind
from taskgate.policy.fields import (
    Duration,
    Groups,
    HourLines,
    Name,
    Size,
    Strict,
    Subjects,
    Words,
    no_repeats,
    one_or_more,
)
from taskgate.policy.rules import SCOPED
from taskgate.policy.ssh_models import CertificateModel
from taskgate.policy.units import spell_duration


class ForMembers(Strict):
    """Who: members of any of the groups, or one of the people; of one of the kinds."""

    groups: Groups | None = Field(
        default=None,
        description="Groups as the gate has them: a provider's behind its name, `corp/dba`, unless"
        " the gateway's configuration maps them otherwise.",
    )
    people: Subjects | None = Field(
        default=None, description="Single callers: a local user's name, or `issuer:subject`."
    )
    kinds: Annotated[
        list[Literal["human", "workload", "agent"]] | None,
        BeforeValidator(one_or_more),
        AfterValidator(lambda kinds: None if kinds is None else no_repeats(kinds)),
        WithJsonSchema(
            {"type": "array", "items": {"enum": ["human", "workload", "agent"]}, "minItems": 1}
        ),
    ] = Field(
        default=None,
        description="Kinds of caller; all if left out. An agent may enter through the membership"
        " of the person it acts for only where `agent` is listed.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> "ForMembers":
        if not self.groups and not self.people:
            raise ValueError("nobody is named; give groups or people")
        return self


class Approvers(Strict):
    """Who must agree before a held request runs."""

    groups: Groups | None = Field(default=None, description="Groups whose members may agree.")
    subjects: Subjects | None = Field(
        default=None,
        description="Single people who may agree: a local user's name, or `issuer:subject`.",
    )
    people: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="How many different people must agree. The requester never counts."
    )
    within: Duration = Field(
        default=900.0,
        description="How long the request waits before it is refused.",
        examples=["15m"],
    )

    @model_validator(mode="before")
    @classmethod
    def _people_is_a_count(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("people"), list | str):
            raise ValueError("people is how many must agree; name single people under subjects")
        return value

    @model_validator(mode="after")
    def _possible(self) -> "Approvers":
        if not self.groups and not self.subjects:
            raise ValueError("nobody may approve; give groups or subjects")
        if not self.groups and self.people > len(self.subjects or ()):
            raise ValueError(
                f"people: {self.people} can never be met by {len(self.subjects or ())} named"
            )
        if self.within > limits.MAX_HOLD_S:
            raise ValueError(f"within is at most {spell_duration(limits.MAX_HOLD_S)}")
        return self


class SignInModel(Strict):
    """How whoever takes the task up must have signed in: all that is named. It counts when the task
    is taken up, when something is derived from a grant, and when a session opens; for an agent,
    of the person it acts for."""

    mfa: bool = Field(
        default=False,
        description="By more than one factor: the provider told so, or named methods of two kinds.",
    )
    within: Duration | None = Field(
        default=None,
        description="So long ago at most. Renewing a sign-in does not make it newer.",
        examples=["15m"],
    )
    acr: Words | None = Field(
        default=None,
        description="One of these authentication classes, exactly as the provider tells them; the"
        " best liked first.",
    )

    @model_validator(mode="after")
    def _something(self) -> "SignInModel":
        if not self.mfa and self.within is None and self.acr is None:
            raise ValueError("nothing is asked for; say mfa, within or acr, or leave sign_in out")
        if self.within is not None and self.within < limits.CLOCK_SKEW_S:
            raise ValueError("within is 1m at least: clocks differ by that much")
        for value in self.acr or ():
            if any(not "!" <= char <= "~" or char in '"\\' for char in value):
                raise ValueError(f"{value!r} is no authentication class: no spaces, no quotes")
        return self


def _lasts(value: object) -> object:
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return {"default": value, "at_most": value} if plain else value


class LastsModel(Strict):
    """How long a grant of the task lives."""

    default: Duration | None = Field(
        default=None, description="Unasked; 1h, or `at_most` if that is less.", examples=["1h"]
    )
    at_most: Duration | None = Field(
        default=None,
        description="The most one may ask for; `default` if left out.",
        examples=["4h"],
    )

    @model_validator(mode="after")
    def _ordered(self) -> "LastsModel":
        if self.default is not None and self.at_most is not None and self.default > self.at_most:
            raise ValueError("default is longer than at_most")
        return self


def _transform(value: object) -> Transform:
    # A bare `null` in YAML is no text, and what is meant all the same.
    if value is None:
        return Transform(TransformKind.NULL)
    if isinstance(value, dict) and set(value) == {"constant"}:
        constant = value["constant"]
        if isinstance(constant, str | int | float) and not isinstance(constant, bool):
            return Transform(TransformKind.CONSTANT, str(constant))
    if isinstance(value, str) and value in ("redact", "partial", "hash", "null"):
        return Transform(TransformKind(value))
    raise ValueError("write redact, partial, hash, null or {constant: TEXT}")


class MaskModel(Strict):
    """One mask: of columns by name, or of values by kind."""

    columns: Words | None = Field(
        default=None, description='`schema.table.column`, each part may hold `*`; `"*.*.email"`.'
    )
    kinds: Words | None = Field(
        default=None, description="Kinds of value that detectors find wherever they show."
    )
    as_: Annotated[
        Transform,
        BeforeValidator(_transform),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["redact", "partial", "hash", "null", None]},
                    {
                        "type": "object",
                        "properties": {"constant": {"type": ["string", "number"]}},
                        "required": ["constant"],
                        "additionalProperties": False,
                    },
                ]
            }
        ),
    ] = Field(
        alias="as",
        description="`redact`, `partial`, `hash` (keyed: equal values stay equal), `null`, or"
        " `{constant: TEXT}`.",
    )
    compared: Literal["deny", "hold", "permit"] | None = Field(
        default=None,
        description="What happens where a masked column steers a result (WHERE, JOIN, ORDER BY"
        " ...), or is read in a request that also writes elsewhere: `deny` (default), `hold` or"
        " `permit`.",
    )
    for_: Approvers | None = Field(
        default=None, alias="for", description="Who approves with `compared: hold`."
    )

    @model_validator(mode="after")
    def _one_sort(self) -> "MaskModel":
        if (self.columns is None) == (self.kinds is None):
            raise ValueError("say either columns or kinds")
        if self.kinds is not None and self.compared is not None:
            raise ValueError("compared is for columns; a kind is known only once its value shows")
        if self.for_ is not None and self.compared != "hold":
            raise ValueError("for has an effect with compared: hold only")
        return self


class LimitsModel(Strict):
    """Caps of the task; the gateway's own where left out."""

    rows: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Rows of one statement's answer."
    )
    bytes: Size | None = Field(default=None, description="Size of one statement's answer.")
    idle: Duration | None = Field(default=None, description="How long a session may be silent.")
    statement: Duration | None = Field(default=None, description="How long one statement may run.")


class RecordModel(Strict):
    """What is recorded beyond requests and outcomes."""

    rows: bool = Field(
        default=False, description="The answer's rows too, as the client saw them (masked)."
    )
    output: bool = Field(
        default=False,
        description="What commands answer without a terminal too (SSH), as the client saw it"
        " (masked). What terminals and shells show is recorded anyway.",
    )
    files: bool = Field(
        default=False,
        description="What SFTP and scp read and write too (SSH), whole, so that `taskgate files`"
        " can put the files together again. How much went, and its SHA-256, is recorded anyway.",
    )


class StandingModel(Strict):
    """Approvals in advance: of requests of the same shape."""

    uses: Annotated[int, Field(ge=1, le=limits.MAX_STANDING_USES)] = Field(
        default=20, description="How many requests one approval may cover."
    )
    lasts: Duration = Field(default=1800.0, description="For how long.", examples=["30m"])

    @model_validator(mode="after")
    def _capped(self) -> "StandingModel":
        if self.lasts > limits.MAX_STANDING_S:
            raise ValueError(f"lasts is at most {spell_duration(limits.MAX_STANDING_S)}")
        return self


class ApprovalsModel(Strict):
    """How far an approver may go."""

    standing: StandingModel | Literal[False] = Field(
        default=StandingModel(),
        description="The most an approver may agree to in advance; `false`: every request anew.",
    )


class ReviewModel(Strict):
    """Who looks at a use of break-glass afterwards."""

    for_: ForMembers = Field(
        alias="for", description="Any one of these closes it, and never whoever broke the glass."
    )
    within: Duration = Field(
        default=86400.0, description="After this it is overdue, and says so.", examples=["24h"]
    )


class BreakGlassModel(Strict):
    """Taking the task up outside `for` and `hours`: with a reason, loudly, and reviewed. Its rules
    count as ever."""

    for_: ForMembers = Field(alias="for", description="Who may; people only.")
    lasts: Duration = Field(
        default=1800.0, description="How long such a grant lives, at most.", examples=["30m"]
    )
    second_person: Approvers | None = Field(
        default=None,
        description="Who must agree before it is given; nobody, if left out.",
    )
    review: ReviewModel = Field(description="Who closes it afterwards, with a note.")

    @model_validator(mode="after")
    def _bounded(self) -> "BreakGlassModel":
        if self.lasts > limits.MAX_BREAK_GLASS_S:
            raise ValueError(f"lasts is at most {spell_duration(limits.MAX_BREAK_GLASS_S)}")
        if self.for_.kinds and "human" not in self.for_.kinds:
            raise ValueError("only people break glass; leave kinds out, or list human")
        one = self.for_.people or []
        review = self.review.for_
        if not self.for_.groups and len(one) == 1 and not review.groups and review.people == one:
            raise ValueError("nobody reviews their own; name somebody else under review")
        return self


class PlainRule(Strict):
    """What every rule has besides its verbs."""

    reason: str = Field(default="", max_length=500, description="Shown with the outcome.")


class PermitRule(PlainRule):
    """Actions that may run."""

    trusted: bool = Field(
        default=False,
        description="With `call` only: the results of these functions need no masking.",
    )


class HoldRule(PlainRule):
    """Actions that wait for people."""

    for_: Approvers | None = Field(
        default=None, alias="for", description="Who must agree; the task's `hold_for` if left out."
    )


class DenyRule(PlainRule):
    """Actions that never run."""


class TaskBase(Strict):
    """A narrow, named, time-boxed permission set."""

    kind: Literal["Task"] = Field(description="`Task`.")
    name: Name = Field(description="What clients give as their user name.")
    description: str = Field(default="", description="What the task is for, in a sentence.")
    resource: Name | None = Field(default=None, description="The resource it is for.")
    resources: Words | None = Field(
        default=None,
        description="Several resources of one protocol; clients write `task+resource`.",
    )
    for_: ForMembers | None = Field(
        default=None,
        alias="for",
        description="Who may take it up. Left out: only workloads, by a `Trust` that lists it.",
    )
    direct: bool = Field(
        default=False,
        description="Whether a token straight from an identity provider, as the password, takes it"
        " up: for the token's remaining time, `lasts.at_most` at most, with no reason but the"
        " client's `application_name`.",
    )
    sign_in: SignInModel | None = Field(
        default=None,
        description="How its holder must have signed in: `{mfa: true, within: 15m}`. Left out: in"
        " any way.",
    )
    lasts: Annotated[LastsModel, BeforeValidator(_lasts)] = Field(
        default=LastsModel(),
        description="How long a grant lives: `{default: 1h, at_most: 4h}`, or `1h`.",
    )
    hours: HourLines | None = Field(
        default=None,
        description='When it is open: `"Mon-Fri 08:00-19:00 Europe/Berlin"`, or a list. Days and'
        " times may be left out, the zone is UTC then. `22:00-06:00` ends on the next day."
        " Always open if left out.",
    )
    otherwise: Literal["deny", "hold"] = Field(
        default="deny", description="What happens to an action that no rule names."
    )
    hold_for: Approvers | None = Field(
        default=None,
        description="Who approves where a hold does not say it: `otherwise: hold` and `hold_agents`"
        " too.",
    )
    hold_agents: bool | Literal["writes"] = Field(
        default=False,
        description="Whether what the task permits is held where an agent does it: `true`, or"
        " `writes` alone. `for: {kinds: [human]}` keeps agents out.",
    )
    break_glass: BreakGlassModel | None = Field(
        default=None,
        description="Who may take it up in an emergency, though not a member or outside the hours.",
    )
    certificate: CertificateModel | None = Field(
        default=None,
        description="At hosts whose credential is `certificate: minted`: what the gate's"
        " certificates say for this task.",
    )
    mask: list[MaskModel] = Field(
        default_factory=list, description="What is hidden. For a column the first match counts."
    )
    binary: Literal["refuse", "pass"] | None = Field(
        default=None,
        description="SSH with masks: what happens to a command's answer that is no text, and to the"
        " reading of files by SFTP and scp, connections and X11, in none of which anything can be"
        " masked. `refuse` if left out.",
    )
    limits: LimitsModel = Field(default=LimitsModel(), description="Caps.")
    record: RecordModel = Field(default=RecordModel(), description="What is recorded.")
    approvals: ApprovalsModel = Field(
        default=ApprovalsModel(), description="How far an approver may go."
    )

    @model_validator(mode="after")
    def _names_a_resource(self) -> "TaskBase":
        if (self.resource is None) == (self.resources is None):
            raise ValueError("say either resource or resources")
        return self


def _task_patterns(words: list[str]) -> list[str]:
    for word in words:
        if not re.fullmatch(r"[a-z0-9._*-]{1,63}", word):
            raise ValueError(f"{word} is no task's name, nor a pattern of names such as sales-*")
    return words


class RoleModel(Strict):
    """Rights over the gate itself. Nobody holds any unless a role says so."""

    kind: Literal["Role"] = Field(description="`Role`.")
    name: Name = Field(description="How records name it.")
    description: str = Field(default="", description="For people.")
    for_: ForMembers = Field(alias="for", description="Who holds it.")
    may: Annotated[
        list[Literal["administer", "author", "approve", "audit", "replay", "revoke", "offboard"]],
        BeforeValidator(one_or_more),
        AfterValidator(no_repeats),
    ] = Field(
        description="`administer` (users, secrets, state), `author` (apply policy), `approve`"
        " (agree to what tasks hold without saying who agrees), `audit` (search and verify"
        " records), `replay` (read recordings), `revoke` (end others' grants),"
        " `offboard` (end everything of somebody who leaves, and see where it was used)."
        " `administer` does not go together with `audit` or `replay`."
    )

    tasks: Annotated[Words, AfterValidator(_task_patterns)] | None = Field(
        default=None,
        description="The tasks that `approve`, `audit`, `replay` and `revoke` reach: names, in"
        " which `*` stands for anything. All of them, and what belongs to no task, if left out.",
    )

    @model_validator(mode="after")
    def _only_some_reach_tasks(self) -> "RoleModel":
        whole = sorted(set(self.may) - {right.value for right in SCOPED})
        if self.tasks and whole:
            raise ValueError(
                f"tasks does not narrow {' and '.join(whole)}; give that by a role of its own"
            )
        return self

    @model_validator(mode="after")
    def _people_approve(self) -> "RoleModel":
        if "approve" in self.may and self.for_.kinds and "human" not in self.for_.kinds:
            raise ValueError("only people approve; leave kinds out, or list human")
        return self

    @model_validator(mode="after")
    def _administrators_are_no_auditors(self) -> "RoleModel":
        if "administer" in self.may and {"audit", "replay"} & set(self.may):
            raise ValueError(
                "one role holds administer and audit or replay; an administrator is no auditor"
            )
        return self
