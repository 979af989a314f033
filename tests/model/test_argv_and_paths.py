"""Commands and paths as names: the spelling reads back, whatever is in it."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.argv import spell_argv, split_argv
from taskgate.model.names import MANY, Guarded, NamePattern, PartPattern
from taskgate.model.paths import plain_path, split_path

WORD = st.one_of(
    st.none(), st.text(), st.text().map(Guarded), st.sampled_from(["?", "$x", "'", ""])
)


@given(st.lists(WORD))
def test_the_spelling_of_a_command_reads_back(words: list[str | None]) -> None:
    read = split_argv(spell_argv(words))
    assert list(read) == words
    assert [isinstance(word, Guarded) for word in read] == [isinstance(w, Guarded) for w in words]


@given(st.lists(st.text()))
def test_plain_words_are_spelled_as_a_shell_does(words: list[str]) -> None:
    assert shlex.split(spell_argv(words)) == words


@pytest.mark.parametrize("text", ["'", "a 'b", 'x"', "a  b", "a\tb", " a"])
def test_what_is_no_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_argv(text)


@pytest.mark.parametrize(
    ("path", "plain", "parts"),
    [
        ("/", "/", ("/",)),
        ("/srv/app", "/srv/app", ("/", "srv", "app")),
        ("//srv/./app//", "/srv/app", ("/", "srv", "app")),
        ("/a b/*", "/a b/*", ("/", "a b", "*")),
        ("/...", "/...", ("/", "...")),
    ],
)
def test_paths(path: str, plain: str, parts: tuple[str, ...]) -> None:
    assert plain_path(path) == plain
    assert split_path(plain) == parts


@pytest.mark.parametrize("path", ["", "srv", "./x", "~/x", "/srv/../etc", "/..", "/a\0b"])
def test_what_is_no_plain_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        plain_path(path)
    with pytest.raises(ValueError):
        split_path(path)


def _naive(pattern: list[PartPattern], name: list[str]) -> bool:
    if not pattern:
        return not name
    first, *rest = pattern
    if first.many:
        return any(_naive(rest, name[at:]) for at in range(len(name) + 1))
    return bool(name) and first.matches(name[0]) and _naive(rest, name[1:])


PARTS = st.lists(
    st.sampled_from([MANY, PartPattern(("a",)), PartPattern(("b",)), PartPattern(("", ""))]),
    min_size=1, max_size=5,
)  # fmt: skip


@given(PARTS, st.lists(st.sampled_from("ab"), max_size=6))
def test_two_stars_match_any_number_of_parts(pattern: list[PartPattern], name: list[str]) -> None:
    made = NamePattern(tuple(pattern))
    assert made.matches(tuple(name)) == _naive(pattern, name) == made.may_match(tuple(name))


@given(PARTS, PARTS, st.lists(st.sampled_from("ab"), max_size=6))
def test_a_covering_pattern_matches_all_that_the_other_does(
    wide: list[PartPattern], narrow: list[PartPattern], name: list[str]
) -> None:
    one, other = NamePattern(tuple(wide)), NamePattern(tuple(narrow))
    if one.covers(other) and other.matches(tuple(name)):
        assert one.matches(tuple(name))


def test_a_hostile_name_costs_no_more_than_parts_times_parts() -> None:
    pattern = NamePattern((PartPattern(("a",)), *(MANY, PartPattern(("a",))) * 20))
    assert not pattern.matches(("a",) * 5_000 + ("b",))


def test_no_wildcard_permits_a_guarded_part_and_any_may_deny_it() -> None:
    name = ("sh", "-c", Guarded("rm -rf /"))
    many = NamePattern((PartPattern(("sh",)), MANY))
    star = NamePattern(tuple(map(PartPattern, (("sh",), ("-c",), ("", "")))))
    literal = NamePattern(tuple(map(PartPattern, (("sh",), ("-c",), ("rm -rf /",)))))
    assert [p.matches(name) for p in (many, star, literal)] == [False, False, True]
    assert all(pattern.may_match(name) for pattern in (many, star, literal))
