"""The charts of a preview, as figures for the SVG in a template: bars by week, and the histogram of scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.domain.interests.histogram import Histogram

WEEK = timedelta(days=7)
MAX_LABELS = 6
"""Dates under the bars."""
WIDTH, HEIGHT = 400, 74
"""The area of the bars, in units of the SVG."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One week. `x`, `width` and the heights are in units of the SVG."""

    first: date
    last: date
    count: int
    height: float
    x: float
    width: float
    before: int | None = None
    """The papers that the stored subscription would have brought."""
    before_height: float = 0.0
    has_archive: bool = True
    """Whether the archive has any paper of this week."""
    label: str = ""


def weekly_bars(
    days: Iterable[date],
    until: date,
    length: int,
    archive: Mapping[date, int] | None = None,
    before: Mapping[date, int] | None = None,
) -> list[Bar]:
    """One bar for each week of the `length` days that end with `until`. The first bar may be a shorter week.

    `archive` has the days on which there are papers; without it, every day has some. `before` are the papers by day of
    the stored subscription.
    """
    count = -(-length // 7)
    sums = _by_week(((day, 1) for day in days), until, length)
    archived = _by_week(archive.items(), until, length) if archive is not None else [1] * count
    ghosts = _by_week(before.items(), until, length) if before is not None else None
    tallest = max([*sums, *(ghosts or ()), 1])
    start, width = until - timedelta(days=length - 1), WIDTH / count
    lasts = [until - WEEK * (count - 1 - place) for place in range(count)]
    firsts = [max(start, last - timedelta(days=6)) for last in lasts]
    labelled = set(range(0, count, -(-count // MAX_LABELS)))
    return [
        Bar(
            first=firsts[place],
            last=lasts[place],
            count=sums[place],
            height=HEIGHT * sums[place] / tallest,
            x=place * width,
            width=width,
            before=ghosts[place] if ghosts else None,
            before_height=HEIGHT * ghosts[place] / tallest if ghosts else 0.0,
            has_archive=archived[place] > 0,
            label=f"{firsts[place].day} {firsts[place]:%b}" if place in labelled else "",
        )
        for place in range(count)
    ]


def _by_week(days: Iterable[tuple[date, int]], until: date, length: int) -> list[int]:
    start, count = until - timedelta(days=length - 1), -(-length // 7)
    sums = [0] * count
    for day, number in days:
        if start <= day <= until:
            sums[count - 1 - (until - day).days // 7] += number
    return sums


@dataclass(frozen=True, slots=True)
class ScoreChart:
    """The histogram of scores. The slider below it has the places of the volumes in thousandths of its width."""

    columns: Sequence[tuple[float, float, float, bool]]
    """(x, width, height, whether the papers match) in units of the SVG; the height grows with the square root."""
    line: float
    """Where the threshold lies, in units of the SVG."""
    places: str
    """`153:1/week 307:5/week`, by falling place."""
    at: int
    """The place of the wanted volume."""


def score_chart(histogram: Histogram) -> ScoreChart:
    tallest = max(1, *histogram.counts) ** 0.5
    width = WIDTH / len(histogram.counts)
    line = WIDTH * histogram.place(histogram.line)
    columns = [
        (place * width, width, HEIGHT * count**0.5 / tallest, (place + 0.5) * width >= line)
        for place, count in enumerate(histogram.counts)
    ]
    places = " ".join(f"{round(1000 * histogram.place(step.threshold))}:{step.volume}" for step in histogram.steps)
    return ScoreChart(columns, line, places, round(1000 * histogram.place(histogram.line)))
