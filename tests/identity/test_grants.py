"""Requesting, checking and ending grants."""

import asyncio
import itertools
import math
import time
from dataclasses import replace

import pytest

from taskgate.identity.tokens import TokenKind, new_token
from taskgate.model import limits
from taskgate.model.account import User
from taskgate.model.errors import (
    BadConfig,
    Denied,
    NotAuthenticated,
    NotFound,
    OverLimit,
    StoreUnavailable,
)
from taskgate.model.identity import Identity
from taskgate.model.token import GrantSelector
from taskgate.store.following import LoopRevocations, SqliteRevocations
from tests.identity.around import Node, node
from tests.patience import PATIENCE_S, eventually, within
from tests.store.places import Place
from tests.store.samples import ANN, DAN, NOW

WHY = "the weekly report"


async def test_a_grant_is_for_the_task_s_resources_and_its_default_time(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", f"  {WHY} ")
    grant = issued.grant
    assert (grant.task, grant.reason, grant.identity) == ("sales-report", WHY, ANN)
    assert grant.resources == ("warehouse", "archive")
    assert (grant.not_before, grant.expires_at) == (NOW, NOW + 3600)
    assert issued.token not in repr(issued)
    for resource in grant.resources:
        assert await here.grants.check(issued.token, "sales-report", resource) == grant


async def test_a_grant_may_be_asked_narrower_and_longer(here: Node) -> None:
    issued = await here.grants.request(
        ANN, "sales-report", WHY, resource="archive", lasts_s=4 * 3600
    )
    assert issued.grant.expires_at == NOW + 4 * 3600
    assert await here.grants.check(issued.token, "sales-report", "archive") == issued.grant
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")


@pytest.mark.parametrize("lasts_s", [0, -1, 4 * 3600 + 0.001, math.nan, math.inf, -math.inf])
async def test_no_grant_lasts_longer_than_the_task_says(here: Node, lasts_s: float) -> None:
    with pytest.raises(Denied, match="cannot be taken up for"):
        await here.grants.request(ANN, "sales-report", WHY, lasts_s=lasts_s)


@pytest.mark.parametrize("reason", ["", "  \n\t ", "x" * 1001, "a\x1b[2Jb", "a\0b", "a\u202eb"])
async def test_a_reason_is_needed_and_is_words(here: Node, reason: str) -> None:
    with pytest.raises(BadConfig):
        await here.grants.request(ANN, "sales-report", reason)


async def test_whoever_may_not_take_it_up_does_not_learn_whether_it_is_there(here: Node) -> None:
    told = []
    for task in ("sales-report", "no-such-task"):
        with pytest.raises(Denied) as caught:
            await here.grants.request(DAN, task, WHY)
        told.append(caught.value.message.replace(task, "X") + caught.value.hint)
    assert told[0] == told[1]


async def test_a_resource_of_another_task_is_refused(here: Node) -> None:
    with pytest.raises(Denied, match="does not reach"):
        await here.grants.request(ANN, "night-job", WHY, resource="archive")


async def test_a_task_is_taken_up_within_its_hours_only(here: Node) -> None:
    here.clock.pass_s(30 * 60)
    with pytest.raises(Denied, match="is open"):
        await here.grants.request(ANN, "night-job", WHY)


async def test_every_wrong_token_is_refused_in_the_same_words(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY, resource="warehouse")
    other = await here.grants.request(ANN, "night-job", WHY)
    ended = await here.grants.request(ANN, "sales-report", WHY)
    await here.grants.revoke(GrantSelector(grant_id=ended.grant.id), "done")
    login, _ = new_token(TokenKind.LOGIN)
    told = set()
    for token, task, resource in (
        (issued.token, "night-job", "warehouse"),
        (issued.token, "sales-report", "archive"),
        (issued.token, "sales-report", ""),
        (issued.token, "no-such-task", "warehouse"),
        (other.token, "sales-report", "warehouse"),
        (ended.token, "sales-report", "warehouse"),
        (new_token()[0], "sales-report", "warehouse"),
        (login, "sales-report", "warehouse"),
        (issued.token[:-1] + "!", "sales-report", "warehouse"),
        ("", "sales-report", "warehouse"),
        ("\ud800\0", "sales-report", "warehouse"),
        ("x" * 100_000, "sales-report", "warehouse"),
    ):
        with pytest.raises(NotAuthenticated) as caught:
            await here.grants.check(token, task, resource)
        told.add((caught.value.message, caught.value.hint, caught.value.sqlstate))
    assert len(told) == 1


async def test_a_token_counts_until_the_exact_end(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY, lasts_s=10)
    here.clock.pass_s(9.999)
    assert await here.grants.check(issued.token, "sales-report", "warehouse")
    here.clock.pass_s(0.001)
    await here.catch_up()
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")


async def test_each_session_gets_what_remains_and_no_more_than_the_window(here: Node) -> None:
    long = await here.grants.request(ANN, "sales-report", WHY)
    short = await here.grants.request(ANN, "night-job", WHY)
    assert short.grant.expires_at == NOW + 3600
    for passed in (0, 600, 1190):
        assert here.grants.remaining_s(long.grant) == 3600 - passed
        assert here.grants.remaining_s(short.grant) == 1800 - passed
        here.clock.pass_s(600 if passed < 600 else 590)
    # The last second of the window, and the first one after it.
    here.clock.pass_s(1799.5 - 1780)
    await here.catch_up()
    assert await here.grants.check(short.token, "night-job", "warehouse")
    assert 0 < here.grants.remaining_s(short.grant) <= 0.5
    here.clock.pass_s(0.5)
    await here.catch_up()
    assert here.grants.remaining_s(short.grant) == 0
    with pytest.raises(Denied, match="is open"):
        await here.grants.check(short.token, "night-job", "warehouse")


async def test_a_clock_turned_back_gives_no_grant_more_time(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    here.clock.pass_s(3599)
    here.clock.jump_s(-3000)
    assert here.grants.remaining_s(issued.grant) == 1
    here.clock.pass_s(1)
    await here.catch_up()
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    with pytest.raises(Denied):
        here.grants.ensure(issued.grant)


async def test_a_clock_that_jumps_ahead_ends_what_is_over_by_then(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    here.grants.ensure(issued.grant)
    here.clock.jump_s(3600)
    with pytest.raises(Denied, match="expired"):
        here.grants.ensure(issued.grant)


async def test_what_has_lapsed_is_not_revived_by_a_restart_with_a_clock_turned_back(
    place: Place,
) -> None:
    async with node(place) as before:
        issued = await before.grants.request(ANN, "sales-report", WHY)
        before.clock.pass_s(3600)
        await before.grants.lapse()
    async with node(place) as after:
        assert after.clock.now() == NOW
        with pytest.raises(NotAuthenticated):
            await after.grants.check(issued.token, "sales-report", "warehouse")


async def test_more_tokens_are_for_the_holder_alone(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    second = await here.grants.issue_token(ANN, issued.grant.id)
    assert second.token != issued.token
    for token in (issued.token, second.token):
        assert await here.grants.check(token, "sales-report", "warehouse")
    for identity, grant_id in (
        (DAN, issued.grant.id),
        (replace(ANN, issuer="elsewhere"), issued.grant.id),
        (ANN, "g-none"),
    ):
        with pytest.raises(NotFound):
            await here.grants.issue_token(identity, grant_id)
    await here.grants.revoke(GrantSelector(grant_id=issued.grant.id), "done")
    with pytest.raises(NotFound):
        await here.grants.issue_token(ANN, issued.grant.id)
    with pytest.raises(NotAuthenticated):
        await here.grants.check(second.token, "sales-report", "warehouse")


@pytest.mark.cap("MAX_GRANTS_PER_PERSON")
async def test_a_person_holds_so_many_grants(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_GRANTS_PER_PERSON", 2)
    for _ in range(2):
        await here.grants.request(ANN, "sales-report", WHY)
    with pytest.raises(OverLimit):
        await here.grants.request(ANN, "sales-report", WHY)


async def test_a_sign_in_that_was_cut_off_takes_up_nothing(here: Node) -> None:
    await here.grants.cut_off(ANN.key, "left")
    here.clock.pass_s(1)
    with pytest.raises(NotAuthenticated):
        await here.grants.request(ANN, "sales-report", WHY)


async def test_revoking_tells_this_node_before_it_returns_and_once(here: Node) -> None:
    told: list[tuple[frozenset[str], str]] = []
    here.grants.on_end(lambda ids, why: told.append((ids, why)))
    first = await here.grants.request(ANN, "sales-report", WHY)
    second = await here.grants.request(ANN, "night-job", WHY)
    await here.grants.check(first.token, "sales-report", "warehouse")
    ended = await here.grants.revoke(GrantSelector(person=ANN.key), " left ")
    assert told == [(frozenset({first.grant.id, second.grant.id}), "left")]
    assert {one.grant_id for one in ended} == told[0][0]
    with pytest.raises(NotAuthenticated):
        await here.grants.check(first.token, "sales-report", "warehouse")
    with pytest.raises(Denied, match="left"):
        here.grants.ensure(first.grant)
    assert here.grants.remaining_s(first.grant) == 0
    await here.catch_up()
    await asyncio.sleep(limits.REVOCATION_POLL_S * 2)
    assert len(told) == 1


async def test_one_listener_that_fails_keeps_no_other_from_being_told(here: Node) -> None:
    told = []
    here.grants.on_end(lambda _ids, _why: 1 / 0)  # type: ignore[arg-type]
    here.grants.on_end(lambda ids, _why: told.append(ids))
    issued = await here.grants.request(ANN, "sales-report", WHY)
    await here.grants.revoke(GrantSelector(grant_id=issued.grant.id), "x")
    assert told == [{issued.grant.id}]


@pytest.mark.cap("REVOCATION_POLL_S")
@pytest.mark.parametrize("how", ["grant", "person", "task", "disabled", "groups"])
def test_another_node_hears_of_it_in_less_than_a_second(place: Place, how: str) -> None:
    names = itertools.count()
    within(1.0, lambda: asyncio.run(heard_after_s(place, how, f"ann{next(names)}")))


async def heard_after_s(place: Place, how: str, name: str) -> float:
    """How long it takes until a second node hears that somebody's grant has ended."""
    who = replace(ANN, subject=name)
    async with node(place) as here, node(place) as there:
        issued = await here.grants.request(who, "sales-report", WHY)
        assert await there.grants.check(issued.token, "sales-report", "warehouse")
        heard = asyncio.Event()

        def ended(grant_ids: frozenset[str], _why: str) -> None:
            assert grant_ids == {issued.grant.id}
            heard.set()

        there.grants.on_end(ended)
        match how:
            case "grant":
                await here.grants.revoke(GrantSelector(grant_id=issued.grant.id), "x")
            case "person":
                await here.grants.cut_off(who.key, "x")
            case "task":
                await here.grants.revoke(GrantSelector(task="sales-report"), "x")
            case _:
                await here.store.users.add(User(name, "x", frozenset({"analysts"}), NOW))
                if how == "disabled":
                    await here.store.users.set_disabled(name, True, NOW)
                else:
                    await here.store.users.set_groups(name, frozenset(), NOW)
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
        took = time.monotonic() - began
        with pytest.raises(NotAuthenticated):
            await there.grants.check(issued.token, "sales-report", "warehouse")
        with pytest.raises(Denied):
            there.grants.ensure(issued.grant)
        return took


@pytest.mark.cap("TOKEN_CACHE_S")
async def test_a_cached_token_is_not_asked_for_again_and_not_believed_for_ever(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    asked = 0
    by_token = here.store.grants.by_token

    async def counted(token_hash: str) -> object:
        nonlocal asked
        asked += 1
        return await by_token(token_hash)

    monkeypatch.setattr(here.store.grants, "by_token", counted)
    for _ in range(5):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    assert asked == 1
    here.clock.pass_s(limits.TOKEN_CACHE_S + 0.1)
    await here.catch_up()
    await here.grants.check(issued.token, "sales-report", "warehouse")
    assert asked == 2


async def test_a_revocation_while_the_store_is_answering_is_not_overlooked(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    by_token = here.store.grants.by_token

    async def slow(token_hash: str) -> object:
        found = await by_token(token_hash)
        await here.grants.revoke(GrantSelector(grant_id=issued.grant.id), "x")
        return found

    monkeypatch.setattr(here.store.grants, "by_token", slow)
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    monkeypatch.undo()
    with pytest.raises(NotAuthenticated):
        await here.grants.check(issued.token, "sales-report", "warehouse")


@pytest.mark.cap("REVOCATION_BLIND_S")
async def test_a_node_that_hears_nothing_refuses_what_it_cannot_vouch_for(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    await here.grants.check(issued.token, "sales-report", "warehouse")

    async def gone(*_: object) -> None:
        raise StoreUnavailable("gone")

    def unread(*_: object) -> None:
        raise StoreUnavailable("gone")

    for reader in (SqliteRevocations, LoopRevocations):
        monkeypatch.setattr(reader, "after", unread)
    monkeypatch.setattr(here.store.grants, "by_token", gone)
    with pytest.raises(StoreUnavailable):
        await here.grants.poll()
    here.grants.ensure(issued.grant)
    here.clock.pass_s(limits.REVOCATION_BLIND_S + 0.1)
    assert here.grants.blind
    with pytest.raises(StoreUnavailable):
        here.grants.ensure(issued.grant)
    with pytest.raises(StoreUnavailable):
        await here.grants.check(issued.token, "sales-report", "warehouse")
    monkeypatch.undo()
    await asyncio.to_thread(eventually, lambda: not here.grants.blind)
    here.grants.ensure(issued.grant)
    assert await here.grants.check(issued.token, "sales-report", "warehouse")


async def test_the_policy_of_now_counts_for_a_grant_of_before(here: Node) -> None:
    issued = await here.grants.request(ANN, "sales-report", WHY)
    check = (issued.token, "sales-report", "archive")
    here.policies.change("resources: [warehouse, archive]", "resources: [warehouse]")
    with pytest.raises(Denied, match="does not reach"):
        await here.grants.check(*check)
    here.policies.change("resources: [warehouse]", "resources: [warehouse, archive]")
    here.policies.change("groups: [analysts], people: [carl]", "people: [carl]")
    with pytest.raises(Denied, match="may not take up"):
        await here.grants.check(*check)
    here.policies.change("name: sales-report", "name: other-report")
    with pytest.raises(Denied, match="does not reach"):
        await here.grants.check(*check)
    assert here.grants.remaining_s(issued.grant) == 0


async def test_lists_are_of_what_is_live_unless_asked(here: Node) -> None:
    first = await here.grants.request(ANN, "sales-report", WHY)
    second = await here.grants.request(Identity("carl"), "sales-report", WHY)
    await here.grants.revoke(GrantSelector(grant_id=first.grant.id), "x")
    assert await here.grants.list() == (second.grant,)
    everything = await here.grants.list(live=False)
    assert {one.id for one in everything} == {first.grant.id, second.grant.id}
    mine = await here.grants.list(GrantSelector(person=ANN.key), live=False)
    assert [one.revoked_why for one in mine] == ["x"]
    assert await here.grants.get(second.grant.id) == second.grant


@pytest.mark.cap("MAX_CACHED_TOKENS")
async def test_so_many_checked_tokens_are_kept(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CACHED_TOKENS", 2)
    tokens = [(await here.grants.request(ANN, "sales-report", "x")).token for _ in range(3)]
    asked: list[str] = []
    by_token = here.store.grants.by_token

    async def counted(token_hash: str) -> object:
        asked.append(token_hash)
        return await by_token(token_hash)

    monkeypatch.setattr(here.store.grants, "by_token", counted)
    for token in (*tokens[:2], *tokens[:2]):
        await here.grants.check(token, "sales-report", "warehouse")
    assert len(asked) == 2
    for token in (tokens[2], tokens[1], tokens[0]):
        await here.grants.check(token, "sales-report", "warehouse")
    assert len(asked) == 4, "the one used longest ago was asked for again, and no other"
