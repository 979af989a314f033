"""The API's JSON about leaving, the map of use, hygiene and derived grants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskgate.api.shapes import Asked, Connection, GrantShown, Name, Reason, Shown
from taskgate.model import limits

_Word = Annotated[str, Field(min_length=1, max_length=1_000)]


class OffboardAsked(Asked):
    why: Reason


class PlaceShown(Shown):
    """One line of the map of use. `way` is a protocol, or `sign-in` for the API and the console.
    `host` is what was reached, `claims` what a workload's token said of its run."""

    who: str
    acts_for: list[str]
    source: str
    application: str
    way: str
    task: str
    resource: str
    host: str
    claims: dict[str, str]
    times: int
    requests: int
    live: int
    first_at: float
    last_at: float
    grants: list[str]


class OffboardedShown(Shown):
    """What was ended. `also_seen` are other keys of the same name, which were not touched."""

    people: list[str]
    grants: list[str]
    sign_ins: int
    users: list[str]
    sessions: list[str]
    approvals_cancelled: list[str]
    approvals_withdrawn: list[str]
    standing_ended: list[str]
    places: list[PlaceShown]
    also_seen: list[str]


class UseAsked(Asked):
    """`what` is a person, a task, a grant's id, or a token: in the body, never in the address."""

    what: _Word


class UseShown(Shown):
    """`subject` says how `what` was understood."""

    subject: str
    places: list[PlaceShown]


class DormantShown(Shown):
    grant_id: str
    who: str
    task: str
    reason: str
    issued_at: float
    expires_at: float
    last_used_at: float | None


class UnusedTaskShown(Shown):
    task: str
    last_used_at: float | None


class NewPlaceShown(Shown):
    grant_id: str
    who: str
    task: str
    source: str
    first_at: float
    seen_before: list[str]


class IdlePersonShown(Shown):
    who: str
    origin: str
    since: float
    last_at: float | None


class OverdueReviewShown(Shown):
    """A use of break-glass that nobody has reviewed in time."""

    id: str
    who: str
    task: str
    used_at: float
    due_at: float


class HygieneShown(Shown):
    days: float
    dormant_grants: list[DormantShown]
    unused_tasks: list[UnusedTaskShown]
    new_places: list[NewPlaceShown]
    idle_people: list[IdlePersonShown]
    overdue_reviews: list[OverdueReviewShown] = Field(default_factory=list)


class DeriveAsked(Asked):
    """`permit` is a list of rules as under a task's `permit`. What is left out stays as it is."""

    permit: (
        Annotated[list[dict[str, str | list[str]]], Field(min_length=1, max_length=200)] | None
    ) = None
    resources: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    lasts_s: Annotated[float, Field(gt=0, le=366 * 86400)] | None = None
    uses: Annotated[int, Field(ge=1, le=limits.MAX_GRANT_USES)] | None = None
    step: Annotated[str, Field(max_length=limits.MAX_STEP_CHARS)] = ""
    reason: Annotated[str, Field(max_length=limits.MAX_REASON_CHARS)] = ""
    agent: Annotated[str, Field(max_length=64)] = ""


class LinkShown(Shown):
    grant: str
    who: str
    step: str


class Derived(Shown):
    """`permit` has the lines of each level that narrowed; `chain` is everything above, nearest
    first. `token` is shown this once."""

    grant: GrantShown
    token: str
    connections: list[Connection]
    ca_pem: str
    step: str
    uses_left: int | None
    permit: list[list[str]]
    chain: list[LinkShown]
