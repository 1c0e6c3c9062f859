"""How close a paper is to an interest, in words: as a share of papers instead of a score."""

import math

from services.domain.interests.learning import usual_percentile

RARITIES = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000)
"""The numbers of papers among which one is as close, as a reason names them."""


def rarity(score: float) -> int:
    """One paper in this many usually has such a score with a learned interest; at most 1,000."""
    times = 1 / max(1 - usual_percentile(score), 1e-9)
    return min(RARITIES, key=lambda each: abs(math.log(each / times)))


def describe_closeness(score: float) -> str:
    """`about 1 paper in 500 is as close`."""
    return f"about 1 paper in {rarity(score):,} is as close"


def describe_distance(score: float, threshold: float, *, learned: bool) -> str:
    """Why a score is too low: how many papers are as close, and how many the line lets through.

    The scores of an interest that is not learned yet are cosines, of which no share of papers is known.
    """
    if not learned:
        return "not close enough to the interest"
    if rarity(score) == rarity(threshold):
        return f"just not close enough to the interest: {describe_closeness(score)}"
    line = f"the line lies at 1 in {rarity(threshold):,}"
    return f"not close enough to the interest: {describe_closeness(score)}, and {line}"
