"""Who calls."""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from taskgate.model.authentication import Authentication

# The issuer of agents: whoever they act for named them, or that one's provider.
AGENT_ISSUER: Final = "agent"
SESSION_PREFIX: Final = "session/"


class IdentityKind(StrEnum):
    HUMAN = "human"
    WORKLOAD = "workload"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as an identity provider vouched for it.

    `subject` is unique within `issuer`; the pair names one person, job or agent.
    `authenticated_at` is in seconds since the epoch: what a cut-off is compared with, so never
    later than the sign-in truly was. `authentication` is what was told of how it was made.
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
    authentication: Authentication = field(default_factory=Authentication)

    @property
    def key(self) -> str:
        """The stable name of this caller in stores and records: `issuer:subject`."""
        return f"{self.issuer}:{self.subject}"

    @property
    def keys(self) -> tuple[str, ...]:
        """This caller's key, then those of everyone it acts for, nearest first."""
        behind = self.acts_for.keys if self.acts_for is not None else ()
        return (self.key, *behind)

    @property
    def rests_on(self) -> tuple[str, ...]:
        """`keys`, and the sessions at providers that they signed in by: with the end of any of
        these ends what this identity was given."""
        behind = self.acts_for.rests_on if self.acts_for is not None else ()
        session = self.authentication.session
        own = (session_key(self.issuer, session),) if session else ()
        return (self.key, *own, *behind)

    @property
    def principal(self) -> "Identity":
        """Whoever stands behind it all: the caller, or the last of those it acts for."""
        return self if self.acts_for is None else self.acts_for.principal


def session_key(issuer: str, session: str) -> str:
    """The name in stores of a session at a provider, beside the keys of people. No issuer has such
    a name."""
    return f"{SESSION_PREFIX}{issuer}:{session}"


def same_person(key: str) -> str:
    """The form in which keys (or subjects) are compared where a second spelling must not help:
    compatibility-normalised, letter case left aside."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())
