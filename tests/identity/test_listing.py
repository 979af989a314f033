"""What a directory lays over a sign-in."""

import pytest

from taskgate.identity.listing import Directory
from taskgate.model.directory import DirectoryGroup, DirectoryUser
from taskgate.model.errors import NotAuthenticated
from taskgate.model.identity import Identity, IdentityKind
from tests.identity.around import Node
from tests.store.samples import NOW


async def _fill(here: Node, *, active: bool = True) -> None:
    user = DirectoryUser("u1", "ann", "", "ann", active, {"userName": "ann"}, NOW, NOW)
    await here.store.directory.add_user(user)
    group = DirectoryGroup("g1", "dba", "", frozenset({"u1"}), NOW, NOW)
    await here.store.directory.add_group(group)


async def test_groups_stand_behind_the_prefix_and_count_for_its_own_people_only(here: Node) -> None:
    await _fill(here)
    directory = Directory(here.store.directory, ("corp",), "corp/")
    found = await directory.current(Identity("ann", "corp", groups=frozenset({"x"})))
    assert found.groups == {"x", "corp/dba"}
    for other in (Identity("ann"), Identity("ann", "corp2"), Identity("Ann", "corp")):
        assert await directory.current(other) == other
    agent = Identity("bot", "agent", IdentityKind.AGENT, acts_for=Identity("ann", "corp"))
    behind = (await directory.current(agent)).acts_for
    assert behind is not None
    assert behind.groups == {"corp/dba"}


async def test_whoever_is_not_active_is_nobody_and_neither_is_their_agent(here: Node) -> None:
    await _fill(here, active=False)
    directory = Directory(here.store.directory, ("corp",))
    ann = Identity("ann", "corp")
    for identity in (ann, Identity("bot", "agent", IdentityKind.AGENT, acts_for=ann)):
        with pytest.raises(NotAuthenticated):
            await directory.current(identity)


async def test_a_group_that_is_renamed_or_removed_cuts_its_members_off(here: Node) -> None:
    await _fill(here)
    for number, change in enumerate(("rename", "remove")):
        ann = Identity("ann", "corp", groups=frozenset({"analysts"}), authenticated_at=NOW - 1)
        if number:
            here.clock.pass_s(10)
            ann = Identity("ann", "corp", ann.kind, ann.groups, here.clock.now())
            here.clock.pass_s(10)
        issued = await here.grants.request(ann, "sales-report", "why")
        group = await here.store.directory.group("g1")
        assert group is not None
        now = here.clock.now()
        if change == "rename":
            renamed = DirectoryGroup("g1", "dbas", "", group.members, NOW, now, group.version + 1)
            await here.store.directory.replace_group(renamed, ("corp",), "renamed")
        else:
            assert await here.store.directory.remove_group("g1", ("corp",), now, "gone")
        ended = await here.grants.get(issued.grant.id)
        assert ended is not None
        assert ended.revoked_at == now
