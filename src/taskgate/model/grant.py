"""One identity holding one task for a while."""

from dataclasses import dataclass

from taskgate.model.identity import Identity


@dataclass(frozen=True, slots=True)
class Grant:
    """Times are seconds since the epoch. `resources` are the names this grant may reach."""

    id: str
    identity: Identity
    task: str
    reason: str
    resources: tuple[str, ...]
    not_before: float
    expires_at: float
    revoked_at: float | None = None
    revoked_why: str = ""
    parent: str | None = None

    def live(self, now: float) -> bool:
        """Whether the grant holds at `now` (hours are the task's, and checked apart)."""
        return self.revoked_at is None and self.not_before <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One client connection under a grant, as records and lists show it."""

    id: str
    grant_id: str
    identity: Identity
    task: str
    resource: str
    protocol: str
    client_address: str
    client_application: str
    started_at: float
    ended_at: float | None = None
    ended_why: str = ""
