"""One identity holding one task for a while."""

from dataclasses import dataclass

from taskgate.model.identity import Identity


@dataclass(frozen=True, slots=True)
class Permitted:
    """One line of a narrowed grant, in the policy's own words: a verb (or a group of verbs) and
    object patterns."""

    verb: str
    objects: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.verb}: [{', '.join(self.objects)}]"


@dataclass(frozen=True, slots=True)
class Link:
    """One grant above a derived one: whose it is, and the step it was named for."""

    grant: str
    identity: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Times are seconds since the epoch. `resources` are the names this grant may reach.

    A derived grant has a `parent`, and `chain` names all above it, nearest first. `narrowings`
    has a set of lines for each level that named any: an action must be permitted by the task and
    by every one of them. `uses_left` is how many sessions may still be opened under this grant
    itself, None for any number; one is taken from every grant of the chain that counts.
    `break_glass` is the id of the break-glass that it was given by, empty for all others: such a
    grant rests on the task's `break_glass`, not on its members and hours.
    """

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
    step: str = ""
    narrowings: tuple[tuple[Permitted, ...], ...] = ()
    uses_left: int | None = None
    chain: tuple[Link, ...] = ()
    break_glass: str = ""

    def live(self, now: float) -> bool:
        """Whether the grant holds at `now` (hours are the task's, and checked apart)."""
        return self.revoked_at is None and self.not_before <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One client connection under a grant, as records and lists show it. `step` and `chain` are
    those of a derived grant, `break_glass` that of one given by it. `signed_in_with` is what the
    client showed where that was no token: name and value, for the records."""

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
    step: str = ""
    chain: tuple[Link, ...] = ()
    break_glass: str = ""
    signed_in_with: tuple[tuple[str, str], ...] = ()
