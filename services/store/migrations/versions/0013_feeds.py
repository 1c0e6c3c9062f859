"""How often the address of a subscription's feed was changed."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscription", sa.Column("feed_turn", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("subscription", "feed_turn")
