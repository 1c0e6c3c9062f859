"""An interest learned against the archive: what tells a text and example papers from everything else announced.

A score is a sum of standardised parts, so that 0 is the archive's average paper; it is scaled so that the text and the
liked papers score 1 on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.interest import FLOOR as COSINE_FLOOR
from services.domain.lexical import (
    ALWAYS,
    Terms,
    TermTable,
    rare_terms,
    telling_categories,
    telling_terms,
)

Vector = NDArray[np.float32]

FEWEST_PAPERS = 300
"""Below so many the archive does not show what is usual."""
MOST_PAPERS = 2_500
"""Twice as many rank as well and take twice the time; with 1,500 it gets worse."""
FLOOR = 0.15
"""A learned score below which nothing is similar: of all papers nine in ten stay below 0.12 to 0.22, of those that
curators put to a topic 19 in 20 reach 0.12 (a text), 0.22 (five examples and the text) or 0.35 (all examples)."""
MOST_TERMS = 64
SOFT_EXAMPLES = 10
TEXT_WORDS, SOFT_WEIGHT = 0.2, 0.5
EXAMPLE_WORDS, EXAMPLE_CATEGORIES = 0.5, 0.3
TEXT_BESIDE_EXAMPLES = 0.75
DISLIKED = 0.3
MARGIN_COST = 0.15
"""Of the support vector machine, for either side as a whole."""
SOFT_COST = 0.05
MOST_STEPS = 12
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


def soft_examples(text: Sample, archive: Archive) -> NDArray[np.int64]:
    """Rows of the archive's papers closest to a text; they stand in for liked ones (pseudo-relevance feedback)."""
    archive = archive.newest(MOST_PAPERS)
    first = _text_part(text, archive)
    scores = archive.vectors @ first.weights + archive.terms.scores(first.terms)
    return np.argsort(-scores, kind="stable")[:SOFT_EXAMPLES]


def learn(text: Sample | None, liked: Sample, disliked: Vector, archive: Archive, soft: Sample | None) -> Interest:
    """The interest of a text (one row), of liked and disliked papers, or of both.

    `soft` are the papers that `soft_examples` named, for a text alone. The archive holds 300 papers or more.
    """
    archive = archive.newest(MOST_PAPERS)
    parts: list[tuple[float, Interest]] = []
    if text is not None:
        parts.append((TEXT_BESIDE_EXAMPLES if len(liked) else 1.0, _text_part(text, archive)))
    if len(liked):
        parts.append((1.0, _examples_part(liked, archive, MARGIN_COST)))
    elif soft is not None and len(soft):
        parts.append((SOFT_WEIGHT, _examples_part(soft, archive, SOFT_COST)))
    if len(disliked):
        weights = _standard(disliked.mean(axis=0), archive)
        parts.append((-DISLIKED, Interest(weights, {})))
    own = [one for one in (text, liked) if one is not None and len(one)]
    return _scaled(_sum(parts), archive, own)


def _text_part(text: Sample, archive: Archive) -> Interest:
    return _sum(
        [
            (1.0, Interest(_standard(text.vectors[0], archive), {})),
            (TEXT_WORDS, _standard_terms(rare_terms(text.terms[0], archive.terms), archive)),
        ]
    )


def _examples_part(examples: Sample, archive: Archive, cost: float) -> Interest:
    words = telling_terms(examples.terms, archive.terms, MOST_TERMS)
    categories = telling_categories(examples.terms, archive.terms)
    return _sum(
        [
            (1.0, Interest(_standard(separating(examples.vectors, archive.vectors, cost), archive), {})),
            (EXAMPLE_WORDS, _standard_terms(words, archive)),
            (EXAMPLE_CATEGORIES, _standard_terms(categories, archive)),
        ]
    )


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
    for _ in range(MOST_STEPS):
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
    """With the strongest terms only, the archive's mean at 0 and the mean of its own text and papers at 1."""
    names = list(whole.terms)
    _, _, variance = archive.terms.moments(names)
    strength = np.abs(list(whole.terms.values())) * np.sqrt(variance + 1 / len(archive))
    kept = {names[i]: whole.terms[names[i]] for i in np.argsort(-strength, kind="stable")[: MOST_TERMS - 1]}
    whole = Interest(whole.weights, kept)
    usual = float(whole.scores(archive.vectors, archive.terms).mean())
    reached = [float(whole.scores(one.vectors, TermTable.of(one.terms)).mean()) for one in own]
    scale = max(float(np.mean(reached)) - usual, 1.0)
    terms = {ALWAYS: -usual / scale} | {term: weight / scale for term, weight in kept.items()}
    return Interest(np.asarray(whole.weights / scale, np.float32), terms)
