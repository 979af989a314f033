"""What a directory may still do while nothing can be recorded: take away, never give."""

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from taskgate.gateway.indexing import Feeder
from taskgate.gateway.leaving import Leaving
from taskgate.gateway.provisioning import Provisioning, group_attributes
from taskgate.gateway.records import Records
from taskgate.identity.listing import Directory
from taskgate.identity.scim.schemas import GROUP
from taskgate.model.directory import DirectoryGroup, DirectoryUser
from taskgate.model.errors import NotRecorded
from taskgate.model.identity import Identity
from tests.identity.around import node
from tests.recording.build import Disk, journal
from tests.store.places import new_place
from tests.store.samples import NOW


@pytest.mark.parametrize("renamed", [False, True])
async def test_an_unrecorded_change_of_a_group_takes_away_and_gives_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, renamed: bool
) -> None:
    disk = Disk(os.write)
    with new_place(request, tmp_path, "sqlite") as place:
        async with node(place) as here:
            kept = here.store.directory
            for name in ("ann", "bob"):
                await kept.add_user(DirectoryUser(name, name, "", name, True, {}, NOW, NOW))
            group = DirectoryGroup("g1", "analysts", "", frozenset({"ann"}), NOW, NOW)
            await kept.add_group(group)
            directory = Directory(kept, ("local",))
            records = Records(
                journal(tmp_path / "audit", write=disk.write), here.store.audit,
                cast(Feeder, None), here.clock,
            )  # fmt: skip
            provisioning = Provisioning(
                kept, directory, cast(Leaving, None), here.grants, records, here.clock
            )
            ann = Identity("ann", authenticated_at=NOW - 1)
            issued = await here.grants.request(
                await directory.current(ann), "sales-report", "a reason"
            )
            disk.fail = OSError(errno.ENOSPC, "full")
            body: dict[str, Any] = {
                **group_attributes(group), "schemas": [GROUP], "members": [{"value": "bob"}],
                **({"displayName": "data-leads"} if renamed else {}),
            }  # fmt: skip
            with pytest.raises(NotRecorded):
                await provisioning.replace_group("g1", body)
            after = await kept.group("g1")
            assert after is not None
            assert (after.display_name, after.members) == ("analysts", frozenset())
            found = await here.grants.get(issued.grant.id)
            assert found is not None
            assert not found.live(here.clock.now())
