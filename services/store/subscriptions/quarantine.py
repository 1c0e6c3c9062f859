"""Papers set aside since they ended their workers: matched, or embedded, no more until a person puts them back."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, SmallInteger, and_, cast, delete, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import NotFound
from services.store.db.database import Row, rows, wake
from services.store.db.tables import embedding_attempt, event, paper, quarantine
from services.store.interests import embedding_backlog
from services.store.subscriptions import match_runs

MATCHING, EMBEDDING = "matching", "embedding"


def add(tx: Connection, shard: int, paper_ids: Collection[int], error: str) -> None:
    """Sets papers aside from matching in a shard."""
    if paper_ids:
        new = upsert(quarantine).values([{"paper_id": one, "shard": shard, "error": error} for one in paper_ids])
        tx.execute(new.on_conflict_do_nothing())


def among(tx: Connection, shard: int, paper_ids: Collection[int]) -> set[int]:
    """Those of the papers that are not to be matched in a shard."""
    mine = and_(quarantine.c.shard == shard, quarantine.c.paper_id.in_(paper_ids))
    return set(tx.scalars(select(quarantine.c.paper_id).where(mine)))


def all_of(tx: Connection, paper_id: int | None = None) -> list[Row]:
    """What is set aside, of one paper or of all: `paper_id`, `title`, `stage`, `shard` (of matching), `at`, `error`."""
    found = _everything().subquery()
    query = select(found, paper.c.title).join(paper, paper.c.id == found.c.paper_id)
    query = query.where(found.c.paper_id == paper_id) if paper_id is not None else query
    return rows(tx, query.order_by(found.c.at, found.c.paper_id, found.c.stage, found.c.shard))


def count(tx: Connection) -> int:
    """How many papers."""
    found = _everything().subquery()
    return tx.scalars(select(func.count(found.c.paper_id.distinct()))).one()


def _everything() -> Any:
    matching = select(
        quarantine.c.paper_id,
        literal(MATCHING).label("stage"),
        quarantine.c.shard,
        quarantine.c.created_at.label("at"),
        quarantine.c.error,
    )
    lost = func.concat(embedding_attempt.c.attempts, " workers were lost while they embedded it alone")
    embedding = select(
        embedding_attempt.c.paper_id,
        literal(EMBEDDING),
        cast(null(), SmallInteger),
        embedding_attempt.c.tried_at,
        lost,
    )
    return union_all(matching, embedding.where(embedding_attempt.c.attempts >= embedding_backlog.MAX_ATTEMPTS))


def release(tx: Connection, paper_id: int) -> None:
    """Puts a paper back: it is embedded and matched again, for everything that has happened to it; nobody is told
    twice. Raises NotFound.
    """
    spent = and_(
        embedding_attempt.c.paper_id == paper_id, embedding_attempt.c.attempts >= embedding_backlog.MAX_ATTEMPTS
    )
    embedded_again = tx.execute(delete(embedding_attempt).where(spent)).rowcount
    matched_again = tx.execute(delete(quarantine).where(quarantine.c.paper_id == paper_id)).rowcount
    if not (embedded_again or matched_again):
        raise NotFound(f"paper {paper_id} is not set aside")
    happened = tx.scalars(select(event.c.what).where(event.c.paper_id == paper_id).distinct()).all()
    if matched_again and happened:
        match_runs.open_run(tx, [(paper_id, what) for what in happened])
        wake(tx, "embed")
    if embedded_again:
        wake(tx, "slow")
