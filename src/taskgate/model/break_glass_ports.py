"""What break-glass and alerts ask of a state store; see `model.ports`."""

from collections.abc import Callable
from typing import Protocol

from taskgate.model.approval import Vote
from taskgate.model.break_glass import Alert, BreakGlass, BreakGlassState


class BreakGlassStore(Protocol):
    """Uses of break-glass, and their reviews."""

    async def add(self, one: BreakGlass, most: int) -> bool:
        """False if the person was cut off since they authenticated. Raises: Conflict where `most`
        of theirs are open."""
        ...

    async def get(self, break_glass_id: str) -> BreakGlass | None: ...

    async def find(self, *, settled: bool, limit: int) -> tuple[BreakGlass, ...]:
        """Newest first. Without `settled`: those that wait for consent, collection or review."""
        ...

    async def vote(
        self,
        break_glass_id: str,
        vote: Vote,
        settle: Callable[[BreakGlass], BreakGlassState],
        authenticated_at: float,
    ) -> BreakGlass:
        """Adds a vote and lets `settle` judge the whole, in one transaction. Raises: NotFound;
        Conflict if it does not wait, is over, this person has voted, or either was cut off."""
        ...

    async def take(self, break_glass_id: str, grant_id: str, at: float, due_at: float) -> bool:
        """From READY to USED: True for one caller."""
        ...

    async def close_review(self, break_glass_id: str, by: str, note: str, at: float) -> bool:
        """True for one caller, and only for one that is USED and open."""
        ...

    async def expire(self, now: float) -> None: ...


class AlertStore(Protocol):
    """What somebody should look at."""

    async def add(self, alert: Alert) -> bool:
        """False if there is one of that id: whatever is told once is told once on all nodes."""
        ...

    async def since(self, at: float, limit: int) -> tuple[Alert, ...]:
        """Newest first."""
        ...
