"""Trending papers: the most upvoted ones of Daily Papers, chosen when a digest is made."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from services.domain.papers.paper import Paper
from services.domain.subscriptions.cadence import Cadence

SOURCE = "daily-papers"
"""The kind of the source whose upvotes count."""
MAX_GAP = timedelta(days=31)
"""A digest chooses among the papers since the last digest, but not among older papers than this."""


def period(cadence: str) -> timedelta:
    """The first digest of a subscription chooses among the papers of the last day or week."""
    return timedelta(days=7 if cadence == Cadence.WEEKLY else 1)


def reason(count: int, upvotes: int, when: str) -> str:
    """Why a paper was chosen, in one line; `when` reads `since 3 May` or `of the day`."""
    among = f"among the {count} most upvoted Daily Papers" if count > 1 else "the most upvoted of Daily Papers"
    return f"▲ {upvotes}, {among} {when}"


def past_choices(papers: Iterable[Paper], count: int, cadence: str) -> list[Paper]:
    """What digests would have chosen of past papers by their present upvotes: the best of each day or week."""
    by_period = defaultdict[tuple[int, ...], list[Paper]](list)
    for paper in papers:
        if SOURCE in paper.sources and paper.upvotes > 0 and not paper.withdrawn:
            year_week_day = paper.announced_on.isocalendar()
            by_period[year_week_day[:2] if cadence == Cadence.WEEKLY else tuple(year_week_day)].append(paper)
    best = (
        sorted(of_period, key=lambda paper: (-paper.upvotes, -paper.id))[:count] for of_period in by_period.values()
    )
    return [paper for of_period in best for paper in of_period]
