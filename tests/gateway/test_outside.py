"""A provider's token in the place of a grant's: what a task must say before it counts."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskgate.gateway.outside import Direct, Events
from taskgate.identity.grants import Grants
from taskgate.identity.listing import Directory
from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.proof import Proof, ProvenGrants
from taskgate.identity.proven_logins import ProvenLogins
from taskgate.model.errors import Denied, NotAuthenticated, NotRecorded
from taskgate.model.identity import Identity
from taskgate.recording.journal import Journal
from taskgate.store.open import open_store
from tests.identity.around import Policies
from tests.identity.clocks import SteppedClock

POLICY = """
kind: Resource
name: shop
protocol: postgres
address: db:5432
credential: {username: gate}
---
kind: Task
name: open
resource: shop
for: {groups: [analysts]}
direct: true
lasts: {default: 10m, at_most: 20m}
permit: [{select: [shop.orders]}]
---
kind: Task
name: closed
resource: shop
for: {groups: [analysts]}
permit: [{select: [shop.orders]}]
---
kind: Task
name: theirs
resource: shop
for: {groups: [others]}
direct: true
permit: [{select: [shop.orders]}]
"""


class Listed:
    """A directory that adds groups (as SCIM does)."""

    def __init__(self) -> None:
        self.more: frozenset[str] = frozenset()

    async def current(self, identity: Identity) -> Identity:
        return replace(identity, groups=identity.groups | self.more)


class Tokens:
    """Stands for the providers: each text is a token of `ann`'s, good for an hour."""

    def __init__(self, clock: SteppedClock, groups: frozenset[str]) -> None:
        self._until = clock.now() + 3600
        self._groups = groups

    async def prove(self, text: str) -> Proof:
        if text == "forged":
            raise TokenRefused("forged")
        at = self._until - 3600
        return Proof(
            Identity("ann", "corp", groups=self._groups, authenticated_at=at), text, self._until
        )


@dataclass(frozen=True, slots=True)
class Setting:
    direct: Direct
    grants: Grants
    clock: SteppedClock
    listed: Listed
    journal: Journal


@pytest.fixture
async def setting(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Setting]:
    clock, policies, listed = SteppedClock(time.time()), Policies(POLICY), Listed()
    groups: frozenset[str] = getattr(request, "param", frozenset({"analysts"}))
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'db'}") as store:
        grants = Grants(store.grants, policies, clock, cast(Directory, listed))
        journal = Journal(tmp_path / "r", "process", Ed25519PrivateKey.generate(), clock.now)
        async with grants.watching():
            direct = Direct(
                cast(Providers, Tokens(clock, groups)),
                ProvenGrants(grants, store.grants, policies, clock),
                ProvenLogins(store.logins, grants, clock),
                grants,
                policies,
                Events(journal, grants, clock),
            )
            yield Setting(direct, grants, clock, listed, journal)
        journal.close(clock.now())


async def test_it_lasts_as_long_as_the_task_allows_and_no_longer(setting: Setting) -> None:
    grant = await setting.direct.grant("one", "open", "psql\x1b[31m\n" + "x" * 5000)
    assert grant.expires_at - setting.clock.now() == pytest.approx(20 * 60)
    assert grant.reason.startswith("signed in directly: psql")
    assert grant.reason.isprintable()
    assert len(grant.reason) < 300
    assert (await setting.direct.grant("one", "open", "other")).id == grant.id
    setting.clock.pass_s(20 * 60)
    with pytest.raises(NotAuthenticated):
        await setting.direct.grant("one", "open", "psql")


async def test_a_token_in_its_last_minutes_gives_those(setting: Setting) -> None:
    setting.clock.pass_s(3600 - 120)
    grant = await setting.direct.grant("one", "open", "")
    assert grant.expires_at - setting.clock.now() == pytest.approx(120)
    assert grant.reason == "signed in directly"


async def test_a_token_counts_for_the_provider_that_the_user_name_names(setting: Setting) -> None:
    with pytest.raises(TokenRefused) as caught:
        await setting.direct.grant("one", "open", "psql", "other")
    assert "another provider's" in caught.value.why
    assert (await setting.direct.grant("one", "open", "psql", "corp")).task == "open"


async def test_a_task_must_say_direct(setting: Setting) -> None:
    with pytest.raises(Denied) as caught:
        await setting.direct.grant("one", "closed", "psql")
    assert caught.value.rule == "closed/direct"


@pytest.mark.parametrize("setting", [frozenset()], indirect=True)
async def test_groups_of_the_directory_open_no_task_that_does_not_say_direct(
    setting: Setting,
) -> None:
    with pytest.raises(Denied, match="there is no task"):
        await setting.direct.grant("one", "closed", "psql")
    setting.listed.more = frozenset({"analysts"})
    with pytest.raises(Denied) as caught:
        await setting.direct.grant("one", "closed", "psql")
    assert caught.value.rule == "closed/direct"
    assert (await setting.direct.grant("one", "open", "psql")).task == "open"


async def test_anothers_task_is_refused_like_one_that_is_not_there(setting: Setting) -> None:
    said: set[Any] = set()
    for task in ("theirs", "nothing"):
        with pytest.raises(Denied) as caught:
            await setting.direct.grant("one", task, "psql")
        said.add((caught.value.message.replace(task, "T"), caught.value.rule))
    assert len(said) == 1


async def test_cutting_somebody_off_ends_their_tokens_everywhere(setting: Setting) -> None:
    grant = await setting.direct.grant("one", "open", "psql")
    assert (await setting.direct.identify("one", "")).key == "corp:ann"
    await setting.grants.cut_off("corp:ann", "left")
    for token in ("one", "two"):
        with pytest.raises(NotAuthenticated):
            await setting.direct.grant(token, "open", "psql")
        with pytest.raises(NotAuthenticated):
            await setting.direct.identify(token, "")
    kept = await setting.grants.get(grant.id)
    assert kept is not None
    assert kept.revoked_at is not None


async def test_what_cannot_be_recorded_is_not_granted(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotRecorded("the disk is full")

    monkeypatch.setattr(type(setting.journal.gateway_log), "append", refuse)
    with pytest.raises(NotRecorded):
        await setting.direct.grant("one", "open", "psql")
    with pytest.raises(NotRecorded):
        await setting.direct.identify("one", "")
    assert await setting.grants.list() == ()
