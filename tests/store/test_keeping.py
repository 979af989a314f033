"""The store's sessions, secrets and policy versions."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from taskgate.model.errors import Unreadable
from taskgate.model.grant import SessionInfo
from taskgate.model.secret import SealedSecret
from taskgate.model.token import PolicyVersion
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import ANN, DAN, NOW, add_grant

SEALED = SealedSecret("db", b"\0\1", b"n" * 12, b"w", b"m" * 12, "k1", NOW, "local:root")


async def session(store: Store, name: str, at: float, **changes: object) -> SessionInfo:
    grant = await add_grant(store)
    made = SessionInfo(
        name, grant.id, ANN, grant.task, "warehouse", "postgres", "10.0.0.1:5", "psql", NOW + at
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    await store.sessions.add(made, "node-1")
    return made


async def test_a_session_comes_back_and_ends_once(store: Store) -> None:
    made = await session(store, "s1", 0)
    assert await store.sessions.get("s1") == made
    assert await store.sessions.get("s2") is None
    await store.sessions.end("s1", NOW + 5, "the client left")
    await store.sessions.end("s1", NOW + 9, "again")
    ended = replace(made, ended_at=NOW + 5, ended_why="the client left")
    assert await store.sessions.get("s1") == ended


async def test_what_a_client_calls_itself_cannot_keep_the_session_out(store: Store) -> None:
    await session(store, "s1", 0, client_application="a\0b\ud800")
    found = await store.sessions.get("s1")
    assert found is not None
    assert found.client_application == "a\ufffdb?"


async def test_sessions_are_found_by_person_task_and_life(store: Store) -> None:
    first, second = await session(store, "s1", 0), await session(store, "s2", 1, task="other")
    assert await store.sessions.find() == (second, first)
    assert await store.sessions.find(task="other") == (second,)
    assert await store.sessions.find(person=ANN.key, limit=1) == (second,)
    assert await store.sessions.find(person=DAN.key) == ()
    await store.sessions.end("s1", NOW + 2, "")
    assert await store.sessions.find(live=True) == (second,)
    assert [one.id for one in await store.sessions.find(live=False)] == ["s1"]


async def test_a_dead_node_s_sessions_are_ended(store: Store) -> None:
    await session(store, "s1", 0)
    assert await store.sessions.end_node("node-2", NOW, "died") == ()
    assert await store.sessions.end_node("node-1", NOW, "died") == ("s1",)
    assert await store.sessions.end_node("node-1", NOW, "died") == ()


async def test_secrets_are_replaced_listed_and_removed(store: Store) -> None:
    await store.secrets.put(SEALED)
    assert await store.secrets.get("db") == SEALED
    changed = replace(SEALED, ciphertext=b"\xff", set_at=NOW + 1)
    await store.secrets.put(changed)
    assert await store.secrets.list() == (changed,)
    assert await store.secrets.remove("db")
    assert not await store.secrets.remove("db")
    assert await store.secrets.get("db") is None


async def test_rewrapping_is_all_or_nothing(store: Store) -> None:
    other = replace(SEALED, name="other")
    for one in (SEALED, other):
        await store.secrets.put(one)
    moved = [(one, replace(one, key_id="k2", wrap_nonce=b"x" * 12)) for one in (SEALED, other)]
    changed = replace(other, wrap_nonce=b"z" * 12)
    await store.secrets.put(changed)
    assert not await store.secrets.rewrap(moved)
    assert await store.secrets.list() == (SEALED, changed)
    await store.secrets.put(other)
    assert await store.secrets.rewrap(moved)
    assert await store.secrets.list() == tuple(new for _, new in moved)


def version(name: str, at: float) -> PolicyVersion:
    return PolicyVersion(name, {"a.yaml": f"kind: {name}\0é"}, NOW + at, "local:root", "why")


async def test_the_policy_applied_last_counts_also_an_old_one(store: Store) -> None:
    assert await store.policies.current() is None
    first, second = version("v1", 0), version("v2", 1)
    for one in (first, second):
        await store.policies.apply(one)
    assert await store.policies.current() == second
    back = replace(first, applied_at=NOW - 5)
    await store.policies.apply(back)
    assert await store.policies.current() == back
    assert await store.policies.get("v2") == second
    assert await store.policies.get("v3") is None
    history = await store.policies.history(2)
    assert [(one.version, one.files) for one in history] == [("v1", {}), ("v2", {})]


async def test_policies_applied_at_once_are_all_kept_in_one_order(place: Place) -> None:
    async with place.open() as first, place.open() as second:
        await asyncio.gather(
            *((first, second)[at % 2].policies.apply(version(f"v{at % 3}", at)) for at in range(12))
        )
        history = await first.policies.history(100)
        assert len(history) == 12
        current = await second.policies.current()
        assert current is not None
        assert current.version == history[0].version


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_odd_text_in_a_question_is_an_error_of_its_own(store: Store, text: str) -> None:
    # SQLite takes a NUL and finds nothing; nobody is told that the store is down.
    with suppress(Unreadable):
        assert await store.sessions.get(text) is None
