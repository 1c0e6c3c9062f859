"""Vectors of papers, one for each embedding model."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.tables import paper_vector, sentence_vector
from services.store.papers import merging, search_index


def load(tx: Connection, ids: Collection[int], model: str) -> dict[int, NDArray[np.float32]]:
    query = select(paper_vector.c.paper_id, paper_vector.c.vector).where(
        paper_vector.c.model == model, paper_vector.c.paper_id.in_(ids)
    )
    return {row.paper_id: np.asarray(row.vector, dtype=np.float32) for row in tx.execute(query)}


def store(tx: Connection, model: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
    """Stores one row of `vectors` for each id, except for papers that were merged into others meanwhile."""
    merging.lock_against_merges(tx)
    current = merging.current_ids(tx, ids)
    values = [
        {"paper_id": id, "model": model, "vector": vector}
        for id, vector in zip(ids, vectors, strict=True)
        if current[id] == id
    ]
    if values:
        tx.execute(upsert(paper_vector).on_conflict_do_nothing(), values)


def forget(tx: Connection, ids: Collection[int]) -> None:
    """Deletes the vectors and the search index of papers whose text has changed; both are made again."""
    search_index.remove(tx, ids)
    if ids:
        tx.execute(delete(paper_vector).where(paper_vector.c.paper_id.in_(ids)))
        tx.execute(delete(sentence_vector).where(sentence_vector.c.paper_id.in_(ids)))
