"""Papers that no run embeds: silent imports, those whose embedder was down, and those that end their workers."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.tables import embedding_attempt, paper, paper_vector

MAX_ATTEMPTS = 3
"""Beyond those of its run: a paper that ends so many workers stays without a vector."""
TRIED = func.coalesce(embedding_attempt.c.attempts, 0)


def waiting(model: str) -> Any:
    """SQL: whether any paper is still to be embedded."""
    return exists(_lacking(model))


def take(tx: Connection, model: str, limit: int) -> list[int]:
    """Papers to embed, the newest first, their attempt counted; one that ended a worker comes late and alone."""
    found = tx.execute(_lacking(model).order_by(TRIED, paper.c.id.desc()).limit(limit)).all()
    ids = [row.id for row in found if row.attempts == 0] or [row.id for row in found[:1]]
    if ids:
        again = {"attempts": embedding_attempt.c.attempts + 1, "tried_at": func.now()}
        count = upsert(embedding_attempt).on_conflict_do_update(index_elements=["paper_id"], set_=again)
        tx.execute(count, [{"paper_id": one, "attempts": 1} for one in ids])
    return ids


def survived(tx: Connection, ids: Collection[int]) -> None:
    """Embedded or not, they ended nobody."""
    tx.execute(delete(embedding_attempt).where(embedding_attempt.c.paper_id.in_(ids)))


def _lacking(model: str) -> Any:
    has = exists().where(paper_vector.c.paper_id == paper.c.id, paper_vector.c.model == model)
    query = select(paper.c.id, TRIED.label("attempts")).outerjoin(
        embedding_attempt, embedding_attempt.c.paper_id == paper.c.id
    )
    return query.where(~has, paper.c.merged_into.is_(None), TRIED < MAX_ATTEMPTS)
