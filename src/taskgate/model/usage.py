"""Where access is in use: the map, and what nobody uses any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UseSelector:
    """Whose use is meant: all that fit every field given. `person` is an `Identity.key`, and also
    finds agents that act for that person. `grant_id` also finds what was derived from it."""

    person: str | None = None
    task: str | None = None
    grant_id: str | None = None

    def __bool__(self) -> bool:
        return not (self.person is None and self.task is None and self.grant_id is None)


@dataclass(frozen=True, slots=True)
class Place:
    """One place from which access was used, and for what.

    `source` is the client's address without its port; `application` what the client calls
    itself; `host` what was reached (`host:port`), empty where the policy no longer has it.
    `way` is a protocol, or `sign-in` for the API and the console; then task and resource are
    empty. `claims` are a workload's own (repository, workflow ...). `grants` are the newest few.
    Times are seconds since the epoch.
    """

    identity: str
    acts_for: tuple[str, ...]
    source: str
    application: str
    way: str
    task: str
    resource: str
    times: int
    first_at: float
    last_at: float
    live: int = 0
    requests: int = 0
    host: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DormantGrant:
    """A grant that still lives and has not been used lately. `last_used_at` None: never."""

    grant_id: str
    identity: str
    task: str
    reason: str
    issued_at: float
    expires_at: float
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class NewPlace:
    """A grant used from where neither it nor its holder had been seen before."""

    grant_id: str
    identity: str
    task: str
    source: str
    first_at: float
    seen_before: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdlePerson:
    """Somebody who could sign in and has not for long. `last_at` None: never."""

    person: str
    origin: str
    since: float
    last_at: float | None
