"""The catalog: what is remembered, for how long, and what is asked."""

import pytest

from taskgate.model.errors import Unreadable
from taskgate.model.limits import MAX_CACHED_NAMES, RESOLUTION_TTL_S
from taskgate.sql.analyse import Analysis, SessionNames, analyse
from taskgate.sql.catalog import (
    Catalog,
    CatalogAnswer,
    Entry,
    NeededName,
    Relation,
    catalog_query,
    parse_catalog_answer,
)
from taskgate.sql.script import parse_script
from tests.sql.world import answer

T = NeededName("relation", None, "t")
U = NeededName("relation", None, "u")


@pytest.mark.cap("RESOLUTION_TTL_S")
def test_names_are_believed_for_a_while() -> None:
    catalog = Catalog()
    assert catalog.get(T) is None
    catalog.add(answer([T]), now=100.0)
    assert catalog.get(T) is not None
    assert catalog.fresh_until(100.0) == 100.0 + RESOLUTION_TTL_S
    catalog.expire(100.0 + RESOLUTION_TTL_S - 0.01)
    assert catalog.get(T) is not None
    catalog.expire(100.0 + RESOLUTION_TTL_S)
    assert catalog.get(T) is None


def test_the_oldest_entry_counts_for_freshness() -> None:
    catalog = Catalog()
    catalog.add(answer([T]), now=100.0)
    catalog.add(answer([U]), now=103.0)
    assert catalog.fresh_until(103.0) == 100.0 + RESOLUTION_TTL_S
    catalog.add(answer([T]), now=104.0)
    assert catalog.fresh_until(104.0) == 103.0 + RESOLUTION_TTL_S
    catalog.expire(103.0 + RESOLUTION_TTL_S)
    assert catalog.get(U) is None
    assert catalog.get(T) is not None


def test_a_clock_that_jumps_back_expires_all() -> None:
    catalog = Catalog()
    catalog.add(answer([T]), now=100.0)
    catalog.expire(50.0)
    assert catalog.get(T) is None


def test_the_generation_tells_that_a_name_means_something_else() -> None:
    catalog = Catalog()
    catalog.add(answer([T]), now=0.0)
    catalog.add(answer([U]), now=1.0)
    catalog.add(answer([T]), now=2.0)
    assert catalog.generation == 0
    catalog.expire(100.0)
    catalog.add(answer([T]), now=101.0)
    assert catalog.generation == 0
    catalog.add(answer([T], path=("pg_catalog",)), now=102.0)
    assert catalog.generation == 1


def test_digests_cover_meaning_path_and_user() -> None:
    def digest(path: tuple[str, ...] = ("pg_catalog", "public"), user: str = "") -> str:
        catalog = Catalog()
        found = answer([T], path)
        catalog.add(found, now=0.0)
        if user:
            catalog.user = user
        return catalog.digest_of([T])

    assert digest() == digest()
    assert len({digest(), digest(("pg_catalog", "evil")), digest(user="bob")}) == 3


def test_a_changed_relation_changes_the_digest() -> None:
    catalog = Catalog()
    catalog.add(answer([T]), now=0.0)
    before = catalog.digest_of([T])
    old = catalog.get(T)
    assert old is not None
    assert old.relation is not None
    changed = Relation(999, "public", "t", "r", False, old.relation.columns)
    found = answer([])
    catalog.add(
        CatalogAnswer(
            ((T, Entry(relation=changed)),), found.schemas, "public", "", "d", "tester", "tester",
            180000, "UTF8", True,
        ),
        now=1.0,
    )  # fmt: skip
    assert catalog.digest_of([T]) != before
    assert catalog.relation_by_oid(999) == changed
    assert catalog.relation_by_oid(1040) is None


@pytest.mark.cap("MAX_CACHED_NAMES")
def test_the_number_of_names_is_bounded() -> None:
    catalog = Catalog()
    many = [NeededName("function", None, f"f{n}") for n in range(MAX_CACHED_NAMES // 2 + 1)]
    catalog.add(answer(many), now=0.0)
    catalog.add(answer([NeededName("type", None, n.name) for n in many]), now=0.0)
    assert catalog.get(many[0]) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "null", '{"session": {}}', '{"session": 1}', "x"]
)
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_catalog_answer(text)


EVERY_KIND = [
    NeededName("relation", None, "t"),
    NeededName("relation", "app", "people"),
    NeededName("function", None, "lower"),
    NeededName("operator", "public", "==="),
    NeededName("type", None, "text"),
    NeededName("referencing", "sales", "customers"),
]


def test_the_query_is_one_statement_that_names_nothing_unqualified() -> None:
    """The client's search path may hold look-alikes of any table, function, operator or type."""
    script = parse_script(catalog_query(EVERY_KIND))
    assert [s.tag for s in script.statements] == ["SELECT"]
    found = analyse(script, Catalog(), SessionNames())
    assert not isinstance(found, Analysis)
    assert {n.schema for n in found.names} == {"pg_catalog"}


@pytest.mark.parametrize("name", ["a'b", "a\\'b", "a\\", '"', "$x$", "é", "a;b--", "\n", "'; drop"])
def test_names_are_quoted_whatever_they_hold(name: str) -> None:
    script = parse_script(catalog_query([NeededName("relation", name, name)]))
    assert len(script.statements) == 1
    assert len(parse_script("set standard_conforming_strings = on; " + script.text).statements) == 2
