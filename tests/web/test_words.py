"""Bars of weeks, and moments in words."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.web.chart import HEIGHT, weekly_bars
from services.web.formatting import distance, local, span

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UNTIL = date(2026, 5, 4)


def test_a_week_ends_with_the_last_day() -> None:
    bars = weekly_bars([UNTIL, UNTIL - timedelta(days=6), UNTIL - timedelta(days=7)], UNTIL, 60)
    assert [bar.count for bar in bars][-2:] == [1, 2]
    assert (bars[-1].first, bars[-1].last) == (date(2026, 4, 28), UNTIL)
    assert (bars[-1].height, bars[-2].height) == (HEIGHT, HEIGHT / 2)


@given(st.integers(60, 90), st.lists(st.integers(0, 59)))
def test_every_day_of_the_window_is_in_one_bar(length: int, days: list[int]) -> None:
    bars = weekly_bars([UNTIL - timedelta(days=one) for one in days], UNTIL, length)
    assert sum(bar.count for bar in bars) == len(days)
    assert bars[0].first == UNTIL - timedelta(days=length - 1)
    assert all(0 <= bar.height <= HEIGHT for bar in bars)
    assert all(before.last + timedelta(days=1) == after.first for before, after in pairwise(bars))


def test_days_outside_the_window_are_left_out() -> None:
    bars = weekly_bars([UNTIL + timedelta(days=1), UNTIL - timedelta(days=60)], UNTIL, 60)
    assert sum(bar.count for bar in bars) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (90, "2 minutes ago"), (-3600, "in 1 hour"), (3 * 86_400, "3 days ago"), (-30, "in a moment")],
)
def test_a_distance_names_the_largest_unit(seconds: int, words: str) -> None:
    assert distance(NOW - timedelta(seconds=seconds), NOW) == words


def test_a_moment_is_told_in_the_reader_s_own_zone() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    assert local(NOW, UTC, NOW) == "today, 12:00"
    assert local(NOW + timedelta(hours=4), tokyo, NOW) == "tomorrow, 01:00"
    assert local(NOW - timedelta(days=400), UTC, NOW) == "30 Mar 2025, 12:00"


def test_a_span_reads_as_people_say_it() -> None:
    assert span(timedelta(minutes=15)) == "15 minutes"
    assert span(timedelta(days=1)) == "1 day"
    assert span(timedelta(seconds=5)) == "less than a minute"
