"""Vectors of the sentences of papers that an interest matched.

Revision ID: 0036
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sentence_vector",
        sa.Column("paper_id", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("vectors", sa.LargeBinary()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(["paper_id"], ["paper.id"], name="fk_sentence_vector_paper_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("paper_id", "model", name="pk_sentence_vector"),
    )
    op.create_index(
        "ix_sentence_vector_wanted", "sentence_vector", ["paper_id"], postgresql_where=sa.text("vectors IS NULL")
    )


def downgrade() -> None:
    op.drop_table("sentence_vector")
