"""Breaking glass: a task taken up outside its usual members and hours, loudly and reviewed."""

from dataclasses import dataclass
from enum import StrEnum

from taskgate.model.approval import Vote
from taskgate.model.decision import ApprovalDemand
from taskgate.model.identity import Identity


class BreakGlassState(StrEnum):
    """`READY` may be collected by whoever asked; `USED` has a grant, and wants a review."""

    WAITING = "waiting"
    READY = "ready"
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """One use of it, from the request to the closed review.

    `second` is who must agree before the grant is given, None for nobody; `review` is who closes
    it afterwards, with `within_s` counted from the grant on. `expires_at` is until when it may be
    agreed to and collected. Times are seconds since the epoch.
    """

    id: str
    identity: Identity
    task: str
    reason: str
    resources: tuple[str, ...]
    lasts_s: float
    asked_at: float
    expires_at: float
    second: ApprovalDemand | None
    review: ApprovalDemand
    state: BreakGlassState = BreakGlassState.READY
    votes: tuple[Vote, ...] = ()
    grant_id: str = ""
    used_at: float | None = None
    review_due_at: float | None = None
    reviewed_at: float | None = None
    reviewed_by: str = ""
    note: str = ""

    @property
    def rule(self) -> str:
        """The policy's rule that lets it be."""
        return f"{self.task}/break_glass"

    @property
    def demands(self) -> tuple[ApprovalDemand, ...]:
        return () if self.second is None else (self.second,)

    @property
    def requester_keys(self) -> frozenset[str]:
        return frozenset(self.identity.keys)

    @property
    def review_open(self) -> bool:
        return self.state is BreakGlassState.USED and self.reviewed_at is None

    def overdue(self, now: float) -> bool:
        """Whether nobody has closed the review in time."""
        return self.review_open and self.review_due_at is not None and now > self.review_due_at


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody should look at now. `subject` is the id of what it is about."""

    id: str
    at: float
    kind: str
    person: str
    task: str
    subject: str
    text: str
