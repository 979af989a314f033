"""Leaving, delegation, the directory that SCIM keeps.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("users", sa.Column("acts_for", sa.Text(), nullable=True))
    op.add_column("grants", sa.Column("step", sa.Text(), nullable=True))
    op.add_column("grants", sa.Column("narrowings", sa.Text(), nullable=True))
    op.add_column("grants", sa.Column("chain", sa.Text(), nullable=True))
    op.add_column("grants", sa.Column("uses_left", sa.Integer(), nullable=True))
    op.create_table(
        "departures",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("disabled_user", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_departures")),
    )
    op.create_table(
        "arrivals",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_arrivals")),
    )
    op.create_index(op.f("ix_arrivals_last_at"), "arrivals", ["last_at"], unique=False)
    op.create_table(
        "sign_ins",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("person", "source", "application", name=op.f("pk_sign_ins")),
    )
    op.create_table(
        "directory_users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("user_name_key", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_users")),
        sa.UniqueConstraint("user_name_key", name=op.f("uq_directory_users_user_name_key")),
        sa.UniqueConstraint("subject", name=op.f("uq_directory_users_subject")),
    )
    op.create_index(
        op.f("ix_directory_users_created_at"), "directory_users", ["created_at"], unique=False
    )
    op.create_table(
        "directory_groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_groups")),
        sa.UniqueConstraint("display_name", name=op.f("uq_directory_groups_display_name")),
    )
    op.create_index(
        op.f("ix_directory_groups_created_at"), "directory_groups", ["created_at"], unique=False
    )
    op.create_table(
        "directory_members",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["directory_groups.id"], name=op.f("fk_directory_members_group_id")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["directory_users.id"], name=op.f("fk_directory_members_user_id")
        ),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_directory_members")),
    )
    op.create_index(
        op.f("ix_directory_members_user_id"), "directory_members", ["user_id"], unique=False
    )
