"""What interests are learned against: the newest papers that are embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, LargeBinary, cast, func, select

from services.domain.interests.learning import MAX_PAPERS, MIN_PAPERS, Archive
from services.domain.interests.terms import TermTable
from services.store.db.tables import paper, paper_vector, paper_words
from services.store.papers import papers
from services.store.papers.archive_search import in_one_value

Vector = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Newest:
    """The newest papers that are embedded, for learning what is usual."""

    ids: Ids
    papers: Archive


def newest(tx: Connection, model: str) -> Newest:
    chosen = (
        select(paper.c.id, paper_vector.c.vector, paper_words.c.terms)
        .join(paper_vector, paper_vector.c.paper_id == paper.c.id)
        .join(paper_words, paper_words.c.paper_id == paper.c.id)
        .where(paper_vector.c.model == model, *papers.CURRENT)
        .order_by(paper.c.announced_on.desc(), paper.c.id.desc())
        .limit(MAX_PAPERS)
        .subquery()
    )
    # One value for all rows: to read thousands of vectors as text would take seconds.
    vectors = func.string_agg(func.vector_send(chosen.c.vector), cast(b"", LargeBinary))
    found: Any = tx.execute(select(func.array_agg(chosen.c.id), vectors, *in_one_value(chosen.c.terms))).one()
    ids = np.array(found[0] or (), np.int64)
    terms = TermTable.joined(found[2] or b"", found[3] or ())
    return Newest(ids=ids, papers=Archive(_vectors(found[1] or b"", len(ids)), terms))


def can_be_learned_on(tx: Connection, model: str) -> bool:
    known = select(paper_vector.c.paper_id).join(paper_words, paper_words.c.paper_id == paper_vector.c.paper_id)
    some = known.where(paper_vector.c.model == model).limit(MIN_PAPERS).subquery()
    return tx.scalars(select(func.count()).select_from(some)).one() >= MIN_PAPERS


def _vectors(sent: bytes, count: int) -> Vector:
    """From pgvector's binary form: two 16-bit numbers, then 32-bit floats, big end first."""
    if not count:
        return np.zeros((0, 1), np.float32)
    return np.frombuffer(sent, ">f4").reshape(count, -1)[:, 1:].astype(np.float32)
