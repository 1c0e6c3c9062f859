"""Papers without a vector that no match run waits for: silent imports, papers whose embedder was down, and papers that
killed their workers."""

from collections.abc import Collection

from sqlalchemy import Connection, Exists, Select, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.tables import embedding_attempt, paper, paper_vector

MAX_ATTEMPTS = 3
"""A paper that killed this many workers stays without a vector; attempts within its match run are not counted."""
ATTEMPTS = func.coalesce(embedding_attempt.c.attempts, 0)


def any_waiting(model: str) -> Exists:
    """SQL: whether any paper is still to be embedded with the model."""
    return exists(_unembedded(model))


def take(tx: Connection, model: str, limit: int) -> list[int]:
    """Papers to embed, the newest first, and counts an attempt for each.

    A paper that has killed a worker is returned alone, after all others.
    """
    rows = tx.execute(_unembedded(model).order_by(ATTEMPTS, paper.c.id.desc()).limit(limit)).all()
    ids = [row.id for row in rows if row.attempts == 0] or [row.id for row in rows[:1]]
    if ids:
        tx.execute(
            upsert(embedding_attempt).on_conflict_do_update(
                index_elements=["paper_id"],
                set_={"attempts": embedding_attempt.c.attempts + 1, "tried_at": func.now()},
            ),
            [{"paper_id": id, "attempts": 1} for id in ids],
        )
    return ids


def clear_attempts(tx: Connection, ids: Collection[int]) -> None:
    """Forgets the attempts of papers that killed no worker, embedded or not."""
    tx.execute(delete(embedding_attempt).where(embedding_attempt.c.paper_id.in_(ids)))


def _unembedded(model: str) -> Select[tuple[int, int]]:
    has_vector = exists().where(paper_vector.c.paper_id == paper.c.id, paper_vector.c.model == model)
    return (
        select(paper.c.id, ATTEMPTS.label("attempts"))
        .outerjoin(embedding_attempt, embedding_attempt.c.paper_id == paper.c.id)
        .where(~has_vector, paper.c.merged_into.is_(None), ATTEMPTS < MAX_ATTEMPTS)
    )
