"""Who gets a paper: standing subscriptions against a batch of papers, and why one did not match."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.interests import index as interest_index
from services.domain.interests.index import InterestIndex
from services.domain.interests.terms import Terms, TermTable, terms_of
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText, failed, matches
from services.domain.query.parser import Query
from services.domain.query.percolator.percolator import Percolator

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledSubscription:
    """A subscription as far as matching needs it; query and interest, where both are given, must both hold."""

    id: int
    query: Query | None = None
    weights: Vector | None = None
    """The interest as a hyperplane; a paper scores its product with the paper's vector, and its terms' weights."""
    terms: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    """The least score that matches; given exactly when `weights` are."""
    relaxed_thresholds: tuple[float, ...] = ()
    """The least scores of papers that took a first, second … step of upvotes since they were announced."""
    sources: frozenset[str] = frozenset()
    """The paper must have appeared in one of these kinds of sources, where any are named."""
    min_upvotes: int = 0

    def __post_init__(self) -> None:
        if (self.weights is None) is not (self.threshold is None):
            raise ValueError(f"subscription {self.id}: weights and threshold go together")
        if self.weights is not None and not (self.weights.ndim == 1 and np.isfinite(self.weights).all()):
            raise ValueError(f"subscription {self.id}: weights must be one vector of finite numbers")


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A paper with its words and, when it is embedded already, its unit vector."""

    paper: Paper
    text: PaperText
    vector: Vector | None = None
    step: int = 0
    """Of upvotes, where it was announced before: it gets the threshold of that step."""

    @cached_property
    def terms(self) -> Terms:
        return terms_of(self.text)


class Match(NamedTuple):
    subscription: int
    paper: int
    score: float | None = None
    """Of the interest; None for a query alone."""


class Matcher:
    """Standing subscriptions, replaced and removed in place.

    Queries stand in a percolator, interests of one dimension in one index. Where both must hold, the query is only
    evaluated for papers that reach the threshold.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._standing: dict[int, CompiledSubscription] = {}
        self._choosy: set[int] = set()
        """Those that ask more of a paper than query and interest do."""
        self._queries = Percolator()
        self._interests: dict[int, InterestIndex] = {}

    def __len__(self) -> int:
        return len(self._standing)

    def put(self, standing: CompiledSubscription) -> None:
        """Adds a subscription or replaces the one of the same id."""
        self.remove(standing.id)
        self._standing[standing.id] = standing
        if standing.sources or standing.min_upvotes:
            self._choosy.add(standing.id)
        if standing.weights is not None and standing.threshold is not None:
            dimensions = len(standing.weights)
            index = self._interests.setdefault(dimensions, InterestIndex(dimensions, self.threads))
            index.put(standing.id, standing.weights, standing.threshold, standing.terms, standing.relaxed_thresholds)
        elif standing.query is not None:
            self._queries.put(standing.id, standing.query)

    def remove(self, id: int) -> None:
        """Does nothing when there is none of this id."""
        standing = self._standing.pop(id, None)
        if standing is None:
            return
        self._choosy.discard(id)
        if standing.weights is not None:
            self._interests[len(standing.weights)].remove(id)
        else:
            self._queries.remove(id)

    def prepare(self) -> None:
        """Does now what the first papers would wait for."""
        if any(map(len, self._interests.values())):
            interest_index.prepare()

    def match(self, candidates: Sequence[Candidate]) -> list[Match]:
        """All matches, in the order of the candidates and then of the subscriptions' ids."""
        found: list[Match] = []
        for candidate, scores, asked in zip(candidates, self._scores(candidates), self._asked(candidates), strict=True):
            if candidate.paper.withdrawn:
                continue
            close = [id for id in scores if _query_holds(self._standing[id], candidate.text)]
            ids = sorted((*close, *asked))
            if self._choosy:
                ids = [
                    id
                    for id in ids
                    if id not in self._choosy or not filtered_out_reason(self._standing[id], candidate.paper)
                ]
            paper, score_of = candidate.paper.id, scores.get
            found += [Match(id, paper, score_of(id)) for id in ids]
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
        embedded: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for row, candidate in enumerate(candidates):
            vector = candidate.vector
            if vector is not None and len(vector) in self._interests and np.isfinite(vector).all():
                embedded[len(vector), candidate.step].append(row)
        for (dimension, step), rows in embedded.items():
            vectors = np.array([candidates[row].vector for row in rows], np.float32)
            terms = TermTable.of(candidates[row].terms for row in rows)
            found = self._interests[dimension].match(vectors, terms, step)
            for paper, id, score in zip(*(part.tolist() for part in found), strict=True):
                scores[rows[paper]][id] = score
        return scores


def explain_non_match(standing: CompiledSubscription, candidate: Candidate) -> str:
    """The first condition that fails, as a person reads it; empty when the subscription matches."""
    if reason := filtered_out_reason(standing, candidate.paper):
        return reason
    if standing.query is None and standing.weights is None:
        return "the subscription has neither query nor interest"
    if standing.query is not None and (clause := failed(standing.query, candidate.text)):
        return clause
    if standing.weights is None or standing.threshold is None:
        return ""
    score = score_of(standing, candidate)
    if score is None:
        return "the paper has no vector of the interest's model yet"
    least = least_score(standing, candidate)
    return "" if score >= np.float32(least) else f"score {score:.2f} < {least:.2f}"


def least_score(standing: CompiledSubscription, candidate: Candidate) -> float:
    """The threshold that an interest has for a paper, by its step of upvotes."""
    thresholds = (standing.threshold or 0.0, *standing.relaxed_thresholds)
    return thresholds[min(candidate.step, len(thresholds) - 1)]


def score_of(standing: CompiledSubscription, candidate: Candidate) -> float | None:
    """What a paper scores with the interest; None without an interest, or a vector of its model."""
    if standing.weights is None or candidate.vector is None or len(candidate.vector) != len(standing.weights):
        return None
    words = TermTable.of([candidate.terms]).scores(standing.terms)
    return float(candidate.vector @ standing.weights) + float(words[0])


def filtered_out_reason(standing: CompiledSubscription, paper: Paper) -> str:
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


def _query_holds(standing: CompiledSubscription, text: PaperText) -> bool:
    return standing.query is None or matches(standing.query, text)
