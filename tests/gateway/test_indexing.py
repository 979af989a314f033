"""The search index follows the recordings, misses nothing, and can be made anew."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskgate.gateway.indexing import Feeder
from taskgate.model import limits
from taskgate.model.audit import AuditEntry, AuditQuery, matches
from taskgate.model.errors import StoreUnavailable
from taskgate.model.event import Event, EventKind
from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity
from taskgate.recording import layout
from taskgate.recording.journal import Journal
from taskgate.recording.layout import days_from
from taskgate.recording.recording import Recording

NOW = 1_767_225_600.0
ANN = Identity("ann", groups=frozenset({"analysts"}))


class MemoryIndex:
    """`model.ports.AuditIndex` in memory; `fails` makes the next adds fail."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int, int], AuditEntry] = {}
        self.fails = 0
        self.batches: list[int] = []

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        self.batches.append(len(entries))
        if entries and self.fails:
            self.fails -= 1
            raise StoreUnavailable("locked")
        self.rows |= {(e.session, e.sequence, e.position): e for e in entries}

    async def search(self, query: AuditQuery) -> tuple[AuditEntry, ...]:
        return tuple(entry for entry in self.rows.values() if matches(entry, query))

    async def clear(self) -> None:
        self.rows.clear()

    def objects(self) -> list[str]:
        return sorted(entry.object for entry in self.rows.values() if entry.verb == "select")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(
        tmp_path / "recordings", "process", Ed25519PrivateKey.generate(), lambda: NOW, packed=True
    )
    yield made
    made.close(NOW)


def opened(journal: Journal, name: str) -> Recording:
    info = SessionInfo(name, "g-1", ANN, "report", "shop", "postgres", "::1", "psql", NOW)
    return journal.open(info)


def read(recording: Recording, number: int, table: str) -> None:
    actions = [{"verb": "select", "object": table, "kind": "table", "columns": ["id"]}]
    facts = {"request": number, "text": f"SELECT id FROM {table}", "actions": actions}
    recording.append(Event(EventKind.REQUEST_PERMITTED, NOW + number, facts))
    recording.flush()


async def test_it_follows_what_is_written_while_it_is_written(
    journal: Journal, tmp_path: Path
) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    recording = opened(journal, "s-1")
    read(recording, 1, "shop.a")
    await feeder.catch_up()
    assert index.objects() == ["shop.a"]
    read(recording, 2, "shop.b")
    finished = {"request": 2, "rows": 7}
    recording.append(Event(EventKind.REQUEST_FINISHED, NOW + 3, finished))
    recording.seal(NOW + 4)
    await feeder.catch_up()
    assert index.objects() == ["shop.a", "shop.b"]
    assert [e.rows for e in index.rows.values() if e.object == "shop.b"] == [7]
    before = dict(index.rows)
    await feeder.catch_up()
    assert index.rows == before


async def test_a_new_start_finds_what_the_last_one_did_not_get_to(
    journal: Journal, tmp_path: Path
) -> None:
    index = MemoryIndex()
    first = Feeder(journal.directory, index, tmp_path)
    early = opened(journal, "s-1")
    read(early, 1, "shop.a")
    await first.catch_up()
    read(early, 2, "shop.b")
    early.seal(NOW + 3)
    late = opened(journal, "s-2")
    read(late, 1, "shop.c")
    assert index.objects() == ["shop.a"]
    await Feeder(journal.directory, index, tmp_path).catch_up()
    assert index.objects() == ["shop.a", "shop.b", "shop.c"]


async def test_a_store_that_fails_loses_nothing(journal: Journal, tmp_path: Path) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    read(opened(journal, "s-1"), 1, "shop.a")
    index.fails = 1
    with pytest.raises(StoreUnavailable):
        await feeder.catch_up()
    await feeder.catch_up()
    assert index.objects() == ["shop.a"]


async def test_the_index_is_made_anew_from_the_recordings(journal: Journal, tmp_path: Path) -> None:
    index = MemoryIndex()
    for number in range(3):
        recording = opened(journal, f"s-{number}")
        read(recording, 1, f"shop.t{number}")
        if number:
            recording.seal(NOW + 5)
    await index.add([AuditEntry("s-ghost", 1, 0, NOW, "x", verb="select", object="shop.ghost")])
    feeder = Feeder(journal.directory, index, tmp_path)
    assert await feeder.rebuild() == 3
    assert index.objects() == ["shop.t0", "shop.t1", "shop.t2"]


async def test_a_damaged_recording_stops_none_of_the_others(
    journal: Journal, tmp_path: Path
) -> None:
    index = MemoryIndex()
    bad = opened(journal, "s-bad")
    read(bad, 1, "shop.before")
    with bad.file.path.open("ab") as file:
        file.write(b"not a line of a recording\n")
    read(opened(journal, "s-good"), 1, "shop.good")
    await Feeder(journal.directory, index, tmp_path).catch_up()
    assert index.objects() == ["shop.before", "shop.good"]


@pytest.mark.cap("MAX_INDEX_BATCH")
async def test_more_than_a_batch_is_fed_whole_and_in_batches(
    journal: Journal, tmp_path: Path
) -> None:
    index = MemoryIndex()
    recording = opened(journal, "s-1")
    for number in range(1, 1_300):
        read(recording, number, "shop.a")
    await Feeder(journal.directory, index, tmp_path).catch_up()
    assert len(index.objects()) == 1_299
    # A request's rows are one or two, and stay together.
    assert 0 < max(index.batches) <= limits.MAX_INDEX_BATCH + 1


@pytest.mark.parametrize("rounds", [1, 3])
async def test_a_session_that_came_and_went_between_two_rounds_is_fed(
    journal: Journal, tmp_path: Path, rounds: int
) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    for _ in range(rounds):
        await feeder.catch_up()
    for number in range(3):
        short = opened(journal, f"s-{number}")
        read(short, 1, f"shop.t{number}")
        short.seal(NOW + 2)
        await feeder.catch_up()
    assert index.objects() == ["shop.t0", "shop.t1", "shop.t2"]


async def test_one_that_is_sealed_while_it_is_looked_for_is_fed_in_that_round(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    recording = opened(journal, "s-1")
    read(recording, 1, "shop.a")
    find = layout.find_recording

    def sealed_just_then(directory: Path, name: str) -> Path:
        path = find(directory, name)
        recording.seal(NOW + 2)
        return path

    monkeypatch.setattr(layout, "find_recording", sealed_just_then)
    await feeder.catch_up()
    assert index.objects() == ["shop.a"]


async def test_one_that_came_and_went_while_the_store_failed_is_fed_later(
    journal: Journal, tmp_path: Path
) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    await feeder.catch_up()
    for number in range(2):
        short = opened(journal, f"s-{number}")
        read(short, 1, f"shop.t{number}")
        short.seal(NOW + 2)
    index.fails = 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await feeder.catch_up()
    await feeder.catch_up()
    assert index.objects() == ["shop.t0", "shop.t1"]


async def test_what_was_fed_to_its_end_is_not_read_again(journal: Journal, tmp_path: Path) -> None:
    index = MemoryIndex()
    feeder = Feeder(journal.directory, index, tmp_path)
    await feeder.catch_up()
    short = opened(journal, "s-1")
    read(short, 1, "shop.a")
    short.seal(NOW + 2)
    await feeder.catch_up()
    index.rows.clear()
    await feeder.catch_up()
    assert index.objects() == []


async def test_a_round_looks_at_recent_days_alone(tmp_path: Path) -> None:
    for day in ("2019/02/03", "2025/12/30", "2025/12/31", "2026/01/01"):
        (tmp_path / day).mkdir(parents=True)
    for since, expected in (
        (NOW, ["2026/01/01", "2025/12/31"]),
        (NOW + 9 * 86_400, ["2026/01/01", "2025/12/31"]),
        (NOW - 2 * 86_400, ["2026/01/01", "2025/12/31", "2025/12/30"]),
    ):
        found = [day.relative_to(tmp_path).as_posix() for day in days_from(tmp_path, since)]
        assert found == expected
