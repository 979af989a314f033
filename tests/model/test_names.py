import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.names import NamePattern, PartPattern, parse_pattern, spell, split

part = st.text(min_size=1, max_size=12).filter(lambda text: "\x00" not in text)
alphabet = st.text(alphabet='ab_.*"?', min_size=1, max_size=6)


@given(st.lists(part, min_size=1, max_size=4))
def test_every_name_reads_back_as_itself(parts: list[str]) -> None:
    assert split(spell(*parts)) == tuple(parts)


@given(st.lists(alphabet, min_size=1, max_size=3), st.lists(alphabet, min_size=1, max_size=3))
def test_two_names_are_never_spelled_alike(one: list[str], other: list[str]) -> None:
    assert (spell(*one) == spell(*other)) == (one == other)


@given(st.lists(alphabet, min_size=1, max_size=3))
def test_a_spelled_name_as_a_pattern_matches_itself_alone(parts: list[str]) -> None:
    pattern = parse_pattern(spell(*parts))
    assert pattern.matches(tuple(parts))
    assert not pattern.matches((*parts[:-1], parts[-1] + "x"))


@given(st.text(max_size=20))
def test_splitting_raises_nothing_but_value_error(text: str) -> None:
    try:
        split(text)
    except ValueError:
        return


@pytest.mark.parametrize("bad", [".a", "a.", "a..b", '"a', 'a"b', '"a"b', '""', ".", '"a"."'])
def test_names_that_do_not_add_up_are_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        split(bad)
    with pytest.raises(ValueError):
        parse_pattern(bad)


@pytest.mark.parametrize(
    ("pattern", "name", "sure", "possible"),
    [
        ("*", ("a", "b"), True, True),
        ("*", (None, "b"), True, True),
        ("*", (), True, True),
        ("*.*", (None, "b"), True, True),
        ("*.b", (None, "b"), True, True),
        ("a.b", (None, "b"), False, True),
        ("a.b", (None, "c"), False, False),
        ("a.*", (None, "b"), False, True),
        ("a.b", ("a", None), False, True),
        ("a.*", ("a", None), True, True),
        ("a.b*", ("a", "bcd"), True, True),
        ("a.*d", ("a", "bcd"), True, True),
        ("a.b*d", ("a", "bd"), True, True),
        ("a.bb*bb", ("a", "bbb"), False, False),
        ("a.*c*", ("a", "bcd"), True, True),
        ("a.*", ("a", "b", "c"), False, False),
        ("*.*", ("a",), False, False),
        ('"*".b', ("a", "b"), False, False),
        ('"*".b', ("*", "b"), True, True),
    ],
)
def test_matching(pattern: str, name: tuple[str | None, ...], sure: bool, possible: bool) -> None:
    parsed = parse_pattern(pattern)
    assert parsed.matches(name) is sure
    assert parsed.may_match(name) is possible


@given(alphabet, alphabet, alphabet)
def test_covering_means_matching_all_of_it(wide: str, narrow: str, name: str) -> None:
    try:
        one, other = parse_pattern(wide), parse_pattern(narrow)
        parts = split(name)
    except ValueError:
        return
    if one.covers(other) and other.matches(parts):
        assert one.matches(parts)
    if one.matches(parts):
        assert one.may_match(parts)


def test_a_hostile_name_costs_no_backtracking() -> None:
    pattern = PartPattern(("", "a", "a", "a", "a", "b", ""))
    assert not pattern.matches("a" * 200_000)


def test_stars_are_capped() -> None:
    with pytest.raises(ValueError, match="stars"):
        parse_pattern("*".join("abcdefghijkl"))
    with pytest.raises(ValueError, match="two stars"):
        parse_pattern("a**b")


@given(st.lists(alphabet, min_size=1, max_size=3))
def test_patterns_print_as_they_are_read(parts: list[str]) -> None:
    pattern = NamePattern(tuple(PartPattern((p,)) for p in parts))
    assert parse_pattern(str(pattern)) == pattern
