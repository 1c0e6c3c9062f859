"""follow-ups: threads, updates, and channels that want nothing twice"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("channel", sa.Column("never_twice", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("delivery", sa.Column("committed_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("delivery", sa.Column("about", sa.BigInteger(), nullable=True))
    op.add_column("delivery", sa.Column("shown", postgresql.JSONB(), nullable=True))
    op.add_column("delivery", sa.Column("look_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_index("ix_delivery_about", "delivery", ["about"])
    op.create_index("ix_delivery_look", "delivery", ["look_at"], postgresql_where=sa.text("look_at IS NOT NULL"))
    op.create_foreign_key(
        op.f("fk_delivery_account_id_about"), "delivery", "delivery",
        ["account_id", "about"], ["account_id", "id"], ondelete="CASCADE",
    )  # fmt: skip


def downgrade() -> None:
    op.drop_constraint(op.f("fk_delivery_account_id_about"), "delivery", type_="foreignkey")
    op.drop_index("ix_delivery_look", "delivery")
    op.drop_index("ix_delivery_about", "delivery")
    for column in ("look_at", "shown", "about", "committed_at"):
        op.drop_column("delivery", column)
    op.drop_column("channel", "never_twice")
