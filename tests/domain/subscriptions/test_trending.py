"""What digests would have chosen by upvotes."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.domain.papers.paper import Paper
from services.domain.subscriptions.trending import past_choices, period, reason


def paper(id: int, day: int, upvotes: int, sources: tuple[str, ...] = ("daily-papers",), **values: object) -> Paper:
    seen = {"first_seen_at": datetime(2026, 5, day, tzinfo=UTC), "announced_on": date(2026, 5, day)}
    return Paper(id=id, title=f"P{id}", upvotes=upvotes, sources=sources, **seen, **values)  # type: ignore[arg-type]


PAPERS = [
    paper(1, 4, 5),
    paper(2, 4, 9),
    paper(3, 5, 7),
    paper(4, 5, 0),
    paper(5, 5, 99, ("arxiv",)),
    paper(6, 5, 98, withdrawn=True),
    paper(7, 11, 1),
]


@pytest.mark.parametrize(
    ("most", "cadence", "ids"),
    [(1, "daily", [2, 3, 7]), (2, "daily", [2, 1, 3, 7]), (1, "weekly", [2, 7]), (2, "weekly", [2, 3, 7])],
)
def test_the_best_of_each_day_or_week_are_chosen(most: int, cadence: str, ids: list[int]) -> None:
    assert [one.id for one in past_choices(PAPERS, most, cadence)] == ids


def test_the_reason_says_how_many_were_chosen() -> None:
    assert reason(10, 128, "since 3 May") == "▲ 128, among the 10 most upvoted Daily Papers since 3 May"
    assert reason(1, 128, "of the day") == "▲ 128, the most upvoted of Daily Papers of the day"
    assert (period("daily"), period("weekly")) == (timedelta(days=1), timedelta(days=7))
