"""The training set of interests: the newest papers that are embedded."""

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
PaperIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Row r of the archive is the paper `paper_ids[r]`."""

    paper_ids: PaperIds
    archive: Archive


def newest(tx: Connection, model: str) -> TrainingSet:
    """The newest `MAX_PAPERS` papers with a vector of the model and with terms, the newest first."""
    chosen = (
        select(paper.c.id, paper_vector.c.vector, paper_words.c.terms)
        .join(paper_vector, paper_vector.c.paper_id == paper.c.id)
        .join(paper_words, paper_words.c.paper_id == paper.c.id)
        .where(paper_vector.c.model == model, *papers.CURRENT)
        .order_by(paper.c.announced_on.desc(), paper.c.id.desc())
        .limit(MAX_PAPERS)
        .subquery()
    )
    # All rows in one binary value: reading thousands of vectors as text would take seconds.
    vectors = func.string_agg(func.vector_send(chosen.c.vector), cast(b"", LargeBinary))
    row: Any = tx.execute(select(func.array_agg(chosen.c.id), vectors, *in_one_value(chosen.c.terms))).one()
    paper_ids = np.array(row[0] or (), np.int64)
    terms = TermTable.joined(row[2] or b"", row[3] or ())
    return TrainingSet(paper_ids=paper_ids, archive=Archive(_decode_vectors(row[1] or b"", len(paper_ids)), terms))


def can_be_learned_on(tx: Connection, model: str) -> bool:
    """Whether at least `MIN_PAPERS` papers have a vector of the model and terms."""
    usable = (
        select(paper_vector.c.paper_id)
        .join(paper_words, paper_words.c.paper_id == paper_vector.c.paper_id)
        .where(paper_vector.c.model == model)
        .limit(MIN_PAPERS)
        .subquery()
    )
    return tx.scalars(select(func.count()).select_from(usable)).one() >= MIN_PAPERS


def _decode_vectors(sent: bytes, count: int) -> Vector:
    """Shape (count, dimensions), from pgvector's binary form: two 16-bit numbers, then big-endian 32-bit floats."""
    if not count:
        return np.zeros((0, 1), np.float32)
    return np.frombuffer(sent, ">f4").reshape(count, -1)[:, 1:].astype(np.float32)
