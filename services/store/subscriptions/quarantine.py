"""Quarantine: papers that are not matched or embedded any more, since they ended several workers."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    Connection,
    Enum,
    Select,
    SmallInteger,
    and_,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import NotFound
from services.store.db.database import wake
from services.store.db.records import fetch_all
from services.store.db.tables import embedding_attempt, event, paper, quarantine
from services.store.interests import embedding_backlog
from services.store.subscriptions import match_runs
from services.store.subscriptions.records import QuarantinedPaper, QuarantinedStage

_STAGE = Enum(QuarantinedStage, native_enum=False, values_callable=lambda stages: [stage.value for stage in stages])


def add(tx: Connection, shard: int, paper_ids: Collection[int], error: str) -> None:
    """Excludes papers from matching in a shard."""
    if paper_ids:
        rows = [{"paper_id": paper_id, "shard": shard, "error": error} for paper_id in paper_ids]
        tx.execute(upsert(quarantine).values(rows).on_conflict_do_nothing())


def filter_quarantined(tx: Connection, shard: int, paper_ids: Collection[int]) -> set[int]:
    """The given papers that must not be matched in a shard."""
    query = select(quarantine.c.paper_id).where(quarantine.c.shard == shard, quarantine.c.paper_id.in_(paper_ids))
    return set(tx.scalars(query))


def list_all(tx: Connection, paper_id: int | None = None) -> list[QuarantinedPaper]:
    """The entries of one paper or of all, the oldest first."""
    rows = _all_stages().subquery()
    query = (
        select(rows, paper.c.title)
        .join(paper, paper.c.id == rows.c.paper_id)
        .where(rows.c.paper_id == paper_id if paper_id is not None else true())
        .order_by(rows.c.at, rows.c.paper_id, rows.c.stage, rows.c.shard)
    )
    return fetch_all(tx, QuarantinedPaper, query)


def count(tx: Connection) -> int:
    """The number of papers."""
    rows = _all_stages().subquery()
    return tx.scalars(select(func.count(rows.c.paper_id.distinct()))).one()


def _all_stages() -> Any:
    matching = select(
        quarantine.c.paper_id,
        literal(QuarantinedStage.MATCHING, _STAGE).label("stage"),
        quarantine.c.shard,
        quarantine.c.created_at.label("at"),
        quarantine.c.error,
    )
    embedding: Select[Any] = select(
        embedding_attempt.c.paper_id,
        literal(QuarantinedStage.EMBEDDING, _STAGE),
        cast(null(), SmallInteger),
        embedding_attempt.c.tried_at,
        func.concat(embedding_attempt.c.attempts, " workers were lost while they embedded it alone"),
    ).where(embedding_attempt.c.attempts >= embedding_backlog.MAX_ATTEMPTS)
    return union_all(matching, embedding)


def release(tx: Connection, paper_id: int) -> None:
    """Lets a paper be embedded and matched again, for every event of its past. No paper is sent twice.

    Raises NotFound if the paper is not quarantined.
    """
    attempts = and_(
        embedding_attempt.c.paper_id == paper_id, embedding_attempt.c.attempts >= embedding_backlog.MAX_ATTEMPTS
    )
    embedded_again = tx.execute(delete(embedding_attempt).where(attempts)).rowcount
    matched_again = tx.execute(delete(quarantine).where(quarantine.c.paper_id == paper_id)).rowcount
    if not (embedded_again or matched_again):
        raise NotFound(f"paper {paper_id} is not in quarantine")
    kinds = tx.scalars(select(event.c.what).where(event.c.paper_id == paper_id).distinct()).all()
    if matched_again and kinds:
        match_runs.open_run(tx, [(paper_id, kind) for kind in kinds])
        wake(tx, "embed")
    if embedded_again:
        wake(tx, "slow")
