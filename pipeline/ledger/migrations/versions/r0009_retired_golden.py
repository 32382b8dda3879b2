"""A golden task can be retired: it is shown to nobody any more, and what people answered to it still counts."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"


def upgrade() -> None:
    op.add_column("golden", sa.Column("retired_at", sa.DateTime(timezone=True), comment="null: still in use"))


def downgrade() -> None:
    op.drop_column("golden", "retired_at")
