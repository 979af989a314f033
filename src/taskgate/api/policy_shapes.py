"""The API's JSON about the policy: files, versions, explanations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskgate.api.shapes import Asked, Name, Shown
from taskgate.model import limits


class PolicyFiles(Asked):
    """File name -> text. Without files, `apply` reads the configured folder again."""

    files: dict[Annotated[str, Field(max_length=300)], str] | None = None
    note: Annotated[str, Field(max_length=limits.MAX_REASON_CHARS)] = ""


class PolicyChecked(Shown):
    version: str
    resources: list[str]
    tasks: list[str]
    errors: list[str]


class PolicyApplied(Shown):
    version: str
    applied_at: float
    applied_by: str
    note: str
    current: bool


class ExplainAsked(Asked):
    """`who` is a local user's name, the caller's own where it is left out."""

    task: Name
    text: Annotated[str, Field(min_length=1, max_length=limits.MAX_API_BODY_BYTES)]
    who: Name | None = None
    resource: Name | None = None


class RuleShown(Shown):
    """One rule, and whether and why it counted."""

    rule: str
    source: str
    effect: str
    entry: str
    matched: bool
    why: str


class Explained(Shown):
    outcome: str
    rule: str
    source: str
    reason: str
    hint: str
    policy_version: str
    rules: list[RuleShown]
    notes: list[str]
    rendered: str
