"""Verdict: refused. Whoever has left does not come back by another door, name or word."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.identity.listing import Directory
from taskgate.identity.logins import Logins
from taskgate.model.account import User
from taskgate.model.directory import DirectoryGroup, DirectoryUser
from taskgate.model.errors import Conflict, Denied, NotAuthenticated
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.leaving import DIRECTORY, Leaver
from tests.identity.around import Node, node
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import NOW

WHY = "the weekly report"
ANA = Identity("ana@example.com", "corp", groups=frozenset({"analysts"}), authenticated_at=NOW - 1)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Node]:
    async with node(place) as made:
        yield made


def leaver(by: str, *keys: str, users: tuple[str, ...] = ()) -> Leaver:
    return Leaver(frozenset(keys), frozenset(users), by, "left")


async def signs_in(here: Node, identity: Identity) -> None:
    here.clock.pass_s(1)
    fresh = replace(identity, authenticated_at=here.clock.now())
    await Logins(here.store.logins, here.clock).issue(fresh)


@pytest.mark.parametrize("first", [DIRECTORY, "local:hr"])
async def test_whom_people_offboarded_no_directory_lets_in(here: Node, first: str) -> None:
    """A directory that is asked twice, before or after people, opens only what it alone shut."""
    second = "local:hr" if first == DIRECTORY else DIRECTORY
    for by in (first, second):
        await here.store.leaving.offboard(leaver(by, ANA.key), here.clock.now())
    assert not await here.store.leaving.reinstate([ANA.key], only_by=DIRECTORY)
    with pytest.raises(NotAuthenticated):
        await signs_in(here, ANA)
    assert await here.store.leaving.reinstate([ANA.key])
    await signs_in(here, ANA)


SPELLINGS = [
    "Ana@Example.com",
    "ANA@EXAMPLE.COM",
    "\uff41na@example.com",
    "ana@exa\uff4dple.com",
]


@pytest.mark.parametrize("spelled", SPELLINGS, ids=[ascii(one) for one in SPELLINGS])
async def test_under_another_spelling_nobody_comes_back(here: Node, spelled: str) -> None:
    await signs_in(here, ANA)
    other = replace(ANA, subject=spelled)
    await here.store.leaving.offboard(leaver("local:hr", ANA.key), here.clock.now())
    agent = Identity("bot", "agent", IdentityKind.AGENT, acts_for=other)
    for identity in (other, agent):
        with pytest.raises(NotAuthenticated):
            await signs_in(here, identity)
    fresh = replace(other, authenticated_at=here.clock.now() + 1)
    with pytest.raises((NotAuthenticated, Denied)):
        await here.grants.request(fresh, "sales-report", WHY)
    assert await here.store.leaving.reinstate([other.key])
    await signs_in(here, ANA)


@pytest.mark.parametrize("spelled", SPELLINGS[:2])
async def test_what_was_taken_up_under_another_spelling_ends_too(here: Node, spelled: str) -> None:
    issued = await here.grants.request(ANA, "sales-report", WHY)
    gone = leaver(DIRECTORY, f"corp:{spelled}")
    ended = await here.store.leaving.offboard(gone, here.clock.now())
    assert [one.grant_id for one in ended.revocations] == [issued.grant.id]
    assert await here.store.leaving.seen([f"corp:{spelled}"], "") == (
        *sorted({f"corp:{spelled}", ANA.key}),
    )


async def test_a_directory_that_spells_otherwise_shuts_out_but_gives_no_groups(here: Node) -> None:
    """A provider's own spelling in its tokens, another in what it says by SCIM."""
    user = DirectoryUser("u1", "Ana@Example.com", "", "Ana@Example.com", True, {}, NOW, NOW)
    await here.store.directory.add_user(user)
    group = DirectoryGroup("g1", "dba", "", frozenset({"u1"}), NOW, NOW)
    await here.store.directory.add_group(group)
    directory = Directory(here.store.directory, ("corp",), "corp/")
    assert await directory.current(ANA) == ANA
    issued = await here.grants.request(ANA, "sales-report", WHY)
    now = here.clock.now()
    await here.store.directory.replace_group(
        replace(group, members=frozenset(), changed_at=now, version=group.version + 1),
        ("corp",), "out of the group",
    )  # fmt: skip
    found = await here.grants.get(issued.grant.id)
    assert found is not None
    assert not found.live(now)
    await here.store.directory.replace_user(replace(user, active=False, version=user.version + 1))
    with pytest.raises(NotAuthenticated):
        await directory.current(ANA)


async def test_whoever_administers_users_does_not_undo_an_offboarding(here: Node) -> None:
    await here.store.users.add(User("dan", "x", frozenset(), NOW - 100))
    gone = leaver("local:hr", "local:dan", users=("dan",))
    await here.store.leaving.offboard(gone, here.clock.now())
    with pytest.raises(Conflict, match="offboarded"):
        await here.store.users.set_disabled("dan", False, here.clock.now())
    dan = await here.store.users.get("dan")
    assert dan is not None
    assert dan.disabled
    with pytest.raises(NotAuthenticated):
        await signs_in(here, Identity("dan"))
    assert await here.store.leaving.reinstate(["local:dan"])
    await signs_in(here, Identity("dan"))
