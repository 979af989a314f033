"""The tour: every outcome that the demo promises, tried for real and checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from taskgate.demo import tour_database, tour_records, tour_web
from taskgate.demo.shop import Shop
from taskgate.demo.visitor import NotAsPromised, Visitor

STOPS = (*tour_database.STOPS, *tour_web.STOPS, *tour_records.STOPS)


@dataclass(frozen=True, slots=True)
class Seen:
    """How one stop went."""

    promise: str
    seen: str
    kept: bool
    took_s: float


def take(shop: Shop, report: Callable[[Seen], None]) -> bool:
    """Visits every stop in turn; whether each was as promised."""
    visitor = Visitor(shop)
    all_kept = True
    for stop in STOPS:
        started = time.monotonic()
        try:
            seen, kept = stop.visit(visitor), True
        except NotAsPromised as instead:
            seen, kept = str(instead), False
        except Exception as error:  # one stop's fault must not hide the others'
            seen, kept = f"{type(error).__name__}: {error}", False
        report(Seen(stop.promise, seen, kept, time.monotonic() - started))
        all_kept = all_kept and kept
    return all_kept
