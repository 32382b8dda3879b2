"""Turns: what one process at a time does, such as publishing the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("name", sa.Text, nullable=False, comment="what is done"),
        sa.Column("holder", sa.Uuid, nullable=False, comment="the process that does it"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="then another may"),
        sa.PrimaryKeyConstraint("name", name="pk_turns"),
    )


def downgrade() -> None:
    op.drop_table("turns")
