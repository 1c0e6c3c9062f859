"""Vectors of the sentences of papers that interests matched: requested with the match, made on the slow queue."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, and_, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.digests.sentence_ranking import pack, score_sentences
from services.store.db.tables import sentence_vector, subscription
from services.store.papers import vectors as paper_vectors

Vector = NDArray[np.float32]
MAX_ATTEMPTS = 3
_IS_WANTED = and_(sentence_vector.c.vectors.is_(None), sentence_vector.c.attempts < MAX_ATTEMPTS)


def request(tx: Connection, ids: Collection[int], model: str) -> None:
    """Asks for the vectors of papers' sentences; vectors that are stored already stay."""
    if ids:
        rows = [{"paper_id": id, "model": model} for id in sorted(ids)]
        tx.execute(upsert(sentence_vector).on_conflict_do_nothing(), rows)


def any_wanted(model: str) -> ColumnElement[bool]:
    """SQL: whether the sentences of any paper are still to be embedded with the model."""
    return select(sentence_vector.c.paper_id).where(_IS_WANTED, sentence_vector.c.model == model).exists()


def take(tx: Connection, model: str, limit: int) -> list[int]:
    """Papers whose sentences are to be embedded, the newest first, and counts an attempt for each."""
    ids = list(
        tx.scalars(
            select(sentence_vector.c.paper_id)
            .where(_IS_WANTED, sentence_vector.c.model == model)
            .order_by(sentence_vector.c.paper_id.desc())
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    tx.execute(
        update(sentence_vector)
        .where(sentence_vector.c.paper_id.in_(ids), sentence_vector.c.model == model)
        .values(attempts=sentence_vector.c.attempts + 1)
    )
    return ids


def release(tx: Connection, ids: Collection[int], model: str) -> None:
    """Resets the attempts after a failure of the embedder, which the papers did not cause."""
    tx.execute(
        update(sentence_vector)
        .where(sentence_vector.c.paper_id.in_(ids), sentence_vector.c.model == model)
        .values(attempts=0)
    )


def store(tx: Connection, vectors: Mapping[int, Vector], model: str) -> None:
    """Stores the vectors of the sentences (rows) of each paper."""
    of_papers = paper_vectors.load(tx, vectors, model)
    for id, rows in vectors.items():
        packed_rows = pack(rows, of_papers.get(id, np.zeros(rows.shape[1], np.float32)))
        tx.execute(
            update(sentence_vector)
            .where(sentence_vector.c.paper_id == id, sentence_vector.c.model == model)
            .values(vectors=packed_rows)
        )


def sentence_scores(tx: Connection, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Sequence[float]]:
    """(subscription, paper) → how close each sentence is to the interest, where the interest's model has vectors."""
    if not pairs:
        return {}
    id_columns = func.unnest(*(cast(list(ids), ARRAY(BigInteger)) for ids in zip(*pairs, strict=True)))
    pair = id_columns.table_valued("subscription_id", "paper_id").render_derived(name="pair")
    # The binary form of pgvector: parsing the text form would take most of the time.
    weights = func.vector_send(subscription.c.weights).label("weights")
    rows = tx.execute(
        select(pair.c.subscription_id, pair.c.paper_id, sentence_vector.c.vectors, weights)
        .join(subscription, subscription.c.id == pair.c.subscription_id)
        .join(
            sentence_vector,
            and_(sentence_vector.c.paper_id == pair.c.paper_id, sentence_vector.c.model == subscription.c.model),
        )
        .where(sentence_vector.c.vectors.is_not(None), subscription.c.weights.is_not(None))
    )
    return {
        (row.subscription_id, row.paper_id): score_sentences(row.vectors, np.frombuffer(row.weights, ">f4")[1:])
        for row in rows
    }


def delete_model(tx: Connection, model: str) -> None:
    tx.execute(delete(sentence_vector).where(sentence_vector.c.model == model))
