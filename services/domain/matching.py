"""Who gets a paper: standing subscriptions against a batch of papers, and why one did not match."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.domain.evaluate import PaperText, failed, matches
from services.domain.paper import Paper
from services.domain.query import And, Author, Exact, Field, Near, Or, Phrase, Query
from services.domain.query_ast import is_initial

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

    A query waits under anchors, words of which a paper must have one, and is only evaluated for papers that do.
    Interests of one dimension stand in one matrix.
    """

    def __init__(self) -> None:
        self._standing: dict[int, Standing] = {}
        self._anchored: defaultdict[str, set[int]] = defaultdict(set)
        self._anchors: dict[int, frozenset[str]] = {}
        self._everywhere: set[int] = set()
        """Queries without anchors, evaluated for every paper."""
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
            anchors = self._anchors_of(standing.query)
            if anchors is None:
                self._everywhere.add(standing.id)
            else:
                self._anchors[standing.id] = anchors
                for anchor in anchors:
                    self._anchored[anchor].add(standing.id)

    def remove(self, id: int) -> None:
        """Does nothing when there is none of this id."""
        standing = self._standing.pop(id, None)
        if standing is None:
            return
        if standing.weights is not None:
            self._interests[len(standing.weights)].remove(id)
        self._everywhere.discard(id)
        for anchor in self._anchors.pop(id, ()):
            self._anchored[anchor].discard(id)
            if not self._anchored[anchor]:
                del self._anchored[anchor]

    def match(self, candidates: Sequence[Candidate]) -> list[Match]:
        """All matches, in the order of the candidates and then of the subscriptions' ids."""
        found = []
        for candidate, scores in zip(candidates, self._scores(candidates), strict=True):
            for id in sorted({*scores, *self._asked(candidate.text)}):
                standing = self._standing[id]
                if not _barred(standing, candidate.paper) and _query_holds(standing, candidate.text):
                    found.append(Match(id, candidate.paper.id, scores.get(id)))
        return found

    def _asked(self, text: PaperText) -> set[int]:
        """The queries without interest that the paper may match."""
        names = {f"author:{name}" for author in text.names for name in author}
        present = self._anchored.keys() & {*text.title.stems, *text.abstract.stems, *names}
        return self._everywhere.union(*(self._anchored[anchor] for anchor in present))

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

    def _anchors_of(self, query: Query) -> frozenset[str] | None:
        """Words of which every paper that matches has one, chosen where few wait yet; None where there are none."""
        match query:
            case And(operands):
                return min(filter(None, map(self._anchors_of, operands)), key=self._waiting, default=None)
            case Or(operands):
                each = [self._anchors_of(operand) for operand in operands]
                return None if None in each else frozenset().union(*filter(None, each))
            case Field(_, operand):
                return self._anchors_of(operand)
            case Phrase(words=words) | Near(words=words) | Exact(words=words):
                stems = (frozenset((word.text,)) for word in words if not word.prefix)
                return min(stems, key=self._waiting, default=None)
            case Author(names=names):
                return frozenset(f"author:{name}" for name in names if not is_initial(name))
        return None

    def _waiting(self, anchors: frozenset[str]) -> int:
        return sum(len(self._anchored.get(anchor, ())) for anchor in anchors)


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
