"""Caps on connections that come in."""

import pytest

from taskgate.gateway import arrivals as module
from taskgate.gateway.arrivals import Arrivals


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.cap("MAX_CONNECTIONS_PER_SOURCE_PER_S")
def test_a_source_may_burst_and_then_gets_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS_PER_SOURCE_PER_S", 10)
    ticks = Ticks()
    arrivals = Arrivals(ticks)
    for _ in range(10):
        assert arrivals.enter("a") == ""
        arrivals.leave()
    assert "connections a second" in arrivals.enter("a")
    assert arrivals.enter("b") == "", "another source is not affected"
    ticks.now += 0.5
    assert [arrivals.enter("a") == "" for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.cap("MAX_UNAUTHENTICATED")
def test_those_signing_in_are_capped_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNAUTHENTICATED", 2)
    arrivals = Arrivals(Ticks())
    assert arrivals.enter("a") == ""
    assert arrivals.enter("b") == ""
    assert "signing in already" in arrivals.enter("c")
    arrivals.leave()
    assert arrivals.enter("c") == ""


@pytest.mark.cap("MAX_SOURCES_COUNTED")
def test_the_number_of_sources_remembered_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SOURCES_COUNTED", 3)
    arrivals = Arrivals(Ticks())
    for source in "abcdef":
        arrivals.enter(source)
    assert len(arrivals._buckets) == 3
