"""Vectors of the sentences of papers that interests matched: asked for with the match, made on the slow queue."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, and_, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.digests.sentence_ranking import closeness, packed
from services.store.db.tables import sentence_vector, subscription
from services.store.papers import vectors as paper_vectors

Vector = NDArray[np.float32]
MAX_ATTEMPTS = 3
_WANTED = and_(sentence_vector.c.vectors.is_(None), sentence_vector.c.attempts < MAX_ATTEMPTS)


def request(tx: Connection, ids: Collection[int], model: str) -> None:
    """Asks for the vectors of papers' sentences; those that are there stay."""
    if ids:
        values = [{"paper_id": one, "model": model} for one in sorted(ids)]
        tx.execute(upsert(sentence_vector).on_conflict_do_nothing(), values)


def any_wanted(model: str) -> ColumnElement[bool]:
    return select(sentence_vector.c.paper_id).where(_WANTED, sentence_vector.c.model == model).exists()


def take(tx: Connection, model: str, limit: int) -> list[int]:
    """Papers whose sentences wait, the newest first, their attempt counted before the work."""
    mine = and_(_WANTED, sentence_vector.c.model == model)
    chosen = select(sentence_vector.c.paper_id).where(mine).order_by(sentence_vector.c.paper_id.desc()).limit(limit)
    ids = list(tx.scalars(chosen.with_for_update(skip_locked=True)))
    counted = update(sentence_vector).where(sentence_vector.c.paper_id.in_(ids), sentence_vector.c.model == model)
    tx.execute(counted.values(attempts=sentence_vector.c.attempts + 1))
    return ids


def release(tx: Connection, ids: Collection[int], model: str) -> None:
    """The embedder failed, which is no fault of the papers."""
    mine = and_(sentence_vector.c.paper_id.in_(ids), sentence_vector.c.model == model)
    tx.execute(update(sentence_vector).where(mine).values(attempts=0))


def store(tx: Connection, vectors: Mapping[int, Vector], model: str) -> None:
    whole = paper_vectors.load(tx, vectors, model)
    for id, rows in vectors.items():
        mine = and_(sentence_vector.c.paper_id == id, sentence_vector.c.model == model)
        known = packed(rows, whole.get(id, np.zeros(rows.shape[1], np.float32)))
        tx.execute(update(sentence_vector).where(mine).values(vectors=known))


def reason(tx: Connection, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Sequence[float]]:
    """(subscription, paper) → how much each sentence tells, where vectors of the interest's model are there."""
    if not pairs:
        return {}
    given = func.unnest(*(cast(list(ids), ARRAY(BigInteger)) for ids in zip(*pairs, strict=True)))
    pair = given.table_valued("subscription_id", "paper_id").render_derived(name="pair")
    # In pgvector's binary form, which is read in no time.
    columns = (pair.c.subscription_id, pair.c.paper_id, sentence_vector.c.vectors)
    query = select(*columns, func.vector_send(subscription.c.weights).label("weights"))
    query = query.join(subscription, subscription.c.id == pair.c.subscription_id)
    there = and_(sentence_vector.c.paper_id == pair.c.paper_id, sentence_vector.c.model == subscription.c.model)
    query = query.join(sentence_vector, there)
    query = query.where(sentence_vector.c.vectors.is_not(None), subscription.c.weights.is_not(None))
    return {
        (row.subscription_id, row.paper_id): closeness(row.vectors, np.frombuffer(row.weights, ">f4")[1:])
        for row in tx.execute(query)
    }


def forget_model(tx: Connection, model: str) -> None:
    tx.execute(delete(sentence_vector).where(sentence_vector.c.model == model))
