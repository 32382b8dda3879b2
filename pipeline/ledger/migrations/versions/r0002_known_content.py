"""Known content: hashes of contents, matches with banks, quarantined hashes; decisions by time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_index("ix_decisions_decided_at", "decisions", ["decided_at"])
    op.create_table(
        "hashes",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("frames", sa.Text, nullable=False, comment="what the content looks like: FrameHash as JSON"),
        sa.PrimaryKeyConstraint("sha256", name="pk_hashes"),
    )
    op.create_table(
        "matches",
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("bank", sa.Text, nullable=False),
        sa.Column("hash_id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("distance", sa.Integer, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("matched_at", MOMENT, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False, comment="false once its hash was released from quarantine"),
        sa.PrimaryKeyConstraint("media_id", "round", "bank", "hash_id", name="pk_matches"),
        sa.ForeignKeyConstraint(
            ["media_id", "round"], ["decisions.media_id", "decisions.round"], name="fk_matches_decisions"
        ),
    )
    op.create_index("ix_matches_bank_matched_at", "matches", ["bank", "matched_at"])
    op.create_table(
        "quarantines",
        sa.Column("bank", sa.Text, nullable=False),
        sa.Column("hash_id", sa.Text, nullable=False, comment="empty: the bank as a whole"),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("contents", sa.Integer, nullable=False, comment="that it had matched"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("released_at", MOMENT),
        sa.PrimaryKeyConstraint("bank", "hash_id", "since", name="pk_quarantines"),
        sa.CheckConstraint("action IN ('quarantine', 'report')", name=op.f("ck_quarantines_action")),
    )


def downgrade() -> None:
    for table in ("quarantines", "matches", "hashes"):
        op.drop_table(table)
    op.drop_index("ix_decisions_decided_at", "decisions")
