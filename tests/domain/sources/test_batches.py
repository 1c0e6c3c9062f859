"""Whether an announcement was read whole, and when it is looked at again."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.domain.sources.batches import MAX_READS, ReadingPass, ends_at, expected_days, judge, next_read
from services.domain.sources.polling import Timetable, next_poll

ARXIV = Timetable(timezone="America/New_York", weekdays=frozenset(range(5)), states_days=True)
HF = Timetable(grows=True, states_days=True)
MONDAY = date(2026, 5, 4)
NOON = datetime(2026, 5, 4, 16, tzinfo=UTC)


def reading(**values: Any) -> ReadingPass:
    return ReadingPass(
        **{"read": 10, "skipped": 0, "of_day": 10, "announced": None, "more": False, "looked_back": False, **values}
    )


@pytest.mark.parametrize(
    ("what", "table", "now", "state"),
    [
        (reading(), ARXIV, NOON, "complete"),
        (reading(more=True), ARXIV, NOON, "partial"),
        (reading(skipped=1), ARXIV, NOON, "partial"),
        (reading(announced=12), ARXIV, NOON, "partial"),
        (reading(announced=10), ARXIV, NOON, "complete"),
        (reading(read=0, of_day=0), ARXIV, NOON, "empty"),
        (reading(read=0, of_day=0, announced=3), ARXIV, NOON, "partial"),
        (reading(of_day=0), ARXIV, NOON, "stale"),
        (reading(of_day=0, looked_back=True), ARXIV, NOON, "complete"),
        (reading(), HF, NOON, "partial"),
        (reading(), HF, NOON + timedelta(days=1), "complete"),
    ],
)
def test_states(what: ReadingPass, table: Timetable, now: datetime, state: str) -> None:
    assert judge(what, table, MONDAY, now)[0] == state


def test_an_empty_day_says_whether_it_was_to_be_expected() -> None:
    empty = reading(read=0, of_day=0)
    assert "weekday" in judge(empty, ARXIV, date(2026, 5, 3), NOON)[1]
    assert "holiday" in judge(empty, ARXIV, MONDAY, NOON)[1]


def test_a_settled_batch_is_left_alone() -> None:
    assert next_read("complete", ARXIV, MONDAY, NOON, counted=True, reads=0) is None
    assert next_read("complete", ARXIV, MONDAY, NOON, counted=False, reads=1) is None


def test_a_batch_without_a_count_is_asked_for_once_when_its_day_is_settled() -> None:
    look = next_read("complete", ARXIV, MONDAY, NOON, counted=False, reads=0)
    assert look is not None
    assert look > ends_at(ARXIV, MONDAY)


def test_looks_become_rarer_and_end() -> None:
    late = NOON + timedelta(days=5)
    pauses = [next_read("missing", ARXIV, MONDAY, late, counted=False, reads=reads) for reads in range(MAX_READS + 1)]
    assert pauses[-1] is None
    known = [pause - late for pause in pauses[:-1] if pause is not None]
    assert known[0] == timedelta()
    assert known[1:] == sorted(known[1:])
    assert known[-1] == timedelta(hours=24)


def test_weekends_are_no_gaps() -> None:
    assert expected_days(ARXIV, date(2026, 5, 1), date(2026, 5, 5)) == [date(2026, 5, 1), MONDAY]


def test_a_source_rests_when_it_has_todays_list_and_over_the_weekend() -> None:
    every = timedelta(minutes=30)
    assert next_poll(every, 0, None, NOON, 0.0, ARXIV, have_today=False) == NOON + every
    assert next_poll(every, 0, None, NOON, 0.0, ARXIV, have_today=True) == datetime(2026, 5, 5, 4, tzinfo=UTC)
    saturday = NOON + timedelta(days=5)
    assert next_poll(every, 0, None, saturday, 0.0, ARXIV) == saturday + timedelta(days=1)


def test_a_growing_list_is_asked_for_through_the_day() -> None:
    every = timedelta(minutes=15)
    assert next_poll(every, 0, None, NOON, 0.0, HF, have_today=True) == NOON + every


def test_a_failing_source_backs_off_whatever_its_timetable() -> None:
    every = timedelta(minutes=30)
    assert next_poll(every, 2, None, NOON, 0.0, ARXIV, have_today=True) == NOON + 4 * every
