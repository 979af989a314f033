"""Brings a database to this version's tables; several nodes may start at once."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from taskgate.model.errors import BadConfig
from taskgate.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
# An advisory lock has a number for a name: this one is "taskgate" in ASCII.
_LOCK = int.from_bytes(b"taskgate")
_TIMEOUT_S = 300.0


async def migrate(database: Database) -> None:
    """All steps in one transaction: a node that dies half-way leaves the old tables whole.

    SQLite's write lock, or an advisory lock in PostgreSQL, keeps other nodes waiting.
    Raises: StoreUnavailable; BadConfig if a newer taskgate made the tables.
    """
    async with database.migrate(_TIMEOUT_S) as connection:
        if not database.sqlite:
            await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            await connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
            await connection.execute(
                sa.text("SELECT pg_catalog.pg_advisory_xact_lock(:key)"), {"key": _LOCK}
            )
        await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise BadConfig(
            "the state store's tables are of a version that this taskgate does not know:"
            f" a newer one made them ({error})",
            hint="run that newer version, or give this one another store",
        ) from None
