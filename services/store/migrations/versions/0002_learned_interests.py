"""Interests learned with words: their terms, when they were calibrated, and the terms of papers.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    terms = sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    op.add_column("subscription", terms)
    op.add_column("subscription", sa.Column("calibrated_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_table(
        "paper_words",
        sa.Column("paper_id", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["paper.id"], name=op.f("fk_paper_words_paper_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("paper_id", name=op.f("pk_paper_words")),
    )


def downgrade() -> None:
    op.drop_table("paper_words")
    op.drop_column("subscription", "calibrated_at")
    op.drop_column("subscription", "terms")
