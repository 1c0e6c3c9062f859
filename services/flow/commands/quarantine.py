"""Releasing a paper from quarantine."""

from services.store.db.database import Database
from services.store.papers import merging
from services.store.subscriptions import quarantine


def release(db: Database, paper_id: int) -> None:
    """Lets the paper be embedded and matched again. Raises NotFound if it is not in quarantine."""
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        quarantine.release(tx, paper_id)
