"""The eased thresholds of interests, for papers that gather upvotes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscription", sa.Column("eased", sa.ARRAY(sa.Double()), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("subscription", "eased")
