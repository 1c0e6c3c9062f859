"""Rows as the matcher takes them: subscriptions standing, papers as candidates, and the reason in one line."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Connection, and_, any_, literal, select

from services.domain.interests.calibration import describe_interest, nearest_liked
from services.domain.interests.learning import usual_percentile
from services.domain.interests.terms import top_terms
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText, describe, evidence
from services.domain.query.parser import Query, parse
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, least_score
from services.store.db.database import Row
from services.store.db.tables import interest_example, paper, paper_vector
from services.store.papers import papers
from services.store.papers import vectors as paper_vectors

Vector = NDArray[np.float32]


_parsed = lru_cache(1 << 16)(parse)
"""Many people ask the same, and then share one tree."""


def compiled(row: Row) -> CompiledSubscription | None:
    """A subscription's row, for vectors of its `model`; None while its interest waits for the embedder.

    Raises QueryError.
    """
    asks_interest = bool(row["volume"])
    if asks_interest and row["weights"] is None:
        return None
    return CompiledSubscription(
        id=row["id"],
        query=_parsed(row["query"]) if row["query"] else None,
        weights=np.asarray(row["weights"], dtype=np.float32) if asks_interest else None,
        terms=row["terms"] if asks_interest else {},
        threshold=row["threshold"] if asks_interest else None,
        relaxed_thresholds=tuple(row["relaxed_thresholds"]) if asks_interest else (),
        sources=frozenset(row["sources"]),
        min_upvotes=row["min_upvotes"],
    )


def candidates(tx: Connection, ids: Collection[int], model: str = "") -> list[Candidate]:
    """Papers with their words and, where a model is named, its vectors."""
    return as_candidates(tx, papers.load(tx, ids).values(), model)


def as_candidates(tx: Connection, loaded: Iterable[Paper], model: str = "") -> list[Candidate]:
    plain = [Candidate(paper=one, text=PaperText.of(one)) for one in loaded]
    return with_vectors(tx, plain, model) if model else plain


def with_vectors(tx: Connection, plain: Sequence[Candidate], model: str) -> list[Candidate]:
    vectors = paper_vectors.load(tx, [one.paper.id for one in plain], model)
    return [replace(one, vector=vectors.get(one.paper.id)) for one in plain]


class Likes(NamedTuple):
    """Liked papers; a row of `vectors` for each title."""

    titles: list[str]
    vectors: Vector

    def nearest(self, candidate: Candidate) -> str | None:
        """The title of the one that is closest to the candidate."""
        return None if candidate.vector is None else self.titles[nearest_liked(self.vectors, candidate.vector)[0]]


def why(
    standing: CompiledSubscription,
    candidate: Candidate,
    score: float | None,
    nearest_title: str | None = None,
    said: dict[Query, str] | None = None,
) -> str:
    """Why it matched: the words that did, and how close the interest is.

    `said` keeps what was said of the paper's words: in a burst many people ask the same.
    """
    words = _words(standing.query, candidate, {} if said is None else said) if standing.query is not None else ""
    if score is None:
        return words
    parts = [words]
    if standing.threshold is not None:
        told = top_terms(standing.terms, candidate.text, candidate.terms) if standing.terms else []
        percentile = usual_percentile(score) if standing.terms else None
        parts.append(describe_interest(score, least_score(standing, candidate), nearest_title, told, percentile))
        if score < standing.threshold:
            parts.append(f"near before, now with {candidate.paper.upvotes} upvotes")
    return "; ".join(part for part in parts if part)


def _words(query: Query, candidate: Candidate, said: dict[Query, str]) -> str:
    found = said.get(query)
    if found is None:
        found = said[query] = describe(evidence(query, candidate.text))
    return found


def likes(tx: Connection, subscription_ids: Collection[int], model: str) -> dict[int, Likes]:
    """What the subscriptions' owners liked, as far as it has vectors; nothing for those who liked nothing."""
    asked = interest_example.c.subscription_id == any_(literal(list(subscription_ids), ARRAY(BigInteger)))
    columns = (interest_example.c.subscription_id, paper.c.title, paper_vector.c.vector)
    query = select(*columns).join(paper, paper.c.id == interest_example.c.paper_id)
    query = query.join(paper_vector, and_(paper_vector.c.paper_id == paper.c.id, paper_vector.c.model == model))
    found: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
    for subscription, title, vector in tx.execute(query.where(asked, interest_example.c.liked).order_by(paper.c.id)):
        found[subscription].append((title, vector))
    return {
        subscription: Likes([title for title, _ in pairs], np.array([vector for _, vector in pairs], np.float32))
        for subscription, pairs in found.items()
    }
