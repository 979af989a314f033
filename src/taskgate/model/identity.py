"""Who calls."""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum


class IdentityKind(StrEnum):
    HUMAN = "human"
    WORKLOAD = "workload"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as an identity provider vouched for it.

    `subject` is unique within `issuer`; the pair names one person, job or agent.
    `authenticated_at` is in seconds since the epoch.
    `acts_for` is the principal behind an agent (RFC 8693 section 4.1), None for everyone else.
    `claims` are what else was vouched for that tells one run of a job from another: name and
    value, for the records.
    """

    subject: str
    issuer: str = "local"
    kind: IdentityKind = IdentityKind.HUMAN
    groups: frozenset[str] = field(default_factory=frozenset)
    authenticated_at: float = 0.0
    method: str = ""
    acts_for: "Identity | None" = None
    claims: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The stable name of this caller in stores and records: `issuer:subject`."""
        return f"{self.issuer}:{self.subject}"

    @property
    def keys(self) -> tuple[str, ...]:
        """This caller's key, then those of everyone it acts for, nearest first."""
        behind = self.acts_for.keys if self.acts_for is not None else ()
        return (self.key, *behind)


def same_person(key: str) -> str:
    """The form in which keys (or subjects) are compared where a second spelling must not help:
    compatibility-normalised, letter case left aside."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())
