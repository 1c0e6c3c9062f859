"""gates of deliveries"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("channel", "delivery"):
        op.add_column(table, sa.Column("gate", sa.Text(), server_default="", nullable=False))
    op.drop_column("channel", "free_at")
    # A channel's own key needs its secret; it is renewed whenever the channel is saved.
    op.execute("UPDATE channel SET gate = 'channel:' || id WHERE kind = 'slack'")
    op.execute("UPDATE delivery SET gate = channel.gate FROM channel WHERE channel.id = delivery.channel_id")


def downgrade() -> None:
    op.add_column("channel", sa.Column("free_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    for table in ("channel", "delivery"):
        op.drop_column(table, "gate")
