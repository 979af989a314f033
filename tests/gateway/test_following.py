"""A recording is followed from the open file into the sealed and the packed one."""

from pathlib import Path

import pytest

from taskgate.gateway import records as module
from taskgate.gateway.indexing import Feeder
from taskgate.gateway.records import Records
from taskgate.model.clock import Clock
from taskgate.model.errors import NotFound
from taskgate.model.identity import Identity
from taskgate.recording import layout
from tests.gateway.test_indexing import MemoryIndex
from tests.recording.build import TUESDAY, journal, record, sealed_file

ANN = Identity("ann")


async def true() -> bool:
    return True


async def test_one_that_is_sealed_and_packed_while_it_is_looked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = journal(tmp_path, packed=True)
    record(log, "s1").seal(TUESDAY + 60)
    log.close(TUESDAY + 61)
    packed = sealed_file(tmp_path, "s1")
    again = journal(tmp_path, packed=True)
    index = MemoryIndex()
    records = Records(again, index, Feeder(tmp_path, index, tmp_path), Clock())
    find, looks = layout.find_recording, [layout.open_path(tmp_path, "s1"), packed.with_suffix("")]

    def found(directory: Path, session: str) -> Path:
        return looks.pop(0) if looks else find(directory, session)

    monkeypatch.setattr(module, "find_recording", found)
    entries = [one async for some in records.follow(ANN, "s1", 3, true) for one in some]
    assert [one.number for one in entries] == [4, 5, 6, 7, 8]
    assert looks == []
    with pytest.raises(NotFound):
        await anext(records.follow(ANN, "s2", 0, true))
    again.close(TUESDAY + 62)
