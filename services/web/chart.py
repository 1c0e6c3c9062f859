"""The bar chart of a preview: one bar a week."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Bar:
    first: date
    last: date
    count: int
    height: float
    """Relative to the tallest bar, from 0 to 1."""


def weekly_bars(days: Iterable[date], until: date, length: int) -> list[Bar]:
    """One bar for each week of the `length` days that end with `until`. The first bar may be a shorter week."""
    start = until - timedelta(days=length - 1)
    count = -(-length // 7)
    sums = [0] * count
    for day in days:
        if start <= day <= until:
            sums[count - 1 - (until - day).days // 7] += 1
    tallest = max([*sums, 1])
    lasts = [until - WEEK * (count - 1 - place) for place in range(count)]
    return [
        Bar(max(start, last - timedelta(days=6)), last, number, number / tallest)
        for last, number in zip(lasts, sums, strict=True)
    ]
