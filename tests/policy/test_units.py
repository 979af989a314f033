import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.policy.units import parse_duration, parse_size, spell_duration, spell_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("4h", 14400), ("1h30m", 5400), ("2d", 172800), ("500ms", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(spell_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "bad",
    [15, 1.5, True, None, "", "15", "s", "1x", "-1s", "1h1h", "30m1h", "0s", "1,5h", "١s", "9999d"],
)
def test_bad_durations_say_what_to_write(bad: object) -> None:
    with pytest.raises(ValueError, match=r"write|unit|more than nothing"):
        parse_duration(bad)


def test_a_bare_number_is_no_duration() -> None:
    with pytest.raises(ValueError, match="needs its unit: 15s, 15m or 15h"):
        parse_duration(15)


@given(st.integers(1, 10**9))
def test_spelling_a_duration_is_exact_to_a_millisecond(milliseconds: int) -> None:
    assert parse_duration(spell_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("200MB", 200_000_000),
        ("64MiB", 67_108_864),
        ("1 KB", 1000),
        (5, 5),
        ("5", 5),
        ("1gb", 10**9),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(spell_size(size).replace(" bytes", "")) == size


@pytest.mark.parametrize(
    "bad", [0, -1, True, 1.5, "0MB", "MB", "1XB", "-1MB", "", None, "1.5MB", "²"]
)
def test_bad_sizes(bad: object) -> None:
    with pytest.raises(ValueError):
        parse_size(bad)
