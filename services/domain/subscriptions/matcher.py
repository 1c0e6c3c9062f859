"""Which papers match which subscriptions, and why a paper does not match one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.interests import index as interest_index
from services.domain.interests.index import InterestIndex
from services.domain.interests.score_words import describe_distance
from services.domain.interests.terms import Terms, TermTable, terms_of
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText, explain_failure, matches
from services.domain.query.parser import Query
from services.domain.query.percolator.percolator import Percolator

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledSubscription:
    """A subscription's criteria, ready for matching. A paper must meet all of them."""

    id: int
    query: Query | None = None
    weights: Vector | None = None
    """The interest: a paper's score is the product of its vector with the weights, plus the weights of its terms."""
    terms: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    """The lowest score that matches. Given exactly when `weights` are."""
    relaxed_thresholds: tuple[float, ...] = ()
    """The lowest scores of papers that have reached the first, second … step of upvotes since their announcement."""
    sources: frozenset[str] = frozenset()
    """Kinds of sources, in one of which the paper must have appeared. Empty means any source."""
    min_upvotes: int = 0

    def __post_init__(self) -> None:
        if (self.weights is None) is not (self.threshold is None):
            raise ValueError(f"subscription {self.id}: weights and threshold go together")
        if self.weights is not None and not (self.weights.ndim == 1 and np.isfinite(self.weights).all()):
            raise ValueError(f"subscription {self.id}: weights must be one vector of finite numbers")


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A paper with its words and, if it is embedded, its unit vector."""

    paper: Paper
    text: PaperText
    vector: Vector | None = None
    upvote_step: int = 0
    """Which of the thresholds applies: 0, unless the paper was announced before and has gained upvotes since."""

    @cached_property
    def terms(self) -> Terms:
        return terms_of(self.text)


class Match(NamedTuple):
    subscription_id: int
    paper_id: int
    score: float | None = None
    """The score with the interest; None for a subscription without an interest."""


class Matcher:
    """Subscriptions against which papers are matched. They can be replaced and removed in place.

    Queries without an interest are in a percolator. Interests are in one index for each dimension of vectors. The
    query of a subscription with an interest is evaluated only for papers that reach the threshold.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._subscriptions: dict[int, CompiledSubscription] = {}
        self._with_paper_criteria: set[int] = set()
        """Subscriptions with `sources` or `min_upvotes`."""
        self._queries = Percolator()
        self._interests: dict[int, InterestIndex] = {}
        """By dimension."""

    def __len__(self) -> int:
        return len(self._subscriptions)

    def put(self, subscription: CompiledSubscription) -> None:
        """Adds a subscription or replaces the one of the same id."""
        self.remove(subscription.id)
        self._subscriptions[subscription.id] = subscription
        if subscription.sources or subscription.min_upvotes:
            self._with_paper_criteria.add(subscription.id)
        if subscription.weights is not None and subscription.threshold is not None:
            dimensions = len(subscription.weights)
            index = self._interests.setdefault(dimensions, InterestIndex(dimensions, self.threads))
            index.put(
                subscription.id,
                subscription.weights,
                subscription.threshold,
                subscription.terms,
                subscription.relaxed_thresholds,
            )
        elif subscription.query is not None:
            self._queries.put(subscription.id, subscription.query)

    def remove(self, id: int) -> None:
        """Does nothing if there is no subscription of this id."""
        subscription = self._subscriptions.pop(id, None)
        if subscription is None:
            return
        self._with_paper_criteria.discard(id)
        if subscription.weights is not None:
            self._interests[len(subscription.weights)].remove(id)
        else:
            self._queries.remove(id)

    def prepare(self) -> None:
        """Does in advance what the first match would wait for."""
        if any(map(len, self._interests.values())):
            interest_index.prepare()

    def match(self, candidates: Sequence[Candidate]) -> list[Match]:
        """All matches, in the order of the candidates and then of the subscriptions' ids."""
        matched: list[Match] = []
        scores_by_candidate, queries_by_candidate = self._scores(candidates), self._matching_queries(candidates)
        for candidate, scores, query_ids in zip(candidates, scores_by_candidate, queries_by_candidate, strict=True):
            paper, subscriptions = candidate.paper, self._subscriptions
            if paper.withdrawn:
                continue
            ids = list(query_ids)
            for id in scores:
                query = subscriptions[id].query
                if query is None or matches(query, candidate.text):
                    ids.append(id)
            ids.sort()
            if self._with_paper_criteria:
                ids = [
                    id
                    for id in ids
                    if id not in self._with_paper_criteria or not filtered_out_reason(subscriptions[id], paper)
                ]
            paper_id, score_of = paper.id, scores.get
            matched += [Match(id, paper_id, score_of(id)) for id in ids]
        return matched

    def _matching_queries(self, candidates: Sequence[Candidate]) -> list[list[int]]:
        """For each candidate, the ids of subscriptions without an interest whose query matches."""
        ids_by_candidate: list[list[int]] = [[] for _ in candidates]
        rows, ids = self._queries.match([candidate.text for candidate in candidates])
        for row, id in zip(rows.tolist(), ids.tolist(), strict=True):
            ids_by_candidate[row].append(id)
        return ids_by_candidate

    def _scores(self, candidates: Sequence[Candidate]) -> list[dict[int, float]]:
        """For each candidate, the score by subscription id, of the interests whose threshold it reaches."""
        scores: list[dict[int, float]] = [{} for _ in candidates]
        rows_by_index = defaultdict[tuple[int, int], list[int]](list)
        for row, candidate in enumerate(candidates):
            vector = candidate.vector
            if vector is not None and len(vector) in self._interests and np.isfinite(vector).all():
                rows_by_index[len(vector), candidate.upvote_step].append(row)
        for (dimension, upvote_step), rows in rows_by_index.items():
            vectors = np.array([candidates[row].vector for row in rows], np.float32)
            terms = TermTable.of(candidates[row].terms for row in rows)
            columns = self._interests[dimension].match(vectors, terms, upvote_step)
            for at, id, score in zip(*(column.tolist() for column in columns), strict=True):
                scores[rows[at]][id] = score
        return scores


def explain_non_match(subscription: CompiledSubscription, candidate: Candidate) -> str:
    """The first criterion that the paper does not meet, as a person reads it; empty if the subscription matches."""
    if reason := filtered_out_reason(subscription, candidate.paper):
        return reason
    if subscription.query is None and subscription.weights is None:
        return "the subscription has neither query nor interest"
    if subscription.query is not None and (clause := explain_failure(subscription.query, candidate.text)):
        return clause
    if subscription.weights is None:
        return ""
    score, threshold = score_of(subscription, candidate), threshold_for(subscription, candidate)
    if score is None:
        return "the paper has no vector of the interest's model yet"
    # In float32, as the index compares them.
    if score >= np.float32(threshold):
        return ""
    return describe_distance(score, threshold, learned=bool(subscription.terms))


def threshold_for(subscription: CompiledSubscription, candidate: Candidate) -> float:
    """The threshold that applies to a paper, by its step of upvotes."""
    thresholds = (subscription.threshold or 0.0, *subscription.relaxed_thresholds)
    return thresholds[min(candidate.upvote_step, len(thresholds) - 1)]


def score_of(subscription: CompiledSubscription, candidate: Candidate) -> float | None:
    """The paper's score; None if the subscription has no interest, or the paper no vector of the interest's model."""
    weights, vector = subscription.weights, candidate.vector
    if weights is None or vector is None or len(vector) != len(weights):
        return None
    term_scores = TermTable.of([candidate.terms]).scores(subscription.terms)
    return float(vector @ weights) + float(term_scores[0])


def filtered_out_reason(subscription: CompiledSubscription, paper: Paper) -> str:
    """The criterion, other than query and interest, that the paper does not meet; empty if it meets all."""
    if paper.withdrawn:
        return "the paper is withdrawn"
    if subscription.sources and subscription.sources.isdisjoint(paper.sources):
        wanted, actual = ", ".join(sorted(subscription.sources)), ", ".join(paper.sources)
        return f"not in {wanted}: the paper is in {actual or 'no source'}"
    if paper.upvotes < subscription.min_upvotes:
        return f"{paper.upvotes} upvotes, and the subscription asks for {subscription.min_upvotes} or more"
    return ""
