"""The outbox of statements of reasons."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "statements",
        sa.Column("puid", sa.Text, nullable=False, comment="unique within the platform"),
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False, comment="of the outcome that it is about"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False, comment="when the outcome began to apply"),
        sa.Column("body", sa.Text, nullable=False, comment="the statement, as it is sent"),
        sa.Column("findings", sa.Text, nullable=False, comment="why it was held back, JSON"),
        sa.Column("batch", sa.Text, comment="what it is sent with; the same after a restart"),
        sa.Column("settled_at", MOMENT, comment="when it was sent or refused"),
        sa.Column("receipt", sa.Text, comment="the endpoint's own id of it"),
        sa.Column("why", sa.Text, comment="why it was refused"),
        sa.PrimaryKeyConstraint("puid", name="pk_statements"),
        sa.CheckConstraint("state IN ('queued', 'sent', 'refused', 'held-back')", name=op.f("ck_statements_state")),
        sa.ForeignKeyConstraint(
            ["media_id", "round", "status"],
            ["outcomes.media_id", "outcomes.round", "outcomes.status"],
            name="fk_statements_outcomes",
        ),
    )
    op.create_index("ix_statements_state_queued_at", "statements", ["state", "queued_at"])
    op.create_index("ix_statements_media_id", "statements", ["media_id"])


def downgrade() -> None:
    op.drop_table("statements")
