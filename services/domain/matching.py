"""Who gets a paper: standing subscriptions against a batch of papers, and why one did not match."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.domain.evaluate import PaperText, failed, matches
from services.domain.paper import Paper
from services.domain.percolator import Percolator
from services.domain.query import Query

Vector = NDArray[np.float32]
BLOCK = 4096
"""Interests per matrix product: with a thousand papers 16 MB of scores."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """A subscription as far as matching needs it; query and interest, where both are given, must both hold."""

    id: int
    query: Query | None = None
    weights: Vector | None = None
    """The interest as a unit vector; a paper scores its product with the paper's vector."""
    threshold: float | None = None
    """The least score that matches; given exactly when `weights` are."""
    sources: frozenset[str] = frozenset()
    """The paper must have appeared in one of these kinds of sources, where any are named."""
    min_upvotes: int = 0

    def __post_init__(self) -> None:
        if (self.weights is None) is not (self.threshold is None):
            raise ValueError(f"subscription {self.id}: weights and threshold go together")
        if self.weights is not None and not (self.weights.ndim == 1 and np.isfinite(self.weights).all()):
            raise ValueError(f"subscription {self.id}: weights must be one vector of finite numbers")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A paper with its words and, when it is embedded already, its unit vector."""

    paper: Paper
    text: PaperText
    vector: Vector | None = None


@dataclass(frozen=True, slots=True, order=True)
class Match:
    subscription: int
    paper: int
    score: float | None = None
    """Of the interest; None for a query alone."""


class Matcher:
    """Standing subscriptions, replaced and removed in place.

    Queries stand in a percolator, interests of one dimension in one matrix. Where both must hold, the query is only
    evaluated for papers that reach the threshold.
    """

    def __init__(self) -> None:
        self._standing: dict[int, Standing] = {}
        self._queries = Percolator()
        self._interests: defaultdict[int, _Interests] = defaultdict(_Interests)

    def __len__(self) -> int:
        return len(self._standing)

    def put(self, standing: Standing) -> None:
        """Adds a subscription or replaces the one of the same id."""
        self.remove(standing.id)
        self._standing[standing.id] = standing
        if standing.weights is not None and standing.threshold is not None:
            self._interests[len(standing.weights)].put(standing.id, standing.weights, standing.threshold)
        elif standing.query is not None:
            self._queries.put(standing.id, standing.query)

    def remove(self, id: int) -> None:
        """Does nothing when there is none of this id."""
        standing = self._standing.pop(id, None)
        if standing is None:
            return
        if standing.weights is not None:
            self._interests[len(standing.weights)].remove(id)
        else:
            self._queries.remove(id)

    def match(self, candidates: Sequence[Candidate]) -> list[Match]:
        """All matches, in the order of the candidates and then of the subscriptions' ids."""
        found = []
        for candidate, scores, asked in zip(candidates, self._scores(candidates), self._asked(candidates), strict=True):
            for id in sorted((*scores, *asked)):
                standing = self._standing[id]
                holds = id not in scores or _query_holds(standing, candidate.text)
                if holds and not _barred(standing, candidate.paper):
                    found.append(Match(id, candidate.paper.id, scores.get(id)))
        return found

    def _asked(self, candidates: Sequence[Candidate]) -> list[list[int]]:
        """For each candidate the queries without interest that hold."""
        asked: list[list[int]] = [[] for _ in candidates]
        rows, ids = self._queries.match([candidate.text for candidate in candidates])
        for row, id in zip(rows.tolist(), ids.tolist(), strict=True):
            asked[row].append(id)
        return asked

    def _scores(self, candidates: Sequence[Candidate]) -> list[dict[int, float]]:
        """For each candidate the interests that it reaches the threshold of, with the score."""
        scores: list[dict[int, float]] = [{} for _ in candidates]
        embedded: defaultdict[int, list[tuple[int, Vector]]] = defaultdict(list)
        for number, candidate in enumerate(candidates):
            if candidate.vector is not None:
                embedded[len(candidate.vector)].append((number, candidate.vector))
        for dimension, vectors in embedded.items():
            if dimension in self._interests:
                for row, id, score in self._interests[dimension].reached([vector for _, vector in vectors]):
                    scores[vectors[row][0]][id] = score
        return scores


@dataclass(slots=True)
class _Interests:
    """Interests of one dimension, packed: the last takes the place of the one removed."""

    ids: list[int] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)
    weights: Vector = field(default_factory=lambda: np.empty((0, 0), np.float32))
    thresholds: Vector = field(default_factory=lambda: np.empty(0, np.float32))

    def put(self, id: int, weights: Vector, threshold: float) -> None:
        row = len(self.ids)
        if row == len(self.thresholds):
            grown = max(16, 2 * row)
            old_weights, old_thresholds = self.weights, self.thresholds
            self.weights, self.thresholds = np.empty((grown, len(weights)), np.float32), np.empty(grown, np.float32)
            self.weights[:row], self.thresholds[:row] = old_weights[:row].reshape(row, len(weights)), old_thresholds
        self.weights[row], self.thresholds[row] = weights, threshold
        self.rows[id] = row
        self.ids.append(id)

    def remove(self, id: int) -> None:
        row, last = self.rows.pop(id), self.ids.pop()
        if last != id:
            self.weights[row], self.thresholds[row] = self.weights[len(self.ids)], self.thresholds[len(self.ids)]
            self.ids[row], self.rows[last] = last, row

    def reached(self, vectors: Sequence[Vector]) -> Iterator[tuple[int, int, float]]:
        """(row of `vectors`, id of the interest, score) wherever the score is at least the threshold."""
        papers = np.asarray(vectors, np.float32)
        for start in range(0, len(self.ids), BLOCK):
            end = min(start + BLOCK, len(self.ids))
            scores = papers @ self.weights[start:end].T
            for row, column in np.argwhere(scores >= self.thresholds[start:end]):
                yield int(row), self.ids[start + column], float(scores[row, column])


def explain_non_match(standing: Standing, candidate: Candidate) -> str:
    """The first condition that fails, as a person reads it; empty when the subscription matches."""
    if reason := _barred(standing, candidate.paper):
        return reason
    if standing.query is None and standing.weights is None:
        return "the subscription has neither query nor interest"
    if standing.query is not None and (clause := failed(standing.query, candidate.text)):
        return clause
    if standing.weights is None or standing.threshold is None:
        return ""
    if candidate.vector is None or len(candidate.vector) != len(standing.weights):
        return "the paper has no vector of the interest's model yet"
    score = float(candidate.vector @ standing.weights)
    return "" if score >= np.float32(standing.threshold) else f"score {score:.2f} < {standing.threshold:.2f}"


def _barred(standing: Standing, paper: Paper) -> str:
    """What of the paper itself keeps it from the subscription; empty when nothing does."""
    if paper.withdrawn:
        return "the paper is withdrawn"
    if standing.sources and standing.sources.isdisjoint(paper.sources):
        return (
            f"not in {', '.join(sorted(standing.sources))}: the paper is in {', '.join(paper.sources) or 'no source'}"
        )
    if paper.upvotes < standing.min_upvotes:
        return f"upvotes {paper.upvotes} < {standing.min_upvotes}"
    return ""


def _query_holds(standing: Standing, text: PaperText) -> bool:
    return standing.query is None or matches(standing.query, text)
