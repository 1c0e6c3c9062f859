"""Digest slots, what trending papers count from, and one note where nothing matched.

Revision ID: 0004
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("channel", sa.Column("slot_at", MOMENT, nullable=True))
    op.create_index("ix_channel_slot_at", "channel", ["slot_at"], postgresql_where=sa.text("deleted_at IS NULL"))
    op.add_column("subscription", sa.Column("watched_since", MOMENT, server_default=sa.text("now()"), nullable=False))
    op.add_column("subscription", sa.Column("reminded_at", MOMENT, nullable=True))
    op.add_column("subscription_channel", sa.Column("trending_since", MOMENT, nullable=True))
    op.add_column("delivery", sa.Column("notes", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("delivery", "notes")
    op.drop_column("subscription_channel", "trending_since")
    op.drop_column("subscription", "reminded_at")
    op.drop_column("subscription", "watched_since")
    op.drop_index("ix_channel_slot_at", "channel")
    op.drop_column("channel", "slot_at")
