"""What the store knows of tokens, revocations and applied policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that stands for a grant; only its SHA-256 (lower-case hex) is kept.

    A grant may have several. `parent_hash` is the token it was made from, where one person or
    agent hands a narrower one to the next. Times are seconds since the epoch.
    """

    token_hash: str = field(repr=False)
    grant_id: str
    issued_at: float
    expires_at: float
    parent_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One grant ended before its time. `sequence` grows by one with each, in commit order."""

    sequence: int
    grant_id: str
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class GrantSelector:
    """Which grants are meant: all that fit every field given. `person` is an `Identity.key`, and
    also finds grants of agents that act for that person."""

    grant_id: str | None = None
    person: str | None = None
    task: str | None = None

    def __bool__(self) -> bool:
        return not (self.grant_id is None and self.person is None and self.task is None)


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """Policy files as they were applied. `version` is the content's hash (hex SHA-256)."""

    version: str
    files: Mapping[str, str] = field(repr=False)
    applied_at: float
    applied_by: str
    note: str = ""
