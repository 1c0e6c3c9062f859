"""Papers set aside are rows of their own, with the moment and the reason; so they can be listed and put back."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = postgresql.TIMESTAMP(timezone=True)
    op.create_table(
        "quarantine",
        sa.Column("paper_id", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["paper.id"], name=op.f("fk_quarantine_paper_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["shard"], ["shard.id"], name=op.f("fk_quarantine_shard")),
        sa.PrimaryKeyConstraint("paper_id", "shard", name=op.f("pk_quarantine")),
    )
    op.execute(
        "INSERT INTO quarantine (paper_id, shard, error, created_at) "
        "SELECT one, shard, 'it ended its workers', coalesce(min(done_at), now()) "
        "FROM match_job, unnest(left_out) one JOIN paper ON paper.id = one AND paper.merged_into IS NULL "
        "GROUP BY one, shard"
    )
    op.drop_column("match_job", "left_out")
    op.add_column("embedding_attempt", sa.Column("tried_at", moment, server_default=sa.text("now()"), nullable=False))


def downgrade() -> None:
    op.drop_column("embedding_attempt", "tried_at")
    numbers = postgresql.ARRAY(sa.BigInteger())
    op.add_column("match_job", sa.Column("left_out", numbers, server_default="{}", nullable=False))
    op.drop_table("quarantine")
