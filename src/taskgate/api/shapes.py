"""The API's JSON: what each request brings and each answer holds.

Times are seconds since the epoch, durations seconds. The CLI reads answers through the same
classes. Requests are strict: an unknown key is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from taskgate.model import limits
from taskgate.model.authentication import SignInDemand

Name = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=limits.MAX_REASON_CHARS)]


class Asked(BaseModel):
    """What a request brings: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """What an answer holds."""

    model_config = ConfigDict(frozen=True)


class SignInWanted(Asked):
    """How a task wants its holder to have signed in; all that is named."""

    mfa: bool = False
    within_s: Annotated[float, Field(gt=0, le=366 * 86400)] | None = None
    acr: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=50)] = []

    @classmethod
    def of(cls, demand: SignInDemand) -> SignInWanted:
        return cls(mfa=demand.mfa, within_s=demand.within_s, acr=list(demand.acr))

    def demand(self) -> SignInDemand:
        return SignInDemand(self.mfa, self.within_s, tuple(self.acr))


class Problem(Shown):
    """RFC 9457. `rule` names the policy's rule, `hint` says what to do next, `incident` finds
    the log line of an internal fault. `sign_in`, where a stronger or newer sign-in would help, says
    what it must be like."""

    type: str
    title: str
    status: int
    detail: str
    rule: str = ""
    hint: str = ""
    incident: str = ""
    errors: list[str] = []
    sign_in: SignInWanted | None = None


class LoginAsked(Asked):
    """`code` is an authenticator app's, or a recovery code."""

    name: Name
    password: Annotated[SecretStr, Field(max_length=limits.MAX_PASSWORD_BYTES)]
    code: Annotated[SecretStr, Field(max_length=100)] = SecretStr("")


class Me(Shown):
    """`over` has the patterns of tasks that a right reaches, where it does not reach everything."""

    key: str
    subject: str
    issuer: str
    kind: str
    groups: list[str]
    rights: list[str]
    over: dict[str, list[str]] = {}
    method: str
    authenticated_at: float
    amr: list[str] = []
    acr: str = ""
    auth_time: float | None = None


class LoggedIn(Shown):
    """`token` is shown this once; the gateway keeps only its hash. `refresh` (after a sign-in by
    a provider that gives one) renews the sign-in, and `leave` signs out at the provider as well;
    both are sealed, and only the gateway reads them."""

    token: str
    expires_at: float
    me: Me
    refresh: str = ""
    leave: str = ""


Sealed = Annotated[str, Field(min_length=1, max_length=32 * limits.KIB)]


class OidcAsked(Asked):
    """`redirect` is the caller's own `http://127.0.0.1:PORT/callback`."""

    provider: Name
    redirect: Name
    fresh: bool = False
    sign_in: SignInWanted | None = None


class OidcBegun(Shown):
    """`state` comes back with the code; `flow` is sealed, and to be sent with both."""

    url: str
    state: str
    flow: str


class OidcFound(Asked):
    """What the browser came back with; `iss` where it named one (RFC 9207)."""

    flow: Sealed
    code: Annotated[str, Field(min_length=1, max_length=4096)]
    state: Name
    iss: Annotated[str, Field(max_length=2000)] | None = None


class OidcDeviceAsked(Asked):
    provider: Name
    sign_in: SignInWanted | None = None


class OidcDeviceBegun(Shown):
    """`user_code` is typed at `url`; `complete_url`, where there is one, has it filled in."""

    url: str
    complete_url: str
    user_code: str
    interval_s: float
    lasts_s: float
    flow: str


class OidcLeave(Asked):
    leave: Sealed


class OidcLeft(Shown):
    """Where a browser signs out at the provider; empty where it has no such place."""

    url: str


class OidcFlow(Asked):
    flow: Sealed


class OidcPending(Shown):
    interval_s: float


class OidcRefresh(Asked):
    refresh: Sealed


class TaskShown(Shown):
    name: str
    description: str
    resources: list[str]
    lasts_default_s: float
    lasts_at_most_s: float
    hours: str
    open_now: bool
    sign_in: SignInWanted | None = None
    rules: list[str] = []


class GrantAsked(Asked):
    task: Name
    reason: Reason
    lasts_s: Annotated[float, Field(gt=0, le=366 * 86400)] | None = None
    resource: Name | None = None


class Connection(Shown):
    """How a client reaches one resource. `user` names the task; the grant's token is the
    password. `known_hosts` is OpenSSH's line for the gate, where the protocol is `ssh`."""

    resource: str
    protocol: str
    host: str
    port: int
    user: str
    database: str
    tls: bool
    known_hosts: str = ""


class GrantShown(Shown):
    """`parent`, `step`, `uses_left` and `permit` are a derived grant's: `permit` has the lines of
    each level that narrowed it."""

    id: str
    who: str
    task: str
    reason: str
    resources: list[str]
    not_before: float
    expires_at: float
    revoked_at: float | None
    revoked_why: str
    live: bool
    parent: str | None = None
    step: str = ""
    uses_left: int | None = None
    permit: list[list[str]] = []


class GrantIssued(Shown):
    grant: GrantShown
    token: str
    connections: list[Connection]
    ca_pem: str


class Reachable(Protocol):
    """A token, and what it opens."""

    @property
    def token(self) -> str: ...
    @property
    def connections(self) -> list[Connection]: ...
    @property
    def ca_pem(self) -> str: ...


class Exchanged(Shown):
    """The answer of the token endpoint (RFC 8693 section 2.2.1), and how to connect."""

    access_token: str
    expires_in: int
    scope: str
    grant: str
    connections: list[Connection]
    ca_pem: str

    def as_issued(self) -> TokenIssued:
        """The same as a grant's token comes otherwise."""
        return TokenIssued(
            token=self.access_token, connections=self.connections, ca_pem=self.ca_pem
        )


class TokenIssued(Shown):
    token: str
    connections: list[Connection]
    ca_pem: str


class RevokeAsked(Asked):
    why: Annotated[str, Field(max_length=limits.MAX_REASON_CHARS)] = ""


class VoteShown(Shown):
    who: str
    approve: bool
    reason: str
    at: float


class DemandShown(Shown):
    """`people` distinct members of `groups`, or people of `subjects`, must agree."""

    groups: list[str]
    subjects: list[str]
    people: int


class StandingShown(Shown):
    """The most that an approval may agree to in advance."""

    uses: int
    minutes: float


class ApprovalShown(Shown):
    """`text` and `parameters` are exactly what will run. `grant_reason` is the requester's.
    `standing` is None where the task lets nobody agree to more than this one request."""

    id: str
    state: str
    who: str
    task: str
    resource: str
    grant_reason: str
    text: str
    parameters: list[str | None]
    digest: str
    shape: str
    rule: str
    policy_version: str
    demands: list[DemandShown]
    votes: list[VoteShown]
    asked_at: float
    expires_at: float
    closed_why: str
    standing: StandingShown | None
    mine: bool
    may_decide: bool
    url: str


class StandingApprovalShown(Shown):
    """Agreement in advance that still counts: `uses_left` more requests like the one approved."""

    id: str
    approval_id: str
    grant_id: str
    who: str
    task: str
    resource: str
    text: str
    rule: str
    uses_left: int
    expires_at: float


class ApproveAsked(Asked):
    """`scope` `shape` also agrees to more of the same kind for `minutes`, `uses` times at most.
    `digest`, if given, must be that of what the approver was shown."""

    digest: Annotated[str, Field(max_length=64)] = ""
    scope: Literal["once", "shape"] = "once"
    minutes: Annotated[float, Field(gt=0, le=limits.MAX_STANDING_S / 60)] | None = None
    uses: Annotated[int, Field(gt=0, le=limits.MAX_STANDING_USES)] | None = None
    reason: Annotated[str, Field(max_length=limits.MAX_REASON_CHARS)] = ""


class DenyAsked(Asked):
    digest: Annotated[str, Field(max_length=64)] = ""
    reason: Reason


class SessionShown(Shown):
    id: str
    grant_id: str
    who: str
    task: str
    resource: str
    protocol: str
    client_address: str
    client_application: str
    started_at: float
    ended_at: float | None
    ended_why: str
    live: bool


class TerminateAsked(Asked):
    why: Reason


class EventShown(Shown):
    sequence: int
    kind: str
    at: float
    facts: dict[str, Any]


class RecordingShown(Shown):
    """One page of a recording. `next` is the sequence to go on from, None at its end."""

    session: SessionShown | None
    events: list[EventShown]
    next: int | None


class KeptFileShown(Shown):
    """What went one way through a file that was opened by `request`: `bytes`, and the `sha256` of
    them where they went in order, from `first` on. `over`: it was closed."""

    request: int
    path: str
    way: Literal["read", "written"]
    bytes: int
    sha256: str
    first: int
    over: bool


class AuditRow(Shown):
    session: str
    sequence: int
    at: float
    event: str
    who: str
    task: str
    resource: str
    verb: str
    object: str
    columns: list[str] | None
    compared: list[str]
    via: str
    kinds: list[str]
    rows: int | None
    masked: int
    outcome: str
    rule: str
    reason: str
    approved_by: list[str]
    text: str


class AuditFound(Shown):
    """`complete` is False where there was more than `limit`."""

    entries: list[AuditRow]
    complete: bool


class VerifyReport(Shown):
    """`findings` is empty where every recording is whole and as it was written. `anchor` is the
    newest entry of the chain of heads, to be noted elsewhere."""

    recordings: int
    entries: int
    sealed: int
    open: int
    findings: list[str]
    notes: list[str]
    anchor_number: int
    anchor_hash: str
    rendered: str


class Authority(Shown):
    """What clients should trust. `pem` is empty where their system's own list does,
    `ssh_known_hosts` (a line of OpenSSH's `known_hosts`) where nobody comes in by SSH.
    `ssh_upstream_ca` is what hosts trust to let the gate in (`TrustedUserCAKeys`)."""

    pem: str
    fingerprint: str
    ssh_known_hosts: str = ""
    ssh_upstream_ca: str = ""
