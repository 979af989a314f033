"""Time that nobody can turn back."""

import time
from collections.abc import Callable
from dataclasses import dataclass


class Clock:
    """Wall time that only goes forward, and monotonic time beside it. Both in seconds.

    `now()` never shows less than it has shown before, and never passes more slowly than the
    monotonic clock. An operator, an NTP server or a virtual machine that turns the wall clock
    back can therefore not give a grant more time. A jump forward is believed: whatever is over
    by then has ended, which is the safe side.
    """

    __slots__ = ("_last_monotonic", "_last_wall", "_monotonic", "_wall")

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last_wall = wall()
        self._last_monotonic = monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        passed = self._monotonic()
        floor = self._last_wall + max(0.0, passed - self._last_monotonic)
        self._last_wall = max(floor, self._wall())
        self._last_monotonic = passed
        return self._last_wall

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; for how long something took or may take."""
        return self._monotonic()

    def behind_s(self) -> float:
        """How far the machine's wall clock is behind what this clock shows; 0 as a rule."""
        return max(0.0, self.now() - self._wall())


@dataclass(frozen=True, slots=True)
class Deadline:
    """An end that counts by both clocks: whichever reaches its own end first.

    `wall` is in seconds since the epoch, `monotonic` on the monotonic clock.
    """

    wall: float
    monotonic: float

    @classmethod
    def at(cls, wall: float, clock: Clock) -> "Deadline":
        """The end at wall time `wall`, as many monotonic seconds from now as remain until it."""
        return cls(wall, clock.monotonic() + (wall - clock.now()))

    def remaining_s(self, clock: Clock) -> float:
        """Seconds left; 0 or less once it has passed."""
        return min(self.wall - clock.now(), self.monotonic - clock.monotonic())

    def passed(self, clock: Clock) -> bool:
        return self.remaining_s(clock) <= 0
