"""What is counted at every request: plain numbers, made into metrics only when somebody asks.

The event loop's thread alone writes here, so nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from taskgate.model.decision import Outcome
from taskgate.protocols.postgres.judging import CacheCounts

_DECISION_BUCKETS_S: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0,
)  # fmt: skip
_REQUEST_BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
)  # fmt: skip


class Spread:
    """How values are distributed: counts of those at or below each bound, the last one of all
    others, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def metric(self, name: str, text: str) -> Metric:
        labels = [*(f"{float(bound)}" for bound in self._bounds), "+Inf"]
        counts = list(zip(labels, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=counts, sum_value=self._sum)


class Tallies(Collector):
    """One gateway's. `requests` counts them by `Outcome` value; `cache` is counted up by whoever
    looks verdicts up."""

    def __init__(self) -> None:
        self.bytes_to_resource = 0
        self.bytes_to_client = 0
        self.masked_values = 0
        self.requests: dict[str, int] = {outcome.value: 0 for outcome in Outcome}
        self.cache = CacheCounts()
        self.decision_seconds = Spread(_DECISION_BUCKETS_S)
        self.request_seconds = Spread(_REQUEST_BUCKETS_S)

    def finished(self, facts: Mapping[str, Any]) -> None:
        """How a request ended: the facts that its `request.finished` event has."""
        self.request_seconds.add(facts["duration_s"])
        masked = facts.get("masked")
        if masked:
            self.masked_values += sum(masked.values())

    def collect(self) -> Iterator[Metric]:
        moved = CounterMetricFamily(
            "taskgate_bytes", "Bytes relayed, by direction.", labels=["direction"]
        )
        moved.add_metric(["to_resource"], self.bytes_to_resource)
        moved.add_metric(["to_client"], self.bytes_to_client)
        yield moved
        requests = CounterMetricFamily(
            "taskgate_requests", "Requests judged, by outcome.", labels=["outcome"]
        )
        for outcome, count in self.requests.items():
            requests.add_metric([outcome], count)
        yield requests
        cache = CounterMetricFamily(
            "taskgate_decision_cache", "Decision cache lookups.", labels=["result"]
        )
        cache.add_metric(["hit"], self.cache.hits)
        cache.add_metric(["miss"], self.cache.misses)
        yield cache
        yield CounterMetricFamily(
            "taskgate_masked_values", "Values hidden from answers.", value=self.masked_values
        )
        yield self.decision_seconds.metric(
            "taskgate_decision_seconds",
            "From a whole request to its verdict, holds not counted.",
        )
        yield self.request_seconds.metric(
            "taskgate_request_seconds", "From a request's sending to the end of its answer."
        )
