"""JSON of break-glass, its reviews, and alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskgate.api.shapes import Asked, DemandShown, GrantIssued, Name, Reason, Shown, VoteShown
from taskgate.model import limits


class BreakGlassAsked(Asked):
    task: Name
    reason: Reason
    resource: Name | None = None
    lasts_s: Annotated[float, Field(gt=0, le=limits.MAX_BREAK_GLASS_S)] | None = None


class BreakGlassShown(Shown):
    """`second` is who must agree before, None for nobody; `may_decide` and `may_review` say what
    the caller can do about it now."""

    id: str
    state: str
    who: str
    task: str
    reason: str
    resources: list[str]
    lasts_s: float
    asked_at: float
    expires_at: float
    second: DemandShown | None
    review: DemandShown
    votes: list[VoteShown]
    grant_id: str
    used_at: float | None
    review_due_at: float | None
    review_open: bool
    overdue: bool
    reviewed_at: float | None
    reviewed_by: str
    note: str
    mine: bool
    may_decide: bool
    may_review: bool


class BreakGlassGiven(Shown):
    """`issued` is there once the grant is; its token is shown this once."""

    request: BreakGlassShown
    issued: GrantIssued | None = None


class VoteAsked(Asked):
    reason: Annotated[str, Field(max_length=limits.MAX_REASON_CHARS)] = ""


class ReviewAsked(Asked):
    note: Reason


class AlertShown(Shown):
    id: str
    at: float
    kind: str
    who: str
    task: str
    subject: str
    text: str
