"""Matches name papers and runs without a check for each row: neither is ever deleted."""

from alembic import op

revision = "0032"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("fk_match_paper_id", "match", type_="foreignkey")
    op.drop_constraint("fk_match_run_id", "match", type_="foreignkey")


def downgrade() -> None:
    op.create_foreign_key("fk_match_paper_id", "match", "paper", ["paper_id"], ["id"], ondelete="CASCADE")
    op.create_foreign_key("fk_match_run_id", "match", "run", ["run_id"], ["id"], ondelete="CASCADE")
