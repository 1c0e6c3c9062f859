"""Quarantine: what a person does about a paper that ended its workers."""

from services.store import merging, quarantine
from services.store.database import Database


def release(db: Database, paper_id: int) -> None:
    """Puts a paper back. Raises NotFound when it is not set aside."""
    with db.transaction() as tx:
        merging.hold_off(tx)
        quarantine.release(tx, paper_id)
