"""Broken and mutated SQL: read or refused, never a crash, never half understood in silence."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model.errors import Unreadable
from taskgate.model.names import split
from taskgate.sql.analyse import StatementFacts
from tests.sql.random_queries import random_query
from tests.sql.test_lineage import CASES as LINEAGE
from tests.sql.test_select import CASES as SELECTS
from tests.sql.test_statements import CASES as STATEMENTS
from tests.sql.test_writes import CASES as WRITES
from tests.sql.world import analysed

SEEDS = [case[0] for case in (*SELECTS, *WRITES, *STATEMENTS)] + [case[0] for case in LINEAGE]
PIECES = [
    "select", "from", "where", "(", ")", ",", ";", "*", ".", "'", '"', "--", "/*", "*/", "$$", "::",
    "[", "]", "with", "recursive", "lateral", "union", "as", "t", "sales.customers", "email", "old",
    "excluded", "returning", "on", "using", "order by", "group by", "over", "filter", "null", "$1",
    "1", "case", "when", "end", "not", "and", "in", "exists", "any", "array", "row", "values",
    "insert into", "update", "delete from", "set", "explain", "prepare p as", "execute p", "copy",
    "app.get_email(", "count(*)", "===", "collate", "at time zone", "for update", "limit",
]  # fmt: skip


def _sound(facts: StatementFacts) -> None:
    """What must hold of any facts at all."""
    for action in facts.actions:
        split(action.object)
        assert action.verb == action.verb.lower()
        assert action.complete or facts.unclear
    if facts.unclear:
        assert any(not a.complete for a in facts.actions)
    vias = {a.via for a in facts.actions if a.via}
    assert vias <= {a.object for a in facts.actions}
    for one in facts.outputs or ():
        assert one.sources is not None or not one.plain


def _read(text: str) -> None:
    try:
        found = analysed(text)
    except Unreadable:
        return
    for facts in found.statements:
        _sound(facts)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_statements(text: str, data: st.DataObject) -> None:
    words = text.split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words)))
        kind = data.draw(st.integers(0, 3))
        if kind == 0:
            words.insert(at, data.draw(st.sampled_from(PIECES)))
        elif kind == 1 and words:
            del words[min(at, len(words) - 1)]
        elif kind == 2 and words:
            words[min(at, len(words) - 1)] = data.draw(st.sampled_from(PIECES))
        elif words:
            other = data.draw(st.sampled_from(SEEDS)).split(" ")
            cut = data.draw(st.integers(0, len(other)))
            words[at:] = other[cut:]
    _read(" ".join(words))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_strings_of_pieces(words: list[str]) -> None:
    _read(" ".join(words))


def test_random_queries_are_understood_whole() -> None:
    for seed in range(400):
        text = random_query(seed)
        for facts in analysed(text).statements:
            _sound(facts)
            assert not facts.unclear, text


def test_characters_knocked_out_of_random_queries() -> None:
    random = Random(3)
    for seed in range(200):
        characters = list(random_query(seed))
        for _ in range(3):
            characters[random.randrange(len(characters))] = random.choice("()'\"\\,;*$. \0é")
        _read("".join(characters))


@pytest.mark.parametrize("text", SEEDS)
def test_each_seed_is_sound(text: str) -> None:
    _read(text)
