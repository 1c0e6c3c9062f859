"""The best of a query: a subscription with a query alone that keeps to a volume.

A digest takes the best papers, and the others are held back: they stay on the pages.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from services.domain.interests.calibration import DAYS_PER_PERIOD, Volume
from services.domain.subscriptions.cadence import Cadence

HELD_BACK = "held back"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A paper that matches the query. `relevance` is its rank by the words of the query, 0 … 1."""

    paper_id: int
    relevance: float
    upvotes: int
    age: int = 0
    """Whole days before the last day that is looked at."""


def held_back(volume: str) -> str:
    """`held back: over 5 a week`."""
    return f"{HELD_BACK}: over {volume.replace('/', ' a ')}"


def digest_days(cadence: str) -> int:
    """The days between two digests."""
    return 7 if cadence == Cadence.WEEKLY else 1


def period_days(volume: Volume, cadence: str) -> int:
    """The days over which the volume is kept: its period, or the days between two digests if these are more."""
    return max(DAYS_PER_PERIOD[volume.period], digest_days(cadence))


def allowance(volume: Volume, cadence: str, taken: int) -> int:
    """The number of papers that one digest may take, after `taken` papers in the last `period_days`.

    A digest takes its share of the volume, rounded up: of 5 a week one a day, until five are taken.
    """
    share = ceil(volume.per_day * digest_days(cadence) - 1e-9)
    most = round(volume.per_day * period_days(volume, cadence))
    return max(0, min(share, most - taken))


def by_worth(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The most relevant first. Relevance is rounded, so that upvotes decide between about equal papers."""
    return sorted(candidates, key=lambda each: (-round(each.relevance, 1), -each.upvotes, -each.paper_id))


def past_choices(candidates: Sequence[Candidate], volume: Volume, cadence: str) -> list[Candidate]:
    """What past digests would have taken."""
    by_digest = defaultdict[int, list[Candidate]](list)
    for each in candidates:
        by_digest[each.age // digest_days(cadence)].append(each)
    taken: list[tuple[int, Candidate]] = []
    period = period_days(volume, cadence)
    for digest in sorted(by_digest, reverse=True):
        lately = sum((earlier - digest) * digest_days(cadence) < period for earlier, _ in taken)
        best = by_worth(by_digest[digest])[: allowance(volume, cadence, lately)]
        taken += [(digest, each) for each in best]
    return [each for _, each in taken]
