"""Requests by the person shown, what they re-opened and were answered; queues in the order of slack."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("uploads", sa.Column("consent_reference", sa.Text))
    op.create_index("ix_uploads_consent_reference", "uploads", ["consent_reference"])
    op.add_column(
        "tasks",
        sa.Column(
            "start_by", MOMENT, comment="the deadline less the expected handling; null from workers of an older release"
        ),
    )
    op.execute("UPDATE tasks SET start_by = deadline")
    op.create_index("ix_tasks_state_queue_start_by_priority", "tasks", ["state", "queue", "start_by", "priority"])
    op.drop_index("ix_tasks_state_queue_priority_deadline", "tasks")
    op.create_table(
        "requests",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("media_id", sa.Text),
        sa.Column("consent_reference", sa.Text),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
    )
    op.create_table(
        "reopened",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("media_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("match", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "media_id", name="pk_reopened"),
        sa.UniqueConstraint("media_id", "round", name="uq_reopened_media_id_round"),
        sa.ForeignKeyConstraint(["request_id"], ["requests.request_id"], name="fk_reopened_requests"),
        sa.ForeignKeyConstraint(
            ["media_id", "round"], ["decisions.media_id", "decisions.round"], name="fk_reopened_decisions"
        ),
        sa.CheckConstraint(
            "match IN ('named', 'same_consent', 'same_bytes', 'near_copy')", name=op.f("ck_reopened_match")
        ),
    )
    op.create_table(
        "answers",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("answer_id", sa.Uuid, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "status", name="pk_answers"),
        sa.ForeignKeyConstraint(["request_id"], ["requests.request_id"], name="fk_answers_requests"),
        sa.CheckConstraint("status IN ('received', 'done', 'unknown_content')", name=op.f("ck_answers_status")),
    )


def downgrade() -> None:
    for table in ("answers", "reopened", "requests"):
        op.drop_table(table)
    op.create_index("ix_tasks_state_queue_priority_deadline", "tasks", ["state", "queue", "priority", "deadline"])
    op.drop_index("ix_tasks_state_queue_start_by_priority", "tasks")
    op.drop_column("tasks", "start_by")
    op.drop_index("ix_uploads_consent_reference", "uploads")
    op.drop_column("uploads", "consent_reference")
