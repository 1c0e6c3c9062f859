"""when a feed asks not to be polled"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("rests", JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("source", "rests")
