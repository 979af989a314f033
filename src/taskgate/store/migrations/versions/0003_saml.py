"""What is good once.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "once",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_once")),
    )
    op.create_index(op.f("ix_once_until"), "once", ["until"], unique=False)
    op.execute("INSERT INTO counters (name, value) VALUES ('once', 0)")
