"""How tests wait, so that how busy the machine is decides none of them."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 60.0
_TRIES = 5


def eventually(
    look: Callable[[], T], otherwise: str = "it did not come", within_s: float = PATIENCE_S
) -> T:
    """What `look` gives, once it gives something true. Raises: AssertionError, with `otherwise`."""
    end = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def within(bound_s: float, attempt: Callable[[], float]) -> None:
    """That what is promised within `bound_s` is done so: in one of a few attempts.

    `attempt` does it anew each time and gives the seconds it took. A machine that was busy
    elsewhere makes an attempt late; what is too slow by its making is late in each.
    """
    took: list[float] = []
    while not took or took[-1] > bound_s:
        assert len(took) < _TRIES, f"promised within {bound_s:g} s, took {took}"
        took.append(attempt())


async def within_on_loop(bound_s: float, attempt: Callable[[], Awaitable[float]]) -> None:
    """The same for what runs on an event loop."""
    took: list[float] = []
    while not took or took[-1] > bound_s:
        assert len(took) < _TRIES, f"promised within {bound_s:g} s, took {took}"
        took.append(await attempt())
