"""The archive as interests are learned and calibrated on: vectors and terms of the last days' papers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from services.domain.learning import Archive
from services.domain.lexical import TermTable
from services.store import papers
from services.store.tables import paper, paper_vector, paper_words

DAYS = 60
MOST_PAPERS = 200_000
"""What fits into memory several times over: 2 kB each, four years of Daily Papers or sixty busy days of everything."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Papers of the last 60 days of the archive, the newest first, as far as they are embedded."""

    ids: NDArray[np.int64]
    ages: NDArray[np.float32]
    """Days before the last."""
    papers: Archive
    days: int
    """That the archive reaches back, 60 at most."""

    def __len__(self) -> int:
        return len(self.ids)


def window(tx: Connection, model: str) -> Window:
    first, last, _ = papers.span(tx)
    start = max(first, last - timedelta(days=DAYS - 1)) if first and last else None
    query = (
        select(paper.c.id, paper.c.announced_on, paper_vector.c.vector, paper_words.c.terms)
        .join(paper_vector, paper_vector.c.paper_id == paper.c.id)
        .join(paper_words, paper_words.c.paper_id == paper.c.id)
        .where(paper_vector.c.model == model, paper.c.merged_into.is_(None), ~paper.c.withdrawn)
        .order_by(paper.c.announced_on.desc(), paper.c.id.desc())
    )
    found = tx.execute(query.where(paper.c.announced_on >= (start or date.max)).limit(MOST_PAPERS)).all()
    vectors = np.array([row.vector for row in found], np.float32) if found else np.zeros((0, 1), np.float32)
    newest = last or date.max
    return Window(
        ids=np.array([row.id for row in found], np.int64),
        ages=np.array([(newest - row.announced_on).days for row in found], np.float32),
        papers=Archive(vectors, TermTable.joined([row.terms for row in found])),
        days=(newest - start).days + 1 if start else 0,
    )
