"""What the gateway shows of itself: Prometheus metrics and readiness.

No label carries a name that a caller chose: neither identities nor tasks nor addresses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from taskgate import __version__
from taskgate.gateway.tallies import Tallies
from taskgate.model.errors import TaskgateError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Signals:
    """One gateway's counters. Each has its own registry, so that two can live in one process.
    `tallies` has those that every request goes into."""

    def __init__(self) -> None:
        # When a counter began is the scraper's to know.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.tallies = Tallies()
        registry.register(self.tallies)
        build = Gauge("taskgate_build_info", "Always 1.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self.ready = Gauge("taskgate_ready", "1 while /readyz says yes.", registry=registry)
        self.sessions = Gauge(
            "taskgate_sessions", "Open sessions.", ["protocol"], registry=registry
        )
        self._opened = Counter(
            "taskgate_sessions_opened", "Sessions opened.", ["protocol"], registry=registry
        )
        self.holds_waiting = Gauge(
            "taskgate_holds_waiting", "Held requests awaiting approval.", registry=registry
        )
        self._login_failures = Counter(
            "taskgate_login_failures", "Refused sign-ins, by door.", ["door"], registry=registry
        )
        self._alerts = Counter(
            "taskgate_alerts", "Alerts raised, by kind.", ["kind"], registry=registry
        )
        self.reviews_open = Gauge(
            "taskgate_reviews_open", "Uses of break-glass without a review.", registry=registry
        )
        self.reviews_overdue = Gauge(
            "taskgate_reviews_overdue", "Those whose review is overdue.", registry=registry
        )
        self.recording_errors = Counter(
            "taskgate_recording_errors",
            "Events that could not be written; their requests were refused.",
            registry=registry,
        )
        self.upstream_errors = Counter(
            "taskgate_upstream_errors", "Resources lost or unreachable.", registry=registry
        )
        self.hold_seconds = Histogram(
            "taskgate_hold_seconds",
            "How long held requests waited.",
            buckets=(1, 5, 15, 60, 300, 900, 3600),
            registry=registry,
        )
        self._api = Counter(
            "taskgate_api_requests", "API answers, by class of status.", ["status"],
            registry=registry,
        )  # fmt: skip
        self.internal_errors = Counter(
            "taskgate_internal_errors", "Faults of the gateway itself.", registry=registry
        )

    def session_opened(self, protocol: str) -> None:
        self._opened.labels(protocol).inc()
        self.sessions.labels(protocol).inc()

    def session_closed(self, protocol: str) -> None:
        self.sessions.labels(protocol).dec()

    def request(self, outcome: str) -> None:
        """One request judged; `outcome` is an `Outcome` value."""
        self.tallies.requests[outcome] += 1

    def login_failed(self, door: str) -> None:
        """`door` is a protocol's name, `api` or `console`."""
        self._login_failures.labels(door).inc()

    def alert(self, kind: str) -> None:
        """`kind` is one of the gateway's own words."""
        self._alerts.labels(kind).inc()

    def api_answered(self, status: int) -> None:
        self._api.labels(f"{status // 100}xx").inc()

    def text(self) -> bytes:
        """Prometheus's text exposition format, 0.0.4."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Readiness:
    """`faults` names each part that is not ready; the details go to the log alone."""

    faults: Mapping[str, str]

    @property
    def ready(self) -> bool:
        return not self.faults


Check = Callable[[], Awaitable[None]]


async def readiness(checks: Mapping[str, Check]) -> Readiness:
    """Runs every check; one that raises is a fault under its name."""
    faults: dict[str, str] = {}
    for name, check in checks.items():
        try:
            await check()
        except (TaskgateError, OSError, TimeoutError) as error:
            faults[name] = str(error)
        except Exception as error:  # a driver's own kind of failure is no less a fault
            faults[name] = f"{type(error).__name__}: {error}"
    return Readiness(faults)
