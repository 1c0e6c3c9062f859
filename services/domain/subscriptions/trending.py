"""Trending papers: the most upvoted ones of Daily Papers, chosen when a digest is composed."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from services.domain.papers.paper import Paper

SOURCE = "daily-papers"
"""The kind of the source whose upvotes count."""
MAX_GAP = timedelta(days=31)
"""What a digest after a long pause looks back on."""


def period(cadence: str) -> timedelta:
    """What the first digest of a subscription looks back on."""
    return timedelta(days=7 if cadence == "weekly" else 1)


def reason(most: int, upvotes: int, when: str) -> str:
    """Why a paper was chosen, in one line; `when` reads `since 3 May` or `of the day`."""
    which = f"among the {most} most upvoted Daily Papers" if most > 1 else "the most upvoted of Daily Papers"
    return f"▲ {upvotes}, {which} {when}"


def would_come(papers: Iterable[Paper], most: int, cadence: str) -> list[Paper]:
    """What digests would have chosen of past papers by today's upvotes: the best of each day, or of each week."""
    days = defaultdict[tuple[int, ...], list[Paper]](list)
    for one in papers:
        if SOURCE in one.sources and one.upvotes > 0 and not one.withdrawn:
            week = one.announced_on.isocalendar()
            days[week[:2] if cadence == "weekly" else tuple(week)].append(one)
    best = (sorted(found, key=lambda one: (-one.upvotes, -one.id))[:most] for found in days.values())
    return [one for found in best for one in found]
