"""Calibration: a wanted volume becomes a threshold on an interest's score."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from services.errors import ConfigError, EmbedderError

Vector = NDArray[np.float32]
Ages = NDArray[np.int64]
"""Whole days before the archive's last day."""

FLOOR = 0.3
"""The least threshold of a cosine. Of random titles and papers, nine pairs in ten stay below 0.29; of papers that
curators assign to a topic, 19 in 20 reach 0.31 with its description (all-MiniLM-L6-v2, arXiv papers of June 2025)."""
MIN_CALIBRATION_DAYS = 14
"""Days that the archive must span before thresholds are calibrated on it; until then they are estimated."""
DISLIKED_WEIGHT = 0.3
MIN_ALIGNMENT_SCORES = 50
"""Scores that an estimate needs to shift the reference quantiles."""
ALIGNMENT_SHARE = 0.1
"""The share of papers at which an interest's own scores are aligned with the reference quantiles."""
USUAL_PAPERS_PER_DAY = 500.0
"""The rate that an estimate assumes if nothing was announced yet: arXiv's computer science on a working day."""
DAYS_PER_PERIOD = {"day": 1, "week": 7, "month": 30}
MAX_PER_DAY = 1000
_VOLUME = re.compile(r"(\d{1,9})\s*(?:/|per\b|an?\b)\s*(day|week|month)", re.ASCII)
_EPSILON = 1e-6


def embedding_text(title: str, abstract: str) -> str:
    """The text of a paper that is embedded: `title. abstract`."""
    return ". ".join(part for part in (title.strip().rstrip("."), abstract.strip()) if part)


def cosine_weights(text: Vector | None, liked: Vector, disliked: Vector) -> Vector:
    """The unit weight vector of a text (dimensions,) and of liked and disliked papers (n, dimensions), n may be 0.

    `unit(unit(unit(text) + unit(mean of liked)) - 0.3 unit(mean of disliked))`, after Rocchio ("Relevance feedback in
    information retrieval", 1971). The text counts as much as all liked papers together: this ranked best on five
    curated topics (average precision 0.38 with five examples and the text, 0.35 with a quarter of the weight, 0.32
    without the text). Dislikes of the best-ranked wrong papers help up to a weight of 0.3 and cost precision from 0.5
    on, since such papers are similar to the wanted ones. Raises ConfigError without a text and liked papers.
    """
    parts = [_unit(text)] if text is not None else []
    if len(liked):
        parts.append(_unit(liked.mean(axis=0)))
    if not parts:
        raise ConfigError("an interest needs a text or a paper you like; disliked papers alone say nothing")
    # If the parts cancel out, the first part is taken, or the first liked paper.
    candidates = [_unit(np.sum(parts, axis=0)), parts[0], *liked[:1]]
    wanted: Vector = next((vector for vector in candidates if vector.any()), candidates[0])
    if not len(disliked):
        return wanted
    return _unit(wanted - DISLIKED_WEIGHT * _unit(disliked.mean(axis=0)))


def score(weights: Vector, vectors: Vector) -> Vector:
    """The cosine of each row of `vectors` (unit length) with the weights; shape (len(vectors),)."""
    scores: Vector = vectors @ weights
    return scores


HALF_LIFE_DAYS = 7.0
"""A paper counts half as much as one announced this many days later: around the deadlines of conferences the rate of
papers changes by a fifth within weeks."""
CORRECTION_GAIN = 2.0
"""A shortfall of 10 % changes the rate by this factor times 10 %."""
CORRECTION_DAMPING_PAPERS = 5.0
"""Papers added to the expected number, so that chance alone changes the rate little."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many papers a subscription matched over its last days."""

    papers: int
    days: float


@dataclass(frozen=True, slots=True)
class Volume:
    """How many papers a person wants: `count` per `day`, `week` or `month`."""

    count: float
    period: str

    @property
    def per_day(self) -> float:
        return self.count / DAYS_PER_PERIOD[self.period]

    def __str__(self) -> str:
        return f"{self.count}/{self.period}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledInterest:
    """An interest ready to match. Without weights the subscription has no interest, or it waits for the embedder."""

    weights: list[float] | None = None
    terms: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    relaxed_thresholds: list[float] = field(default_factory=list)
    model: str = ""
    estimated: bool = False
    """The thresholds come from the model's usual scores, since the archive is too young."""
    failed: EmbedderError | None = None

    @property
    def error(self) -> str:
        """Why the interest is not compiled, as its owner reads it."""
        return f"waits for the embedder: {self.failed}" if self.failed is not None else ""


RELAXATION_STEPS = (1.5, 2.0, 3.0, 4.0, 5.0)
"""Each step of upvotes that a paper reaches after it was announced lowers the threshold to that of the volume times the
next of these factors."""


def relaxed_volumes(volume: Volume) -> tuple[Volume, ...]:
    return tuple(replace(volume, count=volume.count * times) for times in RELAXATION_STEPS)


def parse_volume(text: str) -> Volume:
    """Reads `5/week`, `1 a day`, `3 per day`. Raises ConfigError."""
    parts = _VOLUME.fullmatch(text.strip().lower())
    if parts is None:
        advice = "is not like 5/week, 1/day or 3/month (a whole number)"
        raise ConfigError(f"volume: {text[:40]!r} {advice}", field="volume")
    volume = Volume(int(parts[1]), parts[2])
    if volume.count == 0:
        advice = "pause the subscription instead, or take 1/month"
        raise ConfigError(f"volume: 0 papers would never match; {advice}", field="volume")
    if volume.per_day > MAX_PER_DAY:
        raise ConfigError(
            f"volume: {volume} is more than {MAX_PER_DAY} a day; for everything use a query instead", field="volume"
        )
    return volume


def threshold_from_scores(
    scores: Vector, ages: Ages, days: int, volume: Volume, delivered: Delivered | None = None, floor: float = FLOOR
) -> float:
    """The score that about `volume` papers of the archive's last `days` days reach, and at least one paper.

    `scores` and `ages` (0 is the last day) have an element for each paper that matches the subscription's query,
    sources and upvotes. A paper counts `2 ** (-age / HALF_LIFE_DAYS)`. `delivered` corrects the rate, see `correction`.
    A paper matches at or above the threshold. The threshold lies halfway between the last paper that matches and the
    next one; papers with the same score match together or not at all.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = np.asarray(scores, np.float64)[order]
    counted = np.cumsum(np.exp2(-np.asarray(ages, np.float64)[order] / HALF_LIFE_DAYS))
    wanted = volume.per_day * float(np.exp2(-np.arange(days) / HALF_LIFE_DAYS).sum())
    # The tolerance is for the rounding of the sum, which may miss the paper that just reaches the volume.
    last = int(np.searchsorted(counted, wanted * correction(volume, delivered) - 1e-9))
    if last + 1 >= len(ranked):
        return floor
    return max(floor, float(ranked[last] + ranked[last + 1]) / 2)


def correction(volume: Volume, delivered: Delivered | None) -> float:
    """The factor on the rate that makes up for too few or too many papers lately, between 0.5 and 2.

    `1 + CORRECTION_GAIN (wanted - delivered) / (wanted + CORRECTION_DAMPING_PAPERS)`
    """
    if delivered is None:
        return 1.0
    wanted = volume.per_day * delivered.days
    return min(2.0, max(0.5, 1 + CORRECTION_GAIN * (wanted - delivered.papers) / (wanted + CORRECTION_DAMPING_PAPERS)))


def threshold_from_quantiles(
    quantiles: Sequence[tuple[float, float]],
    volume: Volume,
    papers_per_day: float,
    scores: Vector | None = None,
    floor: float = FLOOR,
) -> float:
    """An estimate of the score that `volume` out of `papers_per_day` papers reach, while the archive is too young.

    `quantiles` are those of an embedder: (share of papers, cosine). `scores` are those of the interest on the papers
    of the archive: at least `MIN_ALIGNMENT_SCORES` of them shift the quantiles, since an interest of examples scores
    all papers higher than an interest of a text.
    """
    papers = papers_per_day if papers_per_day > 0 else USUAL_PAPERS_PER_DAY
    threshold = _reference_cosine(quantiles, volume.per_day / papers)
    if scores is not None and len(scores) >= MIN_ALIGNMENT_SCORES:
        threshold += float(np.quantile(scores, 1 - ALIGNMENT_SHARE)) - _reference_cosine(quantiles, ALIGNMENT_SHARE)
    return min(1.0, max(floor, threshold))


def _reference_cosine(quantiles: Sequence[tuple[float, float]], share: float) -> float:
    """The cosine that a share of papers reaches: linear in the logarithm of the share, and extrapolated along the last
    two points, since the tail is straight."""
    points = sorted(quantiles, reverse=True)
    rarity, cosines = -np.log([share for share, _ in points]), np.array([cosine for _, cosine in points])
    excess = -np.log(share) - rarity[-1]
    if excess > 0:
        return float(cosines[-1] + excess * (cosines[-1] - cosines[-2]) / (rarity[-1] - rarity[-2]))
    return float(np.interp(-np.log(share), rarity, cosines))


def nearest_liked(liked: Vector, vector: Vector) -> tuple[int, float]:
    """The row of the liked paper closest to `vector`, and its cosine. `liked` has at least one row."""
    cosines = liked @ vector
    row = int(cosines.argmax())
    return row, float(cosines[row])


def _unit(vector: Vector) -> Vector:
    """The vector scaled to length 1; zeros for a vector so short that its direction is only rounding error."""
    length = float(np.linalg.norm(vector))
    unit: Vector = np.zeros_like(vector) if length < _EPSILON else vector / length
    return unit
