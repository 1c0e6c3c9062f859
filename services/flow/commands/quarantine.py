"""Quarantine: what a person does about a paper that ended its workers."""

from services.store.db.database import Database
from services.store.papers import merging
from services.store.subscriptions import quarantine


def release(db: Database, paper_id: int) -> None:
    """Puts a paper back. Raises NotFound when it is not set aside."""
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        quarantine.release(tx, paper_id)
