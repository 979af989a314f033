"""The search index: exactly what `model.audit.matches` says, on both databases."""

from dataclasses import replace

import pytest

from taskgate.model import limits
from taskgate.model.audit import AuditEntry, AuditQuery, matches
from taskgate.store.open import Store
from tests.store.samples import NOW

ENTRIES = (
    AuditEntry(
        "s1", 1, 0, NOW, "request.permitted", "local:ann", (), "report", "warehouse", 1,
        "select", "sales.customers", "table", ("id", "email"), (), "", ("email",), 3, 2, "permit",
        text="SELECT id, email FROM Customers",
    ),
    AuditEntry(
        "s1", 1, 1, NOW, "request.permitted", "local:ann", (), "report", "warehouse", 1,
        "select", "sales.orders", "table", None, ("email",), "sales.v", (), 3, 0, "permit",
        text="SELECT id, email FROM Customers",
    ),
    AuditEntry(
        "s2", 7, 0, NOW + 10, "request.denied", "https://idp/x:bot", ("local:ann", "local:bob"),
        "Fix_It", "warehouse", 4, "drop", "sales.orders_2", "table", None, (), "", (), None, 0,
        "deny", "fix/deny[0]", text="drop table orders_2 -- 100%",
    ),
    AuditEntry("g", 3, 0, NOW + 20, "login", "local:BOB", verb="login", text="a\0b\ud800É|x"),
)  # fmt: skip

QUERIES = (
    AuditQuery(),
    AuditQuery(who="ann"),
    AuditQuery(who="local:ann"),
    AuditQuery(who="an"),
    AuditQuery(who="bob"),
    AuditQuery(who="bot"),
    AuditQuery(who="x:bot"),
    AuditQuery(task="REPORT"),
    AuditQuery(task="fix_it"),
    AuditQuery(task="fixxit"),
    AuditQuery(resource="warehouse", verb="SELECT"),
    AuditQuery(session="s2"),
    AuditQuery(object="customers.email"),
    AuditQuery(object="sales.customers.email"),
    AuditQuery(object="orders.email"),
    AuditQuery(object="orders.whatever"),
    AuditQuery(object="customers.phone"),
    AuditQuery(object="orders"),
    AuditQuery(object='"sales".orders_2'),
    AuditQuery(object="sales"),
    AuditQuery(object="   "),
    AuditQuery(kind="EMAIL"),
    AuditQuery(kind="mail"),
    AuditQuery(outcomes=("permit", "approved")),
    AuditQuery(outcomes=("deny",), since=NOW),
    AuditQuery(since=NOW + 10),
    AuditQuery(until=NOW + 10),
    AuditQuery(since=NOW, until=NOW),
    AuditQuery(text="email from CUST"),
    AuditQuery(text="100%"),
    AuditQuery(text="%"),
    AuditQuery(text="_"),
    AuditQuery(text="\\"),
    AuditQuery(text="é"),
    AuditQuery(text="a\0b"),
    AuditQuery(text="\ud800"),
    AuditQuery(text="select" + "x" * 100_000),
    AuditQuery(who="|"),
    AuditQuery(kind="|"),
    AuditQuery(limit=2),
    AuditQuery(limit=0),
)


def expected(query: AuditQuery) -> tuple[AuditEntry, ...]:
    found = sorted(
        (one for one in ENTRIES if matches(one, query)),
        key=lambda one: (-one.at, one.session, -one.sequence, one.position),
    )
    return tuple(found[: query.limit])


async def test_a_search_finds_what_the_model_says(store: Store) -> None:
    await store.audit.add(ENTRIES)
    for query in QUERIES:
        assert await store.audit.search(query) == expected(query), query


async def test_feeding_twice_changes_nothing_and_a_later_entry_replaces(store: Store) -> None:
    await store.audit.add(ENTRIES)
    await store.audit.add(ENTRIES)
    assert len(await store.audit.search(AuditQuery())) == len(ENTRIES)
    ended = replace(ENTRIES[0], rows=99, outcome="approved", kinds=("phone",))
    await store.audit.add((ended,))
    assert await store.audit.search(AuditQuery(kind="phone")) == (ended,)
    assert ENTRIES[0] not in await store.audit.search(AuditQuery())


async def test_clearing_leaves_nothing(store: Store) -> None:
    await store.audit.add(())
    await store.audit.add(ENTRIES)
    await store.audit.clear()
    assert await store.audit.search(AuditQuery()) == ()


@pytest.mark.parametrize("length", [3_000, 200_000])
async def test_names_and_statements_of_any_length_are_kept(store: Store, length: int) -> None:
    # A PostgreSQL index takes rows of some 2,700 bytes; what clients name must not meet one.
    long = replace(ENTRIES[0], object="s." + "t" * length, text="x" * length)
    await store.audit.add((long,))
    assert await store.audit.search(AuditQuery(object=long.object)) == (long,)


@pytest.mark.cap("MAX_SEARCH_RESULTS")
async def test_a_search_gives_so_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.audit.add(ENTRIES)
    monkeypatch.setattr(limits, "MAX_SEARCH_RESULTS", 2)
    assert len(await store.audit.search(AuditQuery(limit=2))) == 2
    assert len(await store.audit.search(AuditQuery(limit=3))) == 2
