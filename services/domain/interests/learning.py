"""Learning: an interest becomes the hyperplane that separates its text and example papers from the archive.

A score is a weighted sum of parts, each scaled to a standard deviation of 1 over the archive. The sum is scaled so that
the archive's mean paper scores 0 and one paper in twenty scores `FLOOR` or more, whatever the interest is learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.calibration import FLOOR as COSINE_FLOOR
from services.domain.interests.terms import (
    CONSTANT_TERM,
    Terms,
    TermTable,
    distinctive_categories,
    distinctive_terms,
    rare_terms,
)

Vector = NDArray[np.float32]

MIN_PAPERS = 300
"""The least size of the archive: fewer papers do not represent what is announced."""
MAX_PAPERS = 2_500
"""The newest papers that an interest is learned from. 5,000 rank as well in twice the time; 1,500 rank worse."""
FLOOR = 0.2
"""The least threshold of a learned interest, a score that one paper in twenty reaches. Of the papers that curators
assign to a topic, nine in ten reach it with a text, five or all examples, and seven in ten with one liked paper."""
WIDE_FLOOR = 0.0
"""The least threshold of an interest that may reach wider: the score of the archive's mean paper."""
FLOOR_QUANTILE = 0.95
"""The share of the archive's papers that score below the floor."""
USUAL_QUANTILES = ((0.1, 0.12), (0.05, 0.17), (0.02, 0.23), (0.01, 0.3), (0.003, 0.43), (0.001, 0.54))
"""(share of papers, score that they reach), the median over interests of all kinds."""
MAX_TERMS = 64
"""Terms of an interest, the constant included."""
PSEUDO_LIKED_PAPERS = 12
TEXT_TERMS_WEIGHT, PSEUDO_LIKED_WEIGHT = 0.2, 0.5
EXAMPLE_TERMS_WEIGHT, EXAMPLE_CATEGORIES_WEIGHT = 0.3, 0.3
DISLIKED_WEIGHT = 0.3
SVM_COST = 0.25
"""C of the support vector machine, for each side as a whole."""
MAX_NEWTON_STEPS = 12
MIN_SPREAD = 0.1
"""The least standard deviation of a score over the archive before scaling, while each part has 1."""
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Papers, or a text: unit vectors of shape (n, dimensions), and n sets of terms."""

    vectors: Vector
    terms: Sequence[Terms]

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Earlier papers, the newest first: unit vectors of shape (n, dimensions), and their terms."""

    vectors: Vector
    terms: TermTable

    def __len__(self) -> int:
        return len(self.vectors)

    def newest(self, count: int) -> Archive:
        return Archive(self.vectors[:count], self.terms.part(0, count))


@dataclass(frozen=True, slots=True, eq=False)
class Interest:
    """A hyperplane: a paper's score is `vector · weights` plus the sum of its terms' weights."""

    weights: Vector
    terms: Mapping[str, float]

    def floor(self, cosine: float = COSINE_FLOOR, *, wide: bool = False) -> float:
        """The least threshold. Without terms a score is a cosine, whose floor `cosine` depends on the model."""
        if wide:
            return WIDE_FLOOR
        return FLOOR if self.terms else cosine

    def scores(self, vectors: Vector, terms: TermTable) -> Vector:
        scores: Vector = vectors @ self.weights + terms.scores(self.terms)
        return scores


def usual_percentile(score: float) -> float:
    """The share of papers with a lower score for a typical learned interest, between 0.5 and 1.

    Log-linear interpolation of `USUAL_QUANTILES`, extrapolated along the last two.
    """
    shares, scores = zip((0.5, 0.0), *USUAL_QUANTILES, strict=True)
    steepness = (np.log(shares[-2]) - np.log(shares[-1])) / (scores[-1] - scores[-2])
    beyond = max(0.0, score - scores[-1]) * steepness
    return 1 - float(np.exp(np.interp(score, scores, np.log(shares)) - beyond))


def learn(text: Sample | None, liked: Sample, disliked: Vector, archive: Archive) -> Interest:
    """The interest of a text (one row), of liked and disliked papers, or of both.

    The archive holds at least `MIN_PAPERS` papers. For a text alone, the papers of the archive closest to it serve as
    liked papers (pseudo-relevance feedback). Only their vectors are used, since their terms made them the closest.
    """
    archive = archive.newest(MAX_PAPERS)
    parts: list[tuple[float, Interest]] = []
    if text is not None:
        parts.append((1.0, _text_part(text, archive)))
    if len(liked):
        parts.append((1.0, _examples_part(liked, archive)))
    elif text is not None:
        closest = np.argsort(-parts[0][1].scores(archive.vectors, archive.terms), kind="stable")[:PSEUDO_LIKED_PAPERS]
        parts.append((PSEUDO_LIKED_WEIGHT, _svm_part(archive.vectors[closest], archive)))
    if len(disliked):
        parts.append((-DISLIKED_WEIGHT, Interest(_with_unit_spread(disliked.mean(axis=0), archive), {})))
    return _scaled_to_archive(
        _weighted_sum(parts), archive, [sample for sample in (text, liked) if sample is not None and len(sample)]
    )


def _text_part(text: Sample, archive: Archive) -> Interest:
    return _weighted_sum(
        [
            (1.0, Interest(_with_unit_spread(text.vectors[0], archive), {})),
            (TEXT_TERMS_WEIGHT, _terms_with_unit_spread(rare_terms(text.terms[0], archive.terms), archive)),
        ]
    )


def _examples_part(examples: Sample, archive: Archive) -> Interest:
    terms = distinctive_terms(examples.terms, archive.terms, MAX_TERMS)
    categories = distinctive_categories(examples.terms, archive.terms)
    return _weighted_sum(
        [
            (1.0, _svm_part(examples.vectors, archive)),
            (EXAMPLE_TERMS_WEIGHT, _terms_with_unit_spread(terms, archive)),
            (EXAMPLE_CATEGORIES_WEIGHT, _terms_with_unit_spread(categories, archive)),
        ]
    )


def _svm_part(examples: Vector, archive: Archive) -> Interest:
    return Interest(_with_unit_spread(svm_direction(examples, archive.vectors, SVM_COST), archive), {})


def svm_direction(liked: Vector, others: Vector, cost: float) -> Vector:
    """The direction of a linear support vector machine: liked papers on one side, the archive on the other.

    Squared hinge loss, both sides with the same total weight, minimised by Newton's method over the papers inside the
    margin (Chapelle, "Training a support vector machine in the primal", Neural Computation 19, 2007). Papers of the
    archive that are liked are left out of the archive's side.
    """
    is_not_liked = (others @ liked.T).max(axis=1) < 1 - 1e-4
    others = others[is_not_liked] if is_not_liked.any() else others
    spread = float(np.sqrt(others.var(axis=0).mean())) or 1.0
    rows = (np.concatenate([liked, others]) - others.mean(axis=0)) / spread
    rows = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
    sizes = [len(liked), len(others)]
    labels = np.repeat(np.array([1, -1], np.float32), sizes)
    costs = np.repeat(np.array([2 * cost / len(liked), 2 * cost / max(1, len(others))], np.float32), sizes)
    penalty = np.diag([*np.ones(rows.shape[1] - 1), 1e-3])
    inside, plane = np.ones(len(rows), bool), np.zeros(rows.shape[1], np.float32)
    for _ in range(MAX_NEWTON_STEPS):
        weighted = rows[inside] * costs[inside, None]
        plane = np.linalg.solve(weighted.T @ rows[inside] + penalty, weighted.T @ labels[inside]).astype(np.float32)
        previous, inside = inside, labels * (rows @ plane) < 1
        if np.array_equal(previous, inside) or not inside.any():
            break
    direction: Vector = plane[:-1]
    return direction


def _with_unit_spread(weights: Vector, archive: Archive) -> Vector:
    """Scaled so that the scores of the archive have a standard deviation of 1."""
    return np.asarray(weights / max(float((archive.vectors @ weights).std()), _EPSILON), np.float32)


def _terms_with_unit_spread(terms: Mapping[str, float], archive: Archive) -> Interest:
    """Scaled as above. Terms that no paper of the archive has are scaled as if one paper had them."""
    spread = float(archive.terms.scores(terms).std()) if terms else 1.0
    min_spread = max(map(abs, terms.values()), default=1.0) / np.sqrt(len(archive))
    no_weights = np.zeros(archive.vectors.shape[1], np.float32)
    return Interest(no_weights, {term: weight / max(spread, min_spread) for term, weight in terms.items()})


def _weighted_sum(parts: Sequence[tuple[float, Interest]]) -> Interest:
    terms: dict[str, float] = {}
    for factor, part in parts:
        for term, weight in part.terms.items():
            terms[term] = terms.get(term, 0.0) + factor * weight
    return Interest(np.sum([factor * part.weights for factor, part in parts], axis=0, dtype=np.float32), terms)


def _scaled_to_archive(interest: Interest, archive: Archive, samples: Sequence[Sample]) -> Interest:
    """Keeps the strongest terms, and scales scores: the archive's mean to 0, its `FLOOR_QUANTILE` to `FLOOR`.

    If more than one paper in twenty is relevant, as in an archive on one subject, the floor lies halfway between the
    mean and the scores of the samples that the interest is made of.
    """
    names = list(interest.terms)
    _, _, variances = archive.terms.moments(names)
    strengths = np.abs(list(interest.terms.values())) * np.sqrt(variances + 1 / len(archive))
    kept = {names[i]: interest.terms[names[i]] for i in np.argsort(-strengths, kind="stable")[: MAX_TERMS - 1]}
    interest = Interest(interest.weights, kept)
    scores = interest.scores(archive.vectors, archive.terms)
    mean, spread = float(scores.mean()), float(scores.std())
    sample_means = [float(interest.scores(each.vectors, TermTable.of(each.terms)).mean()) for each in samples]
    at_quantile, halfway = float(np.quantile(scores, FLOOR_QUANTILE)), (mean + float(np.mean(sample_means))) / 2
    scale = max(min(at_quantile, halfway) - mean, spread / 2, MIN_SPREAD) / FLOOR
    terms = {CONSTANT_TERM: -mean / scale} | {term: weight / scale for term, weight in kept.items()}
    return Interest(np.asarray(interest.weights / scale, np.float32), terms)
