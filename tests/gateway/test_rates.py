"""Token buckets: so many tries, for so many who try."""

import pytest

from taskgate.gateway.rates import Rates, source_of
from taskgate.model import limits


def test_a_source_has_its_tries_and_gets_them_back() -> None:
    rates = Rates(per_min=2)
    assert [rates.wait_s("a", 0.0) for _ in range(3)] == [0.0, 0.0, 30.0]
    assert rates.wait_s("b", 0.0) == 0.0
    assert rates.wait_s("a", 30.0) == 0.0
    assert rates.wait_s("a", 30.0) > 0


@pytest.mark.cap("MAX_RATE_ENTRIES")
def test_so_many_sources_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RATE_ENTRIES", 2)
    rates = Rates(per_min=1)
    for source in ("a", "b"):
        assert rates.wait_s(source, 0.0) == 0.0
    assert rates.wait_s("a", 0.0) > 0, "at the cap it is still known"
    # A third makes the one forgotten that was silent longest.
    assert rates.wait_s("c", 0.0) == 0.0
    assert rates.wait_s("a", 0.0) > 0
    assert rates.wait_s("b", 0.0) == 0.0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("unix", "unix"),
    ],
)
def test_what_one_caller_can_bring_is_one_source(address: str, source: str) -> None:
    assert source_of(address) == source
