"""Papers as the matcher takes them, and the liked papers that a reason may name."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from services.domain.interests.calibration import nearest_liked
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.subscriptions.matcher import Candidate
from services.store.db.database import any_id
from services.store.db.tables import interest_example, paper, paper_vector
from services.store.papers import papers
from services.store.papers import vectors as paper_vectors


def load(tx: Connection, ids: Collection[int], model: str = "") -> list[Candidate]:
    """The papers, with their vectors of `model` if one is named."""
    return of_papers(tx, papers.load(tx, ids).values(), model)


def of_papers(tx: Connection, loaded: Iterable[Paper], model: str = "") -> list[Candidate]:
    candidates = [Candidate(paper=paper, text=PaperText.of(paper)) for paper in loaded]
    return with_vectors(tx, candidates, model) if model else candidates


def with_vectors(tx: Connection, candidates: Sequence[Candidate], model: str) -> list[Candidate]:
    vectors = paper_vectors.load(tx, [candidate.paper.id for candidate in candidates], model)
    return [replace(candidate, vector=vectors.get(candidate.paper.id)) for candidate in candidates]


@dataclass(frozen=True, slots=True, eq=False)
class LikedPapers:
    """Liked papers of one subscription. Each title has a row in `vectors`."""

    titles: list[str]
    vectors: NDArray[np.float32]

    def nearest_title(self, candidate: Candidate) -> str | None:
        """The title of the liked paper closest to the candidate; None if the candidate has no vector."""
        return None if candidate.vector is None else self.titles[nearest_liked(self.vectors, candidate.vector)[0]]


def liked_papers(tx: Connection, subscription_ids: Collection[int], model: str) -> dict[int, LikedPapers]:
    """Liked papers that have a vector of the model, by subscription; only of subscriptions that have any."""
    query = (
        select(interest_example.c.subscription_id, paper.c.title, paper_vector.c.vector)
        .join(paper, paper.c.id == interest_example.c.paper_id)
        .join(paper_vector, (paper_vector.c.paper_id == paper.c.id) & (paper_vector.c.model == model))
        .where(
            interest_example.c.subscription_id == any_id(subscription_ids),
            interest_example.c.liked,
        )
        .order_by(paper.c.id)
    )
    titles, vectors = defaultdict[int, list[str]](list), defaultdict[int, list[Any]](list)
    for subscription_id, title, vector in tx.execute(query):
        titles[subscription_id].append(title)
        vectors[subscription_id].append(vector)
    return {
        subscription_id: LikedPapers(titles[subscription_id], np.array(vectors[subscription_id], np.float32))
        for subscription_id in titles
    }
