"""Which papers the people of an account have read, and which they keep."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.database import any_id
from services.store.db.tables import paper, paper_mark
from services.store.papers import merging


def set_read(tx: Connection, account_id: int, paper_ids: Collection[int], read_at: datetime | None) -> int:
    """Marks papers as read, or with None as unread. Returns the number of papers that exist."""
    return _set(tx, account_id, paper_ids, "read_at", read_at)


def set_starred(tx: Connection, account_id: int, paper_ids: Collection[int], starred_at: datetime | None) -> int:
    """Keeps papers, or with None keeps them no longer. Returns the number of papers that exist."""
    return _set(tx, account_id, paper_ids, "starred_at", starred_at)


def _set(tx: Connection, account_id: int, paper_ids: Collection[int], column: str, at: datetime | None) -> int:
    merging.lock_against_merges(tx)
    current = merging.current_ids(tx, paper_ids).values()
    marked = select(literal(account_id), paper.c.id, literal(at, paper_mark.c[column].type)).where(
        paper.c.id == any_id(set(current))
    )
    new = upsert(paper_mark).from_select(["account_id", "paper_id", column], marked)
    changed = new.on_conflict_do_update(index_elements=list(paper_mark.primary_key), set_={column: at})
    return len(tx.scalars(changed.returning(paper_mark.c.paper_id)).all())
