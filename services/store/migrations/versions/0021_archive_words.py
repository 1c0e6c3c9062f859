"""The words of papers as PostgreSQL finds them, and an index of the papers that count.

Revision ID: 0021
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM paper_words")  # they are noted anew, on the slow queue
    op.add_column("paper_words", sa.Column("words", postgresql.TSVECTOR(), nullable=False))
    op.create_index("ix_paper_words_words", "paper_words", ["words"], postgresql_using="gin")
    living = sa.text("merged_into IS NULL AND NOT withdrawn")
    op.create_index("ix_paper_living", "paper", ["announced_on", "id"], postgresql_where=living)


def downgrade() -> None:
    op.drop_index("ix_paper_living", table_name="paper")
    op.drop_index("ix_paper_words_words", table_name="paper_words")
    op.drop_column("paper_words", "words")
