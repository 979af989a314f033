"""One person in whatever spelling.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from taskgate.model.identity import same_person

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _add("departures", "person", "alike")
    _add("arrivals", "person", "alike")
    _add("directory_users", "subject", "subject_alike")


def _add(table: str, spelled: str, alike: str) -> None:
    column = sa.Column(alike, sa.Text(), nullable=False, server_default="")
    op.add_column(table, column)
    rows = sa.table(table, sa.column(spelled), sa.column(alike))
    connection = op.get_bind()
    for value in connection.scalars(sa.select(rows.c[spelled])).all():
        connection.execute(
            sa.update(rows).where(rows.c[spelled] == value).values({alike: same_person(value)})
        )
    op.create_index(op.f(f"ix_{table}_{alike}"), table, [alike], unique=False)
