"""The work of reviewers: leases, answers, an outbox, the audit log; people of the console, what they saw."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_index(
        "ix_tasks_state_queue_deadline_requested_at", "tasks", ["state", "queue", "deadline", "requested_at"]
    )
    op.create_index("ix_uploads_uploader_id", "uploads", ["uploader_id"])
    op.create_index("ix_reviews_media_id", "reviews", ["media_id"])
    op.create_index("ix_reviews_decided_at", "reviews", ["decided_at"])
    op.create_table(
        "work",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("case_id", sa.Uuid, nullable=False, comment="near copies share one; the task's own id otherwise"),
        sa.Column("lease_id", sa.Uuid),
        sa.Column("leased_by", sa.Text),
        sa.Column("leased_at", MOMENT),
        sa.Column("leased_until", MOMENT),
        sa.Column("first_action", sa.Text, comment="what the holder said before they saw the scores"),
        sa.Column("held_until", MOMENT),
        sa.Column("assigned_to", sa.Text),
        sa.Column("needs_lead", sa.Integer, nullable=False, comment="1 where two people disagree"),
        sa.Column("answered_at", MOMENT, comment="set while its answer waits to be published"),
        sa.PrimaryKeyConstraint("task_id", name="pk_work"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_work_tasks"),
    )
    op.create_index("ix_work_case_id", "work", ["case_id"])
    op.create_index("ix_work_lease_id", "work", ["lease_id"])
    op.create_index("ix_work_leased_until", "work", ["leased_until"])
    op.create_index("ix_work_held_until", "work", ["held_until"])
    op.create_index("ix_work_leased_by", "work", ["leased_by"])
    op.create_table(
        "skips",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("reviewer_id", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, comment="null: for ever"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "reviewer_id", name="pk_skips"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_skips_tasks"),
    )
    op.create_table(
        "looks",
        sa.Column("answer_id", sa.Uuid, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("reviewer_id", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False, comment="where it was answered"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("first_action", sa.Text, comment="what was said before the scores were seen"),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("seconds", sa.Integer, nullable=False, comment="from the claim to the answer"),
        sa.Column("event", sa.Text, nullable=False, comment="the review as it will be published: ReviewDecided"),
        sa.Column("undone_at", MOMENT),
        sa.PrimaryKeyConstraint("answer_id", "task_id", name="pk_looks"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_looks_tasks"),
    )
    op.create_index("ix_looks_reviewer_id_at", "looks", ["reviewer_id", "at"])
    op.create_index("ix_looks_queue_at", "looks", ["queue", "at"])
    op.create_index("ix_looks_task_id", "looks", ["task_id"])
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.Uuid, nullable=False),
        sa.Column("answer_id", sa.Uuid, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=False, comment="until then the answer can be taken back"),
        sa.Column("sent_at", MOMENT),
        sa.PrimaryKeyConstraint("outbox_id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_answer_id", "outbox", ["answer_id"])
    op.create_index("ix_outbox_sent_at_not_before", "outbox", ["sent_at", "not_before"])
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_actor_at", "audit_log", ["actor", "at"])
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"])
    op.create_table(
        "golden",
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False, comment="the right answer"),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_golden"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_golden_tasks"),
    )
    op.create_index("ix_golden_queue", "golden", ["queue"])
    op.create_table(
        "golden_looks",
        sa.Column("lease_id", sa.Uuid, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("reviewer_id", sa.Text, nullable=False),
        sa.Column("leased_at", MOMENT, nullable=False),
        sa.Column("leased_until", MOMENT, nullable=False),
        sa.Column("first_action", sa.Text),
        sa.Column("action", sa.Text, comment="null until answered; released or ended ones are removed"),
        sa.Column("at", MOMENT),
        sa.PrimaryKeyConstraint("lease_id", name="pk_golden_looks"),
        sa.ForeignKeyConstraint(["task_id"], ["golden.task_id"], name="fk_golden_looks_golden"),
        sa.UniqueConstraint("task_id", "reviewer_id", name="uq_golden_looks_task_id_reviewer_id"),
    )
    op.create_index("ix_golden_looks_reviewer_id", "golden_looks", ["reviewer_id"])
    op.create_table(
        "accounts",
        sa.Column("person_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False, comment="Argon2id"),
        sa.Column("one_time", sa.Integer, nullable=False, comment="1: works once, to set another"),
        sa.Column("roles", sa.Text, nullable=False, comment="with commas"),
        sa.Column("queues", sa.Text, nullable=False, comment="with commas; * for every one"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("disabled_at", MOMENT),
        sa.PrimaryKeyConstraint("person_id", name="pk_accounts"),
    )
    op.create_table(
        "sessions",
        sa.Column(
            "session", sa.Text, nullable=False, comment="SHA-256 of the cookie: who reads the table cannot sign in"
        ),
        sa.Column("person_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])
    op.create_table(
        "preferences",
        sa.Column("person_id", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False, comment="Preferences as JSON"),
        sa.PrimaryKeyConstraint("person_id", name="pk_preferences"),
    )
    op.create_table(
        "exposures",
        sa.Column("person_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("harm", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("filters", sa.Text, nullable=False, comment="blur, greyscale, … that were on, with commas"),
        sa.PrimaryKeyConstraint("person_id", "task_id", "at", name="pk_exposures"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_exposures_tasks"),
    )
    op.create_index("ix_exposures_person_id_at", "exposures", ["person_id", "at"])


def downgrade() -> None:
    op.drop_index("ix_tasks_state_queue_deadline_requested_at", "tasks")
    op.drop_index("ix_reviews_decided_at", "reviews")
    op.drop_index("ix_reviews_media_id", "reviews")
    op.drop_index("ix_uploads_uploader_id", "uploads")
    op.drop_table("exposures")
    op.drop_table("preferences")
    op.drop_table("sessions")
    op.drop_table("accounts")
    op.drop_table("golden_looks")
    op.drop_table("golden")
    op.drop_table("audit_log")
    op.drop_table("outbox")
    op.drop_table("looks")
    op.drop_table("skips")
    op.drop_table("work")
