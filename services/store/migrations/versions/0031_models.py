"""Embedding models, so that an old one can serve while the archive is embedded anew.

Revision ID: 0031
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    at = sa.TIMESTAMP(timezone=True)
    op.create_table(
        "model",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("setting", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer()),
        sa.Column("wanted_at", at, nullable=False),
        sa.Column("ready_at", at),
        sa.PrimaryKeyConstraint("name", name="pk_model"),
    )
    # The only model there was until now.
    op.execute(
        "INSERT INTO model (name, setting, dimensions, wanted_at, ready_at) "
        "SELECT 'all-MiniLM-L6-v2-int8', 'minilm', 384, now(), now() "
        "WHERE EXISTS (SELECT 1 FROM paper_vector WHERE model = 'all-MiniLM-L6-v2-int8')"
    )
    op.execute("UPDATE transport SET key = 'embedder:all-MiniLM-L6-v2-int8' WHERE key = 'embedder'")


def downgrade() -> None:
    op.drop_table("model")
