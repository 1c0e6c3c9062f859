"""equal bodies are not read twice; papers are found by what they became"""

from alembic import op
import sqlalchemy as sa

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("digest", sa.LargeBinary(), server_default="", nullable=False))
    op.create_index(
        "ix_paper_merged_into", "paper", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_paper_merged_into", "paper")
    op.drop_column("source", "digest")
