"""Papers that end their workers are left out alone, and a database that is not the recorded one sends nothing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment, numbers = postgresql.TIMESTAMP(timezone=True), postgresql.ARRAY(sa.BigInteger())
    op.add_column("match_job", sa.Column("suspect", sa.BigInteger(), nullable=True))
    op.add_column("match_job", sa.Column("suspected", sa.Integer(), server_default="0", nullable=False))
    op.add_column("match_job", sa.Column("left_out", numbers, server_default="{}", nullable=False))
    op.create_table(
        "embedding_attempt",
        sa.Column("paper_id", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["paper.id"], name=op.f("fk_embedding_attempt_paper_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("paper_id", name=op.f("pk_embedding_attempt")),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("system_identifier", sa.Text(), nullable=False),
        sa.Column("held_because", sa.Text(), server_default="", nullable=False),
        sa.Column("held_at", moment, nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )


def downgrade() -> None:
    op.drop_table("installation")
    op.drop_table("embedding_attempt")
    for name in ("left_out", "suspected", "suspect"):
        op.drop_column("match_job", name)
