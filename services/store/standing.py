"""Rows as the matcher takes them: subscriptions standing, papers as candidates, and the reason in one line."""

from collections.abc import Collection, Iterable

import numpy as np
from sqlalchemy import Connection

from services.domain.evaluate import PaperText, describe, evidence
from services.domain.interest import describe_interest, nearest
from services.domain.lexical import told_by
from services.domain.matching import Candidate, Standing, least_score
from services.domain.paper import Paper
from services.domain.query import parse
from services.store import papers, subscriptions
from services.store.database import Row


def compiled(row: Row, model: str) -> Standing | None:
    """A subscription's row; None while its interest waits for the embedder. Raises QueryError."""
    asks_interest = bool(row["volume"])
    if asks_interest and (row["weights"] is None or row["model"] != model):
        return None
    return Standing(
        id=row["id"],
        query=parse(row["query"]) if row["query"] else None,
        weights=np.asarray(row["weights"], dtype=np.float32) if asks_interest else None,
        terms=row["terms"] if asks_interest else {},
        threshold=row["threshold"] if asks_interest else None,
        eased=tuple(row["eased"]) if asks_interest else (),
        sources=frozenset(row["sources"]),
        min_upvotes=row["min_upvotes"],
    )


def candidates(tx: Connection, ids: Collection[int], model: str) -> list[Candidate]:
    return as_candidates(tx, papers.load(tx, ids).values(), model)


def as_candidates(tx: Connection, loaded: Iterable[Paper], model: str) -> list[Candidate]:
    known = list(loaded)
    vectors = papers.vectors(tx, [one.id for one in known], model)
    return [Candidate(paper=one, text=PaperText.of(one), vector=vectors.get(one.id)) for one in known]


def why(standing: Standing, candidate: Candidate, score: float | None, nearest_title: str | None = None) -> str:
    """Why it matched: the words that did, and how close the interest is."""
    parts = [describe(evidence(standing.query, candidate.text))] if standing.query is not None else []
    if score is not None and standing.threshold is not None:
        told = told_by(standing.terms, candidate.text)
        parts.append(describe_interest(score, least_score(standing, candidate), nearest_title, told))
        if score < standing.threshold:
            parts.append(f"near before, now with {candidate.paper.upvotes} upvotes")
    return "; ".join(part for part in parts if part)


def nearest_liked(tx: Connection, subscription_id: int, candidate: Candidate, model: str) -> str | None:
    """The title of the liked paper that is closest to the candidate."""
    liked, _ = subscriptions.examples_of(tx, subscription_id)
    vectors = papers.vectors(tx, liked, model) if liked else {}
    if not vectors or candidate.vector is None:
        return None
    ids = list(vectors)
    best, _ = nearest(np.stack([vectors[one] for one in ids]), candidate.vector)
    return papers.load(tx, [ids[best]])[ids[best]].title
