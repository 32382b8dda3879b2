"""The first tables: uploads, contents, decisions, tasks, outcomes, reviews."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, comment="of the bytes that arrived; null when they never did"),
        sa.Column("size", sa.BigInteger, comment="bytes that arrived"),
        sa.Column("content_type", sa.Text, comment="what the platform said it was"),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("uploader_id", sa.Text),
        sa.Column("uploaded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("media_id", "round", name="pk_uploads"),
    )
    op.create_index("ix_uploads_sha256", "uploads", ["sha256"])
    op.create_table(
        "contents",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("detectors_key", sa.Text, nullable=False, comment="a digest of the sorted set of detectors"),
        sa.Column("media_id", sa.Text, nullable=False, comment="the upload that it was first seen in"),
        sa.Column("judged_at", MOMENT, nullable=False),
        sa.Column("unmask_version", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False, comment="KnownContent as JSON, without the embedding"),
        sa.Column("embedding", sa.LargeBinary, comment="float16, little endian"),
        sa.PrimaryKeyConstraint("sha256", "detectors_key", name="pk_contents"),
    )
    op.create_table(
        "decisions",
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("decision_id", sa.Uuid, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("policy_version", sa.Text, nullable=False),
        sa.Column("failure_stage", sa.Text),
        sa.Column("failure_reason", sa.Text),
        sa.Column("reused_from", sa.Text),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("media_id", "round", name="pk_decisions"),
        sa.ForeignKeyConstraint(
            ["media_id", "round"], ["uploads.media_id", "uploads.round"], name="fk_decisions_uploads"
        ),
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("harm", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("deadline", MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_tasks"),
        sa.UniqueConstraint("media_id", "round", name="uq_tasks_media_id_round"),
        sa.CheckConstraint("state IN ('open', 'decided', 'superseded')", name=op.f("ck_tasks_state")),
        sa.ForeignKeyConstraint(
            ["media_id", "round"], ["decisions.media_id", "decisions.round"], name="fk_tasks_decisions"
        ),
    )
    op.create_index("ix_tasks_state_queue_priority_deadline", "tasks", ["state", "queue", "priority", "deadline"])
    op.create_table(
        "outcomes",
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("outcome_id", sa.Uuid, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("enforced_at", MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("media_id", "round", "status", name="pk_outcomes"),
        sa.CheckConstraint("status IN ('provisional', 'final')", name=op.f("ck_outcomes_status")),
        sa.ForeignKeyConstraint(
            ["media_id", "round"], ["decisions.media_id", "decisions.round"], name="fk_outcomes_decisions"
        ),
    )
    op.create_table(
        "reviews",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("review_id", sa.Uuid, nullable=False),
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reviewer_id", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_reviews"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_reviews_tasks"),
    )


def downgrade() -> None:
    for table in ("reviews", "outcomes", "tasks", "decisions", "contents", "uploads"):
        op.drop_table(table)
