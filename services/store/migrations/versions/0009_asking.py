"""Asking: the address an account changes to, who was asked when, and who does not want to be."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None


def _created() -> sa.Column[object]:
    moment = postgresql.TIMESTAMP(timezone=True)
    return sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.add_column("account", sa.Column("new_email", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "confirmation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), server_default="", nullable=False),
        _created(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmation")),
    )
    op.create_index(op.f("ix_confirmation_created_at"), "confirmation", ["created_at"])
    op.create_table(
        "suppression",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("refused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _created(),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_suppression")),
    )


def downgrade() -> None:
    op.drop_table("suppression")
    op.drop_table("confirmation")
    op.drop_column("account", "new_email")
