"""An interest learned against the archive: what tells a text and example papers from everything else announced.

A score is a sum of standardised parts, scaled so that 0 is the archive's average paper and 0.2 what one paper in twenty
reaches, whatever the interest was learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.calibration import FLOOR as COSINE_FLOOR
from services.domain.interests.terms import (
    ALWAYS,
    Terms,
    TermTable,
    distinctive_categories,
    distinctive_terms,
    rare_terms,
)

Vector = NDArray[np.float32]

MIN_PAPERS = 300
"""Below so many the archive does not show what is usual."""
MAX_PAPERS = 2_500
"""Twice as many rank as well and take twice the time; with 1,500 it gets worse."""
FLOOR = 0.2
"""A learned score below which nothing is similar: one paper in twenty reaches it. Of those that curators put to a topic
nine in ten do with a text, five examples or all, and seven in ten with a single liked paper."""
ORDINARY = 0.95
"""The share of the archive's papers that stay below the floor."""
USUAL_QUANTILES = ((0.1, 0.12), (0.05, 0.17), (0.02, 0.23), (0.01, 0.3), (0.003, 0.43), (0.001, 0.54))
"""Shares of papers and the score that they reach, as a median over interests of all kinds."""
MAX_TERMS = 64
SOFT_EXAMPLES = 12
TEXT_WORDS, SOFT_WEIGHT = 0.2, 0.5
EXAMPLE_WORDS, EXAMPLE_CATEGORIES = 0.3, 0.3
DISLIKED = 0.3
MARGIN_COST = 0.25
"""Of the support vector machine, for either side as a whole."""
MAX_STEPS = 12
MIN_SPREAD = 0.1
"""Of a score over the archive, while its parts spread by 1 each."""
_ALMOST_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Papers, or a text, with unit vectors (n, dimensions) and terms."""

    vectors: Vector
    terms: Sequence[Terms]

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Earlier papers, the newest first."""

    vectors: Vector
    terms: TermTable

    def __len__(self) -> int:
        return len(self.vectors)

    def newest(self, count: int) -> Archive:
        return Archive(self.vectors[:count], self.terms.part(0, count))


@dataclass(frozen=True, slots=True, eq=False)
class Interest:
    """A hyperplane: a paper scores the product of its vector with `weights` plus the sum of its terms' weights."""

    weights: Vector
    terms: Mapping[str, float]

    def floor(self, cosine: float = COSINE_FLOOR) -> float:
        """The least threshold; without terms a score is a plain cosine, whose least is its model's affair."""
        return FLOOR if self.terms else cosine

    def scores(self, vectors: Vector, terms: TermTable) -> Vector:
        found: Vector = vectors @ self.weights + terms.scores(self.terms)
        return found


def usual_percentile(score: float) -> float:
    """The share of papers that a typical learned interest scores lower, between 0.5 and 1 (linear in its logarithm)."""
    shares, scores = zip((0.5, 0.0), *USUAL_QUANTILES, strict=True)
    steepness = (np.log(shares[-2]) - np.log(shares[-1])) / (scores[-1] - scores[-2])
    beyond = max(0.0, score - scores[-1]) * steepness
    return 1 - float(np.exp(np.interp(score, scores, np.log(shares)) - beyond))


def learn(text: Sample | None, liked: Sample, disliked: Vector, archive: Archive) -> Interest:
    """The interest of a text (one row), of liked and disliked papers, or of both. The archive holds 300 papers or more.

    For a text alone the papers of the archive closest to it stand in for liked ones (pseudo-relevance feedback): by
    their vectors only, since their words would repeat what made them the closest.
    """
    archive = archive.newest(MAX_PAPERS)
    parts: list[tuple[float, Interest]] = []
    if text is not None:
        parts.append((1.0, _text_part(text, archive)))
    if len(liked):
        parts.append((1.0, _examples_part(liked, archive)))
    elif text is not None:
        closest = np.argsort(-parts[0][1].scores(archive.vectors, archive.terms), kind="stable")[:SOFT_EXAMPLES]
        parts.append((SOFT_WEIGHT, _direction(archive.vectors[closest], archive)))
    if len(disliked):
        parts.append((-DISLIKED, Interest(_standard(disliked.mean(axis=0), archive), {})))
    return _scaled(_sum(parts), archive, [one for one in (text, liked) if one is not None and len(one)])


def _text_part(text: Sample, archive: Archive) -> Interest:
    return _sum(
        [
            (1.0, Interest(_standard(text.vectors[0], archive), {})),
            (TEXT_WORDS, _standard_terms(rare_terms(text.terms[0], archive.terms), archive)),
        ]
    )


def _examples_part(examples: Sample, archive: Archive) -> Interest:
    words = distinctive_terms(examples.terms, archive.terms, MAX_TERMS)
    categories = distinctive_categories(examples.terms, archive.terms)
    return _sum(
        [
            (1.0, _direction(examples.vectors, archive)),
            (EXAMPLE_WORDS, _standard_terms(words, archive)),
            (EXAMPLE_CATEGORIES, _standard_terms(categories, archive)),
        ]
    )


def _direction(examples: Vector, archive: Archive) -> Interest:
    return Interest(_standard(separating(examples, archive.vectors, MARGIN_COST), archive), {})


def separating(liked: Vector, others: Vector, cost: float) -> Vector:
    """The direction of a linear support vector machine: liked papers on one side, the archive on the other.

    Squared hinge, either side weighing the same, by Newton's method over those inside the margin (Chapelle, "Training
    a support vector machine in the primal", 2007). Papers of the archive that are liked count as liked alone.
    """
    apart = (others @ liked.T).max(axis=1) < 1 - 1e-4
    others = others[apart] if apart.any() else others
    spread = float(np.sqrt(others.var(axis=0).mean())) or 1.0
    rows = (np.concatenate([liked, others]) - others.mean(axis=0)) / spread
    rows = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
    sizes = [len(liked), len(others)]
    sides = np.repeat(np.array([1, -1], np.float32), sizes)
    costs = np.repeat(np.array([2 * cost / len(liked), 2 * cost / max(1, len(others))], np.float32), sizes)
    penalty = np.diag([*np.ones(rows.shape[1] - 1), 1e-3])
    inside, plane = np.ones(len(rows), bool), np.zeros(rows.shape[1], np.float32)
    for _ in range(MAX_STEPS):
        weighed = rows[inside] * costs[inside, None]
        plane = np.linalg.solve(weighed.T @ rows[inside] + penalty, weighed.T @ sides[inside]).astype(np.float32)
        before, inside = inside, sides * (rows @ plane) < 1
        if np.array_equal(before, inside) or not inside.any():
            break
    direction: Vector = plane[:-1]
    return direction


def _standard(weights: Vector, archive: Archive) -> Vector:
    """Scaled so that the archive's papers spread by 1."""
    return np.asarray(weights / max(float((archive.vectors @ weights).std()), _ALMOST_NOTHING), np.float32)


def _standard_terms(terms: Mapping[str, float], archive: Archive) -> Interest:
    """Words that no paper of the archive has spread by nothing; they count as if one in its size had them."""
    spread = float(archive.terms.scores(terms).std()) if terms else 1.0
    least = max(map(abs, terms.values()), default=1.0) / np.sqrt(len(archive))
    nothing = np.zeros(archive.vectors.shape[1], np.float32)
    return Interest(nothing, {term: weight / max(spread, least) for term, weight in terms.items()})


def _sum(parts: Sequence[tuple[float, Interest]]) -> Interest:
    terms: dict[str, float] = {}
    for share, part in parts:
        for term, weight in part.terms.items():
            terms[term] = terms.get(term, 0.0) + share * weight
    return Interest(np.sum([share * part.weights for share, part in parts], axis=0, dtype=np.float32), terms)


def _scaled(whole: Interest, archive: Archive, own: Sequence[Sample]) -> Interest:
    """With the strongest terms only, the archive's mean at 0 and what one paper in twenty reaches at the floor.

    Where more than those are what is wanted, as in a few sources on one subject, the floor lies halfway to the text
    and papers that the interest is made of.
    """
    names = list(whole.terms)
    _, _, variance = archive.terms.moments(names)
    strength = np.abs(list(whole.terms.values())) * np.sqrt(variance + 1 / len(archive))
    kept = {names[i]: whole.terms[names[i]] for i in np.argsort(-strength, kind="stable")[: MAX_TERMS - 1]}
    whole = Interest(whole.weights, kept)
    scores = whole.scores(archive.vectors, archive.terms)
    usual, spread = float(scores.mean()), float(scores.std())
    reached = [float(whole.scores(one.vectors, TermTable.of(one.terms)).mean()) for one in own]
    ordinary, halfway = float(np.quantile(scores, ORDINARY)), (usual + float(np.mean(reached))) / 2
    scale = max(min(ordinary, halfway) - usual, spread / 2, MIN_SPREAD) / FLOOR
    terms = {ALWAYS: -usual / scale} | {term: weight / scale for term, weight in kept.items()}
    return Interest(np.asarray(whole.weights / scale, np.float32), terms)
