"""Interests: example papers and a text become one weight vector; a wanted volume becomes a threshold on its score."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from services.errors import ConfigError, EmbedderError

Vector = NDArray[np.float32]
Ages = NDArray[np.int64]
"""In whole days."""

FLOOR = 0.3
"""A cosine below which nothing is similar: of random titles and papers nine pairs in ten stay below 0.29, of papers
that curators put to a topic 19 in 20 reach 0.31 with its description (all-MiniLM-L6-v2, arXiv papers of June 2025)."""
DISLIKED_WEIGHT = 0.3
SCORES_THAT_TELL = 50
BULK = 0.1
"""The share of papers at which an interest's own scores place it among the reference quantiles."""
USUAL_PAPERS_PER_DAY = 500.0
"""About what arXiv announces in computer science on a working day; taken while nothing was announced yet."""
DAYS = {"day": 1, "week": 7, "month": 30}
MAX_PER_DAY = 1000
_VOLUME = re.compile(r"(\d{1,9})\s*(?:/|per\b|an?\b)\s*(day|week|month)", re.ASCII)
_ALMOST_NOTHING = 1e-6


def embedding_text(title: str, abstract: str) -> str:
    """What of a paper is embedded: `title. abstract`."""
    return ". ".join(part for part in (title.strip().rstrip("."), abstract.strip()) if part)


def compile_interest(text: Vector | None, liked: Vector, disliked: Vector) -> Vector:
    """The unit weight vector of a text and of liked and disliked papers (matrices of unit rows, perhaps of none).

    unit(unit(unit(text) + unit(mean of liked)) - 0.3 unit(mean of disliked)). The text counts as much as all liked
    papers together: on five curated topics that ranked best (average precision 0.38 with five examples and the text,
    against 0.35 with a quarter of the weight and 0.32 without it). Dislikes of the best-ranked wrong papers help
    up to 0.3 and cost precision from 0.5 on, since they are near to what is wanted.
    """
    parts = [_unit(text)] if text is not None else []
    if len(liked):
        parts.append(_unit(liked.mean(axis=0)))
    if not parts:
        raise ConfigError("an interest needs a text or a paper you like; disliked papers alone say nothing")
    # What cancels out falls back on its first part, in the end on the paper liked first.
    candidates = [_unit(np.sum(parts, axis=0)), parts[0], *liked[:1]]
    wanted: Vector = next((vector for vector in candidates if vector.any()), candidates[0])
    if not len(disliked):
        return wanted
    return _unit(wanted - DISLIKED_WEIGHT * _unit(disliked.mean(axis=0)))


def score(weights: Vector, vectors: Vector) -> Vector:
    """The cosine of each row of `vectors` (unit length) with the weights; shape (len(vectors),)."""
    scores: Vector = vectors @ weights
    return scores


HALF_LIFE = 7.0
"""Days: what is announced changes quickly, by a fifth within weeks around the deadlines of conferences."""
CORRECTION, STEADY_PAPERS = 2.0, 5.0
"""How much of a shortfall is made good, and over how many papers more, so that chance alone moves little."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many papers a subscription brought over its last days."""

    papers: int
    days: float


@dataclass(frozen=True, slots=True)
class Volume:
    """How many papers a person wants: `count` per `day`, `week` or `month`."""

    count: float
    period: str

    @property
    def per_day(self) -> float:
        return self.count / DAYS[self.period]

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
"""Times an interest's volume, whose threshold holds for a paper at the first, second … step of upvotes that it takes
after it was announced: what was nearly wanted comes when many people like it."""


def relaxed_volumes(volume: Volume) -> tuple[Volume, ...]:
    return tuple(replace(volume, count=volume.count * times) for times in RELAXATION_STEPS)


def parse_volume(text: str) -> Volume:
    """Reads `5/week`, `1 a day`, `3 per day`. Raises ConfigError."""
    found = _VOLUME.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigError(f"volume: {text[:40]!r} is not like 5/week, 1/day or 3/month (a whole number)")
    volume = Volume(int(found[1]), found[2])
    if volume.count == 0:
        raise ConfigError("volume: 0 papers would never match; pause the subscription instead, or take 1/month")
    if volume.per_day > MAX_PER_DAY:
        raise ConfigError(f"volume: {volume} is more than {MAX_PER_DAY} a day; for everything use a query instead")
    return volume


def threshold_from_scores(
    scores: Vector, ages: Ages, days: int, volume: Volume, delivered: Delivered | None = None, floor: float = FLOOR
) -> float:
    """The score that lets through `volume` of what the archive's last `days` days held, at least one paper.

    `scores` and `ages` (whole days, 0 for the last) are of the papers that the subscription lets through but for their
    score; a day counts half as much as one a week later. What was `delivered` since corrects the rate. A paper matches
    at or above the threshold, which lies halfway between the last paper let through and the next; papers that score
    the same pass or fail together.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = np.asarray(scores, np.float64)[order]
    counted = np.cumsum(np.exp2(-np.asarray(ages, np.float64)[order] / HALF_LIFE))
    wanted = volume.per_day * float(np.exp2(-np.arange(days) / HALF_LIFE).sum())
    # Without the tolerance a sum of rounded weights may miss the paper that just reaches the volume.
    last = int(np.searchsorted(counted, wanted * correction(volume, delivered) - 1e-9))
    if last + 1 >= len(ranked):
        return floor
    return max(floor, float(ranked[last] + ranked[last + 1]) / 2)


def correction(volume: Volume, delivered: Delivered | None) -> float:
    """What the rate is multiplied by to make good what was too few or too many, between a half and twice."""
    if delivered is None:
        return 1.0
    wanted = volume.per_day * delivered.days
    return min(2.0, max(0.5, 1 + CORRECTION * (wanted - delivered.papers) / (wanted + STEADY_PAPERS)))


def threshold_from_quantiles(
    quantiles: Sequence[tuple[float, float]],
    volume: Volume,
    papers_per_day: float,
    scores: Vector | None = None,
    floor: float = FLOOR,
) -> float:
    """An estimate of the score for `volume` out of `papers_per_day`, while the archive is too young to calibrate.

    Reads an embedder's reference quantiles (share of papers, cosine). `scores` are the interest's own on the papers
    there are: 50 or more shift the reference to where they lie, since examples score all papers higher than a text.
    """
    papers = papers_per_day if papers_per_day > 0 else USUAL_PAPERS_PER_DAY
    threshold = _reference(quantiles, volume.per_day / papers)
    if scores is not None and len(scores) >= SCORES_THAT_TELL:
        threshold += float(np.quantile(scores, 1 - BULK)) - _reference(quantiles, BULK)
    return min(1.0, max(floor, threshold))


def _reference(quantiles: Sequence[tuple[float, float]], share: float) -> float:
    """The cosine at a share, linear in its logarithm; beyond the rarest along the last two, as the tail is straight."""
    points = sorted(quantiles, reverse=True)
    rarity, cosines = -np.log([share for share, _ in points]), np.array([cosine for _, cosine in points])
    beyond = -np.log(share) - rarity[-1]
    if beyond > 0:
        return float(cosines[-1] + beyond * (cosines[-1] - cosines[-2]) / (rarity[-1] - rarity[-2]))
    return float(np.interp(-np.log(share), rarity, cosines))


def nearest(liked: Vector, vector: Vector) -> tuple[int, float]:
    """The liked paper (row) closest to `vector`, and its cosine. `liked` holds one row at least."""
    cosines = liked @ vector
    row = int(cosines.argmax())
    return row, float(cosines[row])


def describe_interest(
    score: float,
    threshold: float,
    nearest_title: str | None = None,
    terms: Sequence[str] = (),
    percentile: float | None = None,
) -> str:
    """The reason in one line; `percentile` is the share of papers that a learned interest usually scores lower.

    `close to your interest: "tool use", "web agents"; 0.61, closer than about 99.8 % of papers (threshold 0.45),
    nearest to “A title you liked”`; without terms `0.61 close to your interest (threshold 0.45)`.
    """
    digits = 2 if round(score, 2) != round(threshold, 2) else 3
    close = "close" if score >= threshold else "not close enough"
    figure, asked = f"{score:.{digits}f}", f"(threshold {threshold:.{digits}f})"
    than = f", closer than about {_percent(percentile)} of papers" if percentile is not None else ""
    line = f"{figure} {close} to your interest{than} {asked}"
    if terms:
        words = ", ".join(f'"{term}"' for term in terms)
        line = f"{close} to your interest: {words}; {figure}{than} {asked}"
    return f"{line}, nearest to “{_shortened(nearest_title)}”" if nearest_title else line


def _percent(share: float) -> str:
    """As exact as it is known: 62 %, 97 %, 99.4 %, at most 99.9 %."""
    digits = 1 if share > 0.99 else 0
    return f"{min(100 * share, 99.9):.{digits}f} %"


def _shortened(title: str, length: int = 80) -> str:
    words = " ".join(title.split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def _unit(vector: Vector) -> Vector:
    """At length 1; zeros for next to nothing, whose direction is only rounding."""
    length = float(np.linalg.norm(vector))
    unit: Vector = np.zeros_like(vector) if length < _ALMOST_NOTHING else vector / length
    return unit
