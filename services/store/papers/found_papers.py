"""Papers that a search in the archive found, as arrays: there are thousands of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A range of days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True, eq=False)
class FoundPapers:
    """Arrays of one length, an element for each paper."""

    ids: Ids
    ages: Ids
    """Whole days before the window's last day."""
    scores: Vector
    """0 without an interest."""
    unsure: NDArray[np.bool_]
    """The index cannot say whether the query matches: the paper's text must be read."""

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: NDArray[Any] | slice) -> FoundPapers:
        return FoundPapers(self.ids[rows], self.ages[rows], self.scores[rows], self.unsure[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The papers of a window by their score, the best first."""

    window: Window
    papers: FoundPapers


NOTHING = FoundPapers(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))


def joined(parts: Sequence[FoundPapers]) -> FoundPapers:
    """`parts` holds at least one element."""
    arrays = zip(*((part.ids, part.ages, part.scores, part.unsure) for part in parts), strict=True)
    return FoundPapers(*map(np.concatenate, arrays))


def within_window(ranking: Ranking, window: Window) -> FoundPapers:
    """The ranked papers that lie in a window, which does not begin before the ranking's own window."""
    ranked, days_later = ranking.papers, (window.last - ranking.window.last).days
    moved = FoundPapers(ranked.ids, ranked.ages + days_later, ranked.scores, ranked.unsure)
    return moved.at(moved.ages < window.days)
