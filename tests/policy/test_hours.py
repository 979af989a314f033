from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.policy.hours import Hours, closes_at, open_at, opens_at, parse_hours

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


@dataclass(frozen=True)
class Timed:
    hours: Hours | None


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return moment.timestamp()


def timed(*lines: str) -> Timed:
    return Timed(parse_hours(list(lines)))


@pytest.mark.parametrize(
    ("line", "when", "is_open"),
    [
        ("Mon-Fri 08:00-19:00 Europe/Berlin", "2025-06-02T07:59:59", False),
        ("Mon-Fri 08:00-19:00 Europe/Berlin", "2025-06-02T08:00", True),
        ("Mon-Fri 08:00-19:00 Europe/Berlin", "2025-06-06T18:59:59", True),
        ("Mon-Fri 08:00-19:00 Europe/Berlin", "2025-06-06T19:00", False),
        ("Mon-Fri 08:00-19:00 Europe/Berlin", "2025-06-07T12:00", False),
        ("Fri 22:00-06:00 Europe/Berlin", "2025-06-06T23:00", True),
        ("Fri 22:00-06:00 Europe/Berlin", "2025-06-07T05:59", True),
        ("Fri 22:00-06:00 Europe/Berlin", "2025-06-07T06:00", False),
        ("Fri 22:00-06:00 Europe/Berlin", "2025-06-06T05:00", False),
        ("Fri 22:00-06:00 Europe/Berlin", "2025-06-07T23:00", False),
        ("22:00-06:00 Europe/Berlin", "2025-06-03T05:00", True),
        ("Sat-Sun Europe/Berlin", "2025-06-07T00:00", True),
        ("Sat-Sun Europe/Berlin", "2025-06-09T00:00", False),
        ("Fri-Mon 08:00-09:00 Europe/Berlin", "2025-06-08T08:30", True),
        ("Fri-Mon 08:00-09:00 Europe/Berlin", "2025-06-10T08:30", False),
        ("Mon,Wed 08:00-12:00,13:00-17:00 Europe/Berlin", "2025-06-04T12:30", False),
        ("Mon,Wed 08:00-12:00,13:00-17:00 Europe/Berlin", "2025-06-04T13:30", True),
        ("Mon,Wed 08:00-12:00,13:00-17:00 Europe/Berlin", "2025-06-03T13:30", False),
        ("mon-fri 00:00-24:00 Europe/Berlin", "2025-06-06T23:59:59", True),
    ],
)
def test_a_week_in_berlin(line: str, when: str, is_open: bool) -> None:
    assert open_at(timed(line), at(when, BERLIN)) is is_open


def test_without_a_zone_it_is_utc() -> None:
    assert open_at(timed("08:00-09:00"), at("2025-06-02T08:30"))
    assert not open_at(timed("08:00-09:00"), at("2025-06-02T08:30", BERLIN))


def test_no_hours_are_always_open_and_never_close() -> None:
    always = Timed(None)
    assert open_at(always, 0)
    assert closes_at(always, 0) is None
    assert opens_at(always, 5) == 5


def test_when_it_closes_and_opens() -> None:
    week = timed("Mon-Fri 08:00-19:00 Europe/Berlin")
    monday = at("2025-06-02T10:00", BERLIN)
    assert closes_at(week, monday) == at("2025-06-02T19:00", BERLIN)
    saturday = at("2025-06-07T10:00", BERLIN)
    assert closes_at(week, saturday) == saturday
    assert opens_at(week, saturday) == at("2025-06-09T08:00", BERLIN)
    assert opens_at(week, monday) == monday


def test_windows_that_touch_are_one() -> None:
    days = timed("Mon Europe/Berlin", "Tue 00:00-06:00 Europe/Berlin")
    assert closes_at(days, at("2025-06-02T10:00", BERLIN)) == at("2025-06-03T06:00", BERLIN)
    round_the_clock = timed("08:00-20:00 Europe/Berlin", "20:00-08:00 Europe/Berlin")
    assert closes_at(round_the_clock, at("2025-06-02T10:00", BERLIN)) is None


def test_a_week_with_a_five_minute_gap_closes() -> None:
    nearly = timed("Mon-Sat", "Sun 00:00-23:55")
    just_open = at("2025-06-09T00:00")
    assert closes_at(nearly, just_open) == at("2025-06-15T23:55")


def test_a_week_that_the_clock_makes_longer_closes_too() -> None:
    nearly = timed("Mon-Sat Europe/Berlin", "Sun 00:05-24:00 Europe/Berlin")
    just_open = at("2025-10-26T00:05", BERLIN)
    closes = closes_at(nearly, just_open)
    assert closes == at("2025-11-02T00:00", BERLIN)
    assert closes - just_open > 7 * 86_400


# Clock changes. Berlin 2025: 30 March 02:00 -> 03:00, 26 October 03:00 -> 02:00.
# New York 2025: 9 March 02:00 -> 03:00, 2 November 02:00 -> 01:00.


@pytest.mark.parametrize(("zone", "spring"), [(BERLIN, "2025-03-30"), (NEW_YORK, "2025-03-09")])
def test_a_start_that_is_skipped_is_the_change_itself(zone: str, spring: str) -> None:
    night = timed(f"02:30-05:00 {zone}")
    change = at(f"{spring}T03:00", zone)
    assert not open_at(night, change - 1)
    assert open_at(night, change)
    assert closes_at(night, change) == at(f"{spring}T05:00", zone)


@pytest.mark.parametrize(("zone", "spring"), [(BERLIN, "2025-03-30"), (NEW_YORK, "2025-03-09")])
def test_an_end_that_is_skipped_is_the_change_itself(zone: str, spring: str) -> None:
    night = timed(f"00:30-02:30 {zone}")
    assert closes_at(night, at(f"{spring}T01:00", zone)) == at(f"{spring}T03:00", zone)
    assert not open_at(night, at(f"{spring}T03:00", zone))


@pytest.mark.parametrize(("zone", "spring"), [(BERLIN, "2025-03-30"), (NEW_YORK, "2025-03-09")])
def test_a_window_inside_the_skipped_hour_does_not_open(zone: str, spring: str) -> None:
    night = timed(f"02:10-02:50 {zone}")
    start = at(f"{spring}T00:00", zone)
    assert not any(open_at(night, start + 60 * minute) for minute in range(23 * 60))


def test_a_start_that_happens_twice_is_the_second() -> None:
    night = timed("02:30-05:00 Europe/Berlin")
    assert not open_at(night, at("2025-10-26T02:45", BERLIN, fold=0))
    assert not open_at(night, at("2025-10-26T02:15", BERLIN, fold=1))
    assert open_at(night, at("2025-10-26T02:30", BERLIN, fold=1))


def test_an_end_that_happens_twice_is_the_first() -> None:
    night = timed("Sat 22:00-02:30 Europe/Berlin")
    assert closes_at(night, at("2025-10-25T23:00", BERLIN)) == at("2025-10-26T02:30", BERLIN, 0)
    assert not open_at(night, at("2025-10-26T02:15", BERLIN, fold=1))


def test_a_window_inside_the_repeated_hour_is_open_the_first_time() -> None:
    night = timed("01:10-01:50 America/New_York")
    assert open_at(night, at("2025-11-02T01:30", NEW_YORK, fold=0))
    assert not open_at(night, at("2025-11-02T01:30", NEW_YORK, fold=1))


def test_the_length_of_a_night_follows_the_clock() -> None:
    night = timed("22:00-06:00 Europe/Berlin")
    for day, hours in (("2025-03-29", 7), ("2025-10-25", 9), ("2025-06-02", 8)):
        start = at(f"{day}T22:00", BERLIN)
        assert closes_at(night, start) == start + hours * 3600


@pytest.mark.parametrize(
    ("zone", "offset_minutes"),
    [("Asia/Kolkata", 330), ("Asia/Kathmandu", 345), ("Australia/Adelaide", 570)],
)
def test_zones_off_the_hour(zone: str, offset_minutes: int) -> None:
    day = timed(f"09:00-10:00 {zone}")
    opens = at("2025-06-02T09:00") - 60 * offset_minutes
    assert not open_at(day, opens - 1)
    assert open_at(day, opens)
    assert not open_at(day, opens + 3600)


def test_lord_howe_shifts_by_half_an_hour() -> None:
    # 5 October 2025, 02:00 -> 02:30.
    night = timed("02:10-04:00 Australia/Lord_Howe")
    change = at("2025-10-05T02:30", "Australia/Lord_Howe")
    assert not open_at(night, change - 1)
    assert open_at(night, change)


@settings(max_examples=200)
@given(
    st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo"]),
    st.integers(0, 24 * 60 - 1),
    st.integers(1, 24 * 60),
    st.integers(0, 6),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_open_only_when_the_clock_on_the_wall_says_so(
    zone: str, start: int, end: int, day: int, now: int
) -> None:
    if start == end:
        return
    name = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day]
    spelled = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    hours = timed(f"{name} {spelled} {zone}")
    wall = datetime.fromtimestamp(now, ZoneInfo(zone))
    minute = wall.hour * 60 + wall.minute
    today = wall.weekday() == day
    yesterday = (wall - timedelta(days=1)).weekday() == day
    if start < end:
        shown = today and start <= minute < end
    else:
        shown = (today and minute >= start) or (yesterday and minute < end)
    if open_at(hours, now):
        closes = closes_at(hours, now)
        assert closes is not None
        assert closes > now
        assert not open_at(hours, closes)
        # Inside a repeated hour the wall can show a time past the range's written end or start.
        repeated = wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset()
        assert shown or repeated
    else:
        assert closes_at(hours, now) == now
        opens = opens_at(hours, now)
        assert opens is None or (opens > now and open_at(hours, opens))


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_clock_that_cannot_be_read_opens_nothing(now: float) -> None:
    assert not open_at(timed("Mon-Sun 00:00-24:00 UTC"), now)
    assert opens_at(timed("08:00-09:00"), now) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "not understood"),
        ("Europe/Berlin", "not understood"),
        ("8:00-9:00", "write 08:00-19:00"),
        ("08:00", "write 08:00-19:00"),
        ("08:00-08:00", "never opens"),
        ("24:00-06:00", "no time of day"),
        ("08:00-24:01", "no time of day"),
        ("08:60-09:00", "no time of day"),
        ("Mo-Fr 08:00-09:00", "did you mean Mon?"),
        ("Weekdays 08:00-09:00", "is no day"),
        ("Mon- 08:00-09:00", "is no day"),
        ("08:00-09:00 Europe/Berln", "did you mean Europe/Berlin?"),
        ("08:00-09:00 europe/berlin", "did you mean Europe/Berlin?"),
        ("08:00-09:00 CEST", "is no time zone"),
        ("08:00-09:00 localtime", "is no time zone"),
        ("08:00-09:00 ../../etc/passwd", "is no time zone"),
        ("Mon-Fri 08:00-09:00 Europe/Berlin please", "not understood"),
        ("٠٨:٠٠-٠٩:٠٠", "write 08:00-19:00"),
    ],
)
def test_hours_that_cannot_be_meant(line: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_hours([line])
    assert said in str(caught.value)


def test_repeated_and_missing_hours_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats"):
        parse_hours(["08:00-09:00 UTC", "08:00-09:00"])
    with pytest.raises(ValueError, match="never open"):
        parse_hours([])
