"""Opening, migrating, and what callers are told when the database cannot be used."""

import asyncio
import sqlite3
import stat
import threading
import time
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from taskgate.model import limits
from taskgate.model.directory import DirectoryGroup, DirectoryUser
from taskgate.model.errors import BadConfig, StoreUnavailable
from taskgate.model.leaving import Leaver
from taskgate.model.limits import STORE_TIMEOUT_S
from taskgate.model.secret import Secret
from taskgate.model.token import GrantSelector
from taskgate.store import database as database_module
from taskgate.store.database import open_database
from taskgate.store.open import Store, open_store
from taskgate.store.schema import metadata
from tests.store.places import Place, at, postgres
from tests.store.samples import NOW, add_grant


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def test_the_migrations_make_exactly_the_tables_of_the_schema(place: Place) -> None:
    async with place.open():
        pass
    database = await open_database(place.url, place.password)

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_many_nodes_may_start_at_once_on_an_empty_database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = postgres(request)
    name = server.new_database("fresh")
    try:
        for place in (Place(sqlite_url(tmp_path / "new.db")), at(server, name)):

            async def start(place: Place = place) -> None:
                async with place.open() as store:
                    await store.ready()

            await asyncio.gather(*(start() for _ in range(4)))
    finally:
        server.drop_database(name)


async def test_tables_of_a_newer_version_are_left_alone(place: Place) -> None:
    async with place.open():
        pass
    database = await open_database(place.url, place.password)
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(BadConfig, match="newer"):
        async with place.open():
            pass


async def test_what_was_kept_is_there_after_a_restart(place: Place) -> None:
    async with place.open() as store:
        made = await add_grant(store)
    async with place.open() as store:
        assert await store.grants.get(made.id) == made


async def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_store(sqlite_url(path)) as store:
        await add_grant(store)
        for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - three names
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:////no/such/folder/x.db",
        "mysql://x/y",
        "nonsense",
    ],
)
async def test_a_wrong_address_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(BadConfig):
        async with open_store(url):
            pass


async def test_a_server_that_is_not_there_is_unavailable_and_nothing_secret_is_told() -> None:
    url = "postgresql+asyncpg://gate@127.0.0.1:1/state"
    with pytest.raises(StoreUnavailable) as caught:
        async with open_store(url, Secret("hunter2-hunter2")):
            pass
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


class Locker:
    """Another process, as far as SQLite can tell, that holds the file."""

    def __init__(self, path: Path, *, exclusive: bool) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if exclusive:
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.execute("BEGIN EXCLUSIVE")
        if exclusive:
            self._connection.execute("UPDATE counters SET value = value")

    def release(self) -> None:
        self._connection.rollback()
        self._connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(database_module, "_MIGRATION_WAIT_S", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_locked_database_is_a_clear_error_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_store(sqlite_url(path)) as store:
        made = await add_grant(store)
        locker = Locker(path, exclusive=False)
        try:
            with pytest.raises(StoreUnavailable, match="locked by another process") as caught:
                await store.grants.revoke(GrantSelector(grant_id=made.id), NOW + 1, "x")
            assert caught.value.sqlstate == "57P03"
            # Readers go on: that is what the write-ahead log is for.
            assert await store.grants.get(made.id) == made
        finally:
            locker.release()
        assert await store.grants.revoke(GrantSelector(grant_id=made.id), NOW + 1, "x")


@pytest.mark.usefixtures("impatient")
async def test_a_lock_against_readers_is_told_as_well(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_store(sqlite_url(path)):
        pass
    locker = Locker(path, exclusive=True)
    try:
        with pytest.raises(StoreUnavailable, match="locked"):
            async with open_store(sqlite_url(path)):
                pass
    finally:
        locker.release()


async def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_store(sqlite_url(path)) as store:
        locker = Locker(path, exclusive=False)
        timer = threading.Timer(0.3, locker.release)
        timer.start()
        try:
            await add_grant(store)
        finally:
            timer.join()


async def test_a_node_that_starts_waits_for_one_that_makes_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than any statement waits for a lock."""
    monkeypatch.setattr(database_module, "_LOCK_WAIT_S", 0.1)
    path = tmp_path / "state.db"
    async with open_store(sqlite_url(path)):
        pass
    locker = Locker(path, exclusive=False)
    timer = threading.Timer(1.0, locker.release)
    timer.start()
    try:
        async with open_store(sqlite_url(path)) as store:
            await store.ready()
    finally:
        timer.join()


async def test_a_writer_that_hangs_is_given_up_in_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store._database
    with pytest.raises(StoreUnavailable, match="did not answer"):
        async with database.write(timeout_s=0.1):
            await asyncio.sleep(5)
    await store.ready()


async def test_a_cancelled_write_leaves_the_store_usable_and_nothing_behind(
    store: Store,
) -> None:
    made = await add_grant(store)

    async def write() -> None:
        async with store._database.write() as connection:
            await connection.execute(sa.text("DELETE FROM tokens"))
            await asyncio.sleep(5)

    task = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.grants.revoke(GrantSelector(grant_id=made.id), NOW + 1, "x")
    async with store._database.read() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM tokens")) == 1


async def test_statements_with_their_parameters_are_in_no_error(store: Store) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with store._database.read() as connection:
            await connection.execute(sa.text("SELECT :x FROM nowhere"), {"x": "s3cret"})
    assert "s3cret" not in repr(caught.value) + str(caught.value.__cause__)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with open_store(sqlite_url(tmp_path / "x.db")) as store:
        with pytest.raises(StoreUnavailable):
            async with store._database.read() as connection:
                await connection.execute(sa.text("DELETE FROM tokens"))


async def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable):
        async with open_store(sqlite_url(path)):
            pass
    with closing(sqlite3.connect(":memory:")):
        assert path.read_bytes().startswith(b"this is no database")


@pytest.mark.cap("STORE_TIMEOUT_S")
async def test_whoever_says_nothing_of_time_waits_so_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_TIMEOUT_S", STORE_TIMEOUT_S)
    for block in (store._database.write, store._database.read):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer within 5 s"):
            await _hang(block())
        assert time.monotonic() - began < STORE_TIMEOUT_S + 30
    await store.ready()


async def _hang(block: AbstractAsyncContextManager[object]) -> None:
    async with asyncio.timeout(60), block:
        await asyncio.sleep(100)


async def test_who_left_before_an_upgrade_is_out_under_any_spelling_after_it(place: Place) -> None:
    """Tables as they were at revision 0005, with people in them."""
    async with place.open() as store:
        await store.leaving.offboard(
            Leaver(frozenset({"corp:Ann"}), frozenset(), "hr", "left"), NOW
        )
        await store.directory.add_user(DirectoryUser("u1", "Bob", "", "Bob", False, {}, NOW, NOW))
        await store.directory.add_group(
            DirectoryGroup("g1", "analysts", "", frozenset({"u1"}), NOW, NOW)
        )
    added = (("departures", "alike"), ("arrivals", "alike"), ("directory_users", "subject_alike"))
    database = await open_database(place.url, place.password)
    async with database.write() as connection:
        for table, column in added:
            await connection.execute(sa.text(f"DROP INDEX ix_{table}_{column}"))
            await connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        # What later versions made.
        for table in ("known_hosts", "ssh_certificates", "ssh_keys"):
            await connection.execute(sa.text(f"DROP TABLE {table}"))
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0005'"))
    await database.close()
    async with place.open() as store:
        assert [one.person for one in await store.leaving.departures(["corp:ANN"])] == ["corp:Ann"]
        listed = await store.directory.listed("bob")
        assert listed is not None
        assert (listed.active, listed.groups) == (False, frozenset())
        assert [group.members for group in await store.directory.groups()] == [frozenset({"u1"})]
