"""Policies: their texts, which one is in force from when, and what every worker made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("version", sa.Text, nullable=False, comment="name@digest of what the policy says"),
        sa.Column("fusion_version", sa.Text, nullable=False, comment="of what turns scores into signals"),
        sa.Column("policy", sa.Text, nullable=False, comment="the file as it was first read"),
        sa.Column("calibration", sa.Text, nullable=False, comment="the file as it was first read"),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("version", "fusion_version", name="pk_policies"),
    )
    op.create_table(
        "policy_switches",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("fusion_version", sa.Text, nullable=False),
        sa.Column("active_from", MOMENT, nullable=False, comment="never before that of the number before"),
        sa.Column("proposed_at", MOMENT, nullable=False),
        sa.Column("proposed_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_policy_switches"),
        sa.ForeignKeyConstraint(
            ["version", "fusion_version"],
            ["policies.version", "policies.fusion_version"],
            name="fk_policy_switches_policies",
        ),
    )
    op.create_table(
        "policy_activations",
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("activated_at", MOMENT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, comment="SHA-256 of the words that this worker read"),
        sa.PrimaryKeyConstraint("worker_id", "activated_at", name="pk_policy_activations"),
        sa.ForeignKeyConstraint(["number"], ["policy_switches.number"], name="fk_policy_activations_policy_switches"),
    )
    op.create_table(
        "policy_workers",
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="in force there"),
        sa.Column("file_version", sa.Text, comment="of the worker's own file; null when it is not sound"),
        sa.Column("file_fusion", sa.Text),
        sa.Column("refused", sa.Text, comment="why something is not in force that should be"),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_policy_workers"),
        sa.ForeignKeyConstraint(["number"], ["policy_switches.number"], name="fk_policy_workers_policy_switches"),
    )


def downgrade() -> None:
    for table in ("policy_workers", "policy_activations", "policy_switches", "policies"):
        op.drop_table(table)
