"""The policy files' form: Pydantic models, from which the editors' JSON Schema and the reference
in `docs/policy.md` are made too. Every field says what it is for."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from taskgate.model import limits
from taskgate.model.masks import Transform, TransformKind
from taskgate.policy.hours import parse_hours
from taskgate.policy.units import parse_duration, parse_size, spell_duration

_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


def _words(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _no_repeats(words: list[str]) -> list[str]:
    seen: set[str] = set()
    for word in words:
        if not word.strip():
            raise ValueError("an empty text in the list")
        if word in seen:
            raise ValueError(f"{word} is listed twice")
        seen.add(word)
    if not words:
        raise ValueError("the list is empty; leave the key out")
    return words


def _exact_groups(words: list[str]) -> list[str]:
    for word in words:
        if "*" in word:
            raise ValueError(f"{word}: groups are named one by one, there are no patterns")
    return words


def _subjects(words: list[str]) -> list[str]:
    """Bare names are local users; anyone else is `issuer:subject`."""
    return _no_repeats([word if ":" in word else f"local:{word}" for word in _exact_groups(words)])


def _hours(words: list[str]) -> list[str]:
    parse_hours(words)
    return words


_ONE_OR_MORE: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    ]
}
_DURATION: dict[str, Any] = {"type": "string", "examples": ["30s", "15m", "1h30m", "2d"]}
_SIZE: dict[str, Any] = {"type": ["string", "integer"], "examples": ["200MB", "64MiB"]}

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Words = Annotated[
    list[str], BeforeValidator(_words), AfterValidator(_no_repeats), WithJsonSchema(_ONE_OR_MORE)
]
Groups = Annotated[Words, AfterValidator(_exact_groups), WithJsonSchema(_ONE_OR_MORE)]
Subjects = Annotated[Words, AfterValidator(_subjects), WithJsonSchema(_ONE_OR_MORE)]
HourLines = Annotated[Words, AfterValidator(_hours), WithJsonSchema(_ONE_OR_MORE)]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE)]


class Strict(BaseModel):
    """No unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class SecretSource(Strict):
    """Where a secret is found. Exactly one of the three; never the secret itself."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="Name of an environment variable of the gateway."
    )
    file: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="Path of a file that holds the secret and nothing else."
    )
    store: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None,
        description="Name in the gateway's own encrypted store (`taskgate secret set`).",
    )

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, value: object) -> object:
        # The value is not repeated: an error must not carry the secret on.
        if not isinstance(value, dict):
            raise ValueError(
                "a secret does not belong in a policy file;"
                " write {env: NAME}, {file: PATH} or {store: NAME}"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretSource":
        if sum(source is not None for source in (self.env, self.file, self.store)) != 1:
            raise ValueError("say exactly one of env, file and store")
        return self


class CredentialModel(Strict):
    """What the gate signs in with at the resource. Clients never see it."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The role the gate signs in as."
    )
    password: SecretSource | None = Field(default=None, description="Where the password is.")
    certificate: SecretSource | None = Field(
        default=None, description="Where a client certificate is."
    )
    private_key: SecretSource | None = Field(
        default=None, description="Where the certificate's key is."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "CredentialModel":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key come together")
        return self


class ResourceModel(Strict):
    """A thing behind the gate."""

    kind: Literal["Resource"] = Field(description="`Resource`.")
    name: Name = Field(description="How tasks and clients name it.")
    description: str = Field(default="", description="For people.")
    protocol: str = Field(description="What it speaks: `postgres`.")
    address: str = Field(
        description="`host:port`; the port may be left out where it is the usual one."
    )
    tls: Literal["disable", "require", "verify-ca", "verify-full"] = Field(
        default="verify-full", description="How the gate checks the resource's certificate."
    )
    ca_file: str = Field(default="", description="PEM file of the issuer, for the verify modes.")
    credential: CredentialModel = Field(description="What the gate signs in with.")
    database: str = Field(default="", description="The database for clients that name none.")
    databases: Words | None = Field(
        default=None,
        description="Other databases that clients may name; otherwise only `database`.",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="For people and searches.")

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if "@" in value or "/" in value:
            raise ValueError("only host:port; the credential has its own key")
        split_address(value, 1)
        return value


class ForMembers(Strict):
    """Who: members of any of the groups, or one of the people; of one of the kinds."""

    groups: Groups | None = Field(
        default=None, description="Groups, exactly as the provider names them."
    )
    people: Subjects | None = Field(
        default=None, description="Single callers: a local user's name, or `issuer:subject`."
    )
    kinds: Annotated[
        list[Literal["human", "workload", "agent"]] | None,
        BeforeValidator(_words),
        AfterValidator(lambda kinds: None if kinds is None else _no_repeats(kinds)),
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
        " ...), or is read in a request that also writes: `deny` (default), `hold` or `permit`.",
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
    for_: ForMembers = Field(alias="for", description="Who may take it up.")
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
        description="Who approves where a hold does not say it: `otherwise: hold` too.",
    )
    mask: list[MaskModel] = Field(
        default_factory=list, description="What is hidden. For a column the first match counts."
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


class RoleModel(Strict):
    """Rights over the gate itself. Nobody holds any unless a role says so."""

    kind: Literal["Role"] = Field(description="`Role`.")
    name: Name = Field(description="How records name it.")
    description: str = Field(default="", description="For people.")
    for_: ForMembers = Field(alias="for", description="Who holds it.")
    may: Annotated[
        list[Literal["administer", "author", "audit", "replay", "revoke"]],
        BeforeValidator(_words),
        AfterValidator(_no_repeats),
    ] = Field(
        description="`administer` (users, secrets, state), `author` (apply policy), `audit` (search"
        " and verify records), `replay` (read recordings), `revoke` (end others' grants)."
        " `administer` does not go together with `audit` or `replay`."
    )

    @model_validator(mode="after")
    def _administrators_are_no_auditors(self) -> "RoleModel":
        if "administer" in self.may and {"audit", "replay"} & set(self.may):
            raise ValueError(
                "one role holds administer and audit or replay; an administrator is no auditor"
            )
        return self


_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?\Z")


def split_address(value: str, default_port: int) -> tuple[str, int]:
    """Host and port of `db:5432`, `db` or `[::1]:5432`.

    Raises: ValueError.
    """
    match = _ADDRESS.match(value) if value.isascii() else None
    port = int(match.group(3) or default_port) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise ValueError("write host:port, such as db.internal:5432 or [::1]:5432")
    return match.group(1) or match.group(2), port
