"""What people write beside the audit log can be erased; tasks know the trace that they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("traceparent", sa.Text, comment="of the record that asked for it"))
    op.create_table(
        "audit_words",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", "task_id", name="pk_audit_words"),
        sa.ForeignKeyConstraint(["seq"], ["audit_log.seq"], name="fk_audit_words_audit_log"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_audit_words_tasks"),
    )
    op.create_index("ix_audit_words_task_id", "audit_words", ["task_id"])


def downgrade() -> None:
    op.drop_table("audit_words")
    op.drop_column("tasks", "traceparent")
