"""A held request awaiting named people."""

from dataclasses import dataclass
from enum import StrEnum

from taskgate.model.decision import ApprovalDemand


class ApprovalState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """Consent to more of one kind: `uses` times, for `lasts_s` seconds from the approval on."""

    uses: int
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's word. `reason` is required for a refusal. `more` is what the person agrees to
    beyond this one request; it counts only if everybody who approves offers it, and then the
    smallest offer does."""

    subject_key: str
    approve: bool
    reason: str
    at: float
    groups: frozenset[str] = frozenset()
    more: StandingOffer | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One held request. `digest` and `shape` are those of `model.action.Request`.

    `rule` and `policy_version` are the decision's: a vote counts under that version alone.
    `requester_keys` are the keys of the requester and of everyone they act for: none of these
    may vote. `closed_why` says why it was denied or cancelled.
    Times are seconds since the epoch.
    """

    id: str
    grant_id: str
    session_id: str
    requester_key: str
    task: str
    resource: str
    text: str
    parameters: tuple[str | None, ...]
    digest: str
    shape: str
    rule: str
    policy_version: str
    demands: tuple[ApprovalDemand, ...]
    asked_at: float
    expires_at: float
    state: ApprovalState = ApprovalState.WAITING
    votes: tuple[Vote, ...] = ()
    closed_at: float | None = None
    requester_keys: frozenset[str] = frozenset()
    closed_why: str = ""


@dataclass(frozen=True, slots=True)
class StandingApproval:
    """Agreement to more of one shape: `uses_left` times, until `expires_at`.

    Bound to the grant, the resource, the rule and the policy version it was given under.
    """

    id: str
    approval_id: str
    grant_id: str
    shape: str
    rule: str
    policy_version: str
    expires_at: float
    uses_left: int
    resource: str = ""
