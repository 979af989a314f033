"""Drivers and tools, unchanged, through the gate: psql's own commands, pg_dump, psycopg, asyncpg,
SQLAlchemy."""

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.end_to_end.conftest import Setting

QUERY = "SELECT id, region, amount, placed_at FROM shop.orders ORDER BY id LIMIT 10"


def _conninfo(setting: Setting, task: str) -> str:
    return make_conninfo(
        host="127.0.0.1", port=setting.gate.port, user=task, password=setting.gate.grant(task),
        dbname=setting.database, sslmode="verify-full", sslrootcert=str(setting.gate.own.ca_file),
    )  # fmt: skip


def test_psqls_own_commands_answer(setting: Setting) -> None:
    for command in (
        r"\dt shop.*",
        r"\d shop.orders",
        r"\dv shop.*",
        r"\dn",
        r"\l",
        r"\du",
        r"\df shop.*",
    ):
        done = setting.psql("report", command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert not done.stderr, f"{command}: {done.stderr}"
    assert "shop|orders|table" in setting.psql("report", r"\dt shop.*").stdout


def test_psycopg_in_text_and_binary(setting: Setting) -> None:
    with (
        psycopg.connect(setting.server.dsn_for("tg_super", setting.database)) as direct,
        psycopg.connect(_conninfo(setting, "report")) as through,
    ):
        for binary in (False, True):
            expected = direct.execute(QUERY, binary=binary).fetchall()
            assert through.execute(QUERY, binary=binary).fetchall() == expected


def test_psycopg_prepares_pipelines_and_streams(setting: Setting) -> None:
    with psycopg.connect(_conninfo(setting, "everything"), autocommit=True) as connection:
        for number in range(8):
            row = connection.execute("SELECT %s::int + 1", [number], prepare=True).fetchone()
            assert row == (number + 1,)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::text", [str(n)]) for n in range(50)]
            assert [c.fetchone() for c in cursors] == [(str(n),) for n in range(50)]
        with connection.cursor(name="named") as cursor:
            connection.execute("BEGIN")
            cursor.itersize = 10
            cursor.execute("SELECT generate_series(1, 95)")
            assert sum(row[0] for row in cursor) == 95 * 96 // 2


def test_psycopg_copies_both_ways(setting: Setting) -> None:
    with psycopg.connect(_conninfo(setting, "everything"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE pile (n int, t text)")
        with connection.cursor() as cursor:
            with cursor.copy("COPY pile FROM STDIN") as copy:
                for number in range(1000):
                    copy.write_row((number, f"line\t{number}"))
            with cursor.copy("COPY pile TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                assert sum(1 for _ in copy.rows()) == 1000


async def test_asyncpg(setting: Setting) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=setting.gate.port, user="report",
        password=setting.gate.grant("report"), database=setting.database, ssl="disable",
    )  # fmt: skip
    try:
        rows = await connection.fetch("SELECT id, amount FROM shop.orders WHERE id <= $1", 10)
        assert len(rows) == 10
        async with connection.transaction():
            seen = [row async for row in connection.cursor(QUERY, prefetch=3)]
        assert len(seen) == 10
    finally:
        await connection.close()


async def test_a_copy_that_asyncpg_gives_up_leaves_the_session_as_good_as_new(
    setting: Setting,
) -> None:
    """It sends data and a cancel request before COPY has begun: while names are looked up. Ten
    times, since it is chance which part of the gate's own question is cancelled."""

    class Fails:
        """One row, and then no more."""

        def __init__(self) -> None:
            self.rows = 0

        def __aiter__(self) -> "Fails":
            return self

        async def __anext__(self) -> bytes:
            self.rows += 1
            if self.rows > 1:
                raise RuntimeError("failure in source")
            return b"a\tb\n"

    connection = await asyncpg.connect(
        host="127.0.0.1", port=setting.gate.port, user="everything",
        password=setting.gate.grant("everything"), database=setting.database, ssl=False,
    )  # fmt: skip
    try:
        for number in range(10):
            table = f"given_up_{number}"
            await connection.execute(f"CREATE TABLE shop.{table} (a text, b text)")
            with pytest.raises(RuntimeError, match="failure in source"):
                await connection.copy_to_table(table, schema_name="shop", source=Fails())
            assert await connection.fetchval("SELECT 1") == 1
            assert await connection.fetchval(f"SELECT count(*) FROM shop.{table}") == 0
            await connection.execute(f"DROP TABLE shop.{table}")
    finally:
        await connection.close()


async def test_sqlalchemy(setting: Setting) -> None:
    url = sa.URL.create(
        "postgresql+asyncpg", "report", setting.gate.grant("report"), "127.0.0.1",
        setting.gate.port, setting.database,
    )  # fmt: skip
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"ssl": "disable"})
    async with engine.connect() as connection:
        count = await connection.scalar(sa.text("SELECT count(*) FROM shop.orders"))
        tables = await connection.run_sync(lambda c: sa.inspect(c).get_table_names(schema="shop"))
        columns = await connection.run_sync(
            lambda c: [one["name"] for one in sa.inspect(c).get_columns("orders", schema="shop")]
        )
    await engine.dispose()
    assert str(count) == setting.behind("SELECT count(*) FROM shop.orders")
    assert "orders" in tables
    assert columns[0] == "id"


def test_pg_dump_of_a_permitted_table(setting: Setting) -> None:
    import subprocess

    done = subprocess.run(
        [setting.server.bin / "pg_dump", "-h", "localhost", "-p", str(setting.gate.port),
         "-U", "everything", "-t", "shop.products", setting.database],
        capture_output=True, text=True, check=False, timeout=60,
        env=setting.environment(setting.gate.grant("everything")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE shop.products" in done.stdout
    assert "COPY shop.products" in done.stdout
