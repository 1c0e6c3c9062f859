"""Whether an announcement is complete, and when it is fetched again."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.domain.sources.batches import (
    MAX_LOOK_BACKS,
    Batch,
    BatchState,
    ReadingPass,
    add_failure,
    ends_at,
    expected_days,
    judge,
    next_read,
)
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
    ("what", "timetable", "now", "state"),
    [
        (reading(), ARXIV, NOON, BatchState.COMPLETE),
        (reading(more=True), ARXIV, NOON, BatchState.PARTIAL),
        (reading(skipped=1), ARXIV, NOON, BatchState.PARTIAL),
        (reading(announced=12), ARXIV, NOON, BatchState.PARTIAL),
        (reading(announced=10), ARXIV, NOON, BatchState.COMPLETE),
        (reading(read=0, of_day=0), ARXIV, NOON, BatchState.EMPTY),
        (reading(read=0, of_day=0, announced=3), ARXIV, NOON, BatchState.PARTIAL),
        (reading(of_day=0), ARXIV, NOON, BatchState.STALE),
        (reading(of_day=0, looked_back=True), ARXIV, NOON, BatchState.COMPLETE),
        (reading(), HF, NOON, BatchState.PARTIAL),
        (reading(), HF, NOON + timedelta(days=1), BatchState.COMPLETE),
    ],
)
def test_states(what: ReadingPass, timetable: Timetable, now: datetime, state: BatchState) -> None:
    assert judge(what, timetable, MONDAY, now)[0] is state


def test_the_note_of_an_empty_day_says_whether_that_was_expected() -> None:
    empty = reading(read=0, of_day=0)
    assert "weekday" in judge(empty, ARXIV, date(2026, 5, 3), NOON)[1]
    assert "holiday" in judge(empty, ARXIV, MONDAY, NOON)[1]


def test_a_settled_batch_is_not_fetched_again() -> None:
    assert next_read(BatchState.COMPLETE, ARXIV, MONDAY, NOON, counted=True, look_backs=0) is None
    assert next_read(BatchState.COMPLETE, ARXIV, MONDAY, NOON, counted=False, look_backs=1) is None


def test_a_batch_without_a_count_is_fetched_once_more_when_its_day_is_settled() -> None:
    moment = next_read(BatchState.COMPLETE, ARXIV, MONDAY, NOON, counted=False, look_backs=0)
    assert moment is not None
    assert moment > ends_at(ARXIV, MONDAY)


def test_looking_back_becomes_rarer_and_ends() -> None:
    late = NOON + timedelta(days=5)
    pauses = [
        next_read(BatchState.MISSING, ARXIV, MONDAY, late, counted=False, look_backs=look_backs)
        for look_backs in range(MAX_LOOK_BACKS + 1)
    ]
    assert pauses[-1] is None
    known = [pause - late for pause in pauses[:-1] if pause is not None]
    assert known[0] == timedelta()
    assert known[1:] == sorted(known[1:])
    assert known[-1] == timedelta(hours=24)


def batch(**values: Any) -> Batch:
    counts = dict.fromkeys(("fetched", "new", "known", "updated", "skipped", "read_so_far", "look_backs"), 0)
    plain = {"announced": None, "note": "", "silent": False, "next_read_at": NOON, "next_url": "", "updated_at": None}
    return Batch(id=1, source_id=2, announced_on=MONDAY, **{**counts, **plain, "state": BatchState.MISSING, **values})


def test_a_failure_of_the_present_list_keeps_a_batch_that_was_read() -> None:
    complete = batch(fetched=3, state=BatchState.COMPLETE)
    assert add_failure(complete, "no answer", ARXIV, NOON, looked_back=False) == complete


def test_a_failure_without_papers_is_noted_and_the_day_requested_again() -> None:
    failed = add_failure(batch(), "no answer", ARXIV, NOON, looked_back=True)
    assert (failed.state, failed.note, failed.look_backs) == (BatchState.FAILED, "no answer", 1)
    assert failed.next_read_at is not None
    assert failed.next_read_at > NOON
    assert add_failure(batch(fetched=3), "no answer", ARXIV, NOON, looked_back=True).state is BatchState.PARTIAL
    without_days = Timetable()
    assert add_failure(batch(), "no answer", without_days, NOON, looked_back=False).next_read_at is None


def test_weekends_are_not_missing_days() -> None:
    assert expected_days(ARXIV, date(2026, 5, 1), date(2026, 5, 5)) == [date(2026, 5, 1), MONDAY]


def test_a_source_is_not_polled_once_it_has_todays_list_nor_over_the_weekend() -> None:
    every = timedelta(minutes=30)
    assert next_poll(every, 0, None, NOON, 0.0, ARXIV, have_today=False) == NOON + every
    assert next_poll(every, 0, None, NOON, 0.0, ARXIV, have_today=True) == datetime(2026, 5, 5, 4, tzinfo=UTC)
    saturday = NOON + timedelta(days=5)
    assert next_poll(every, 0, None, saturday, 0.0, ARXIV) == saturday + timedelta(days=1)


def test_a_growing_list_is_polled_throughout_the_day() -> None:
    every = timedelta(minutes=15)
    assert next_poll(every, 0, None, NOON, 0.0, HF, have_today=True) == NOON + every


def test_a_failing_source_backs_off_whatever_its_timetable() -> None:
    every = timedelta(minutes=30)
    assert next_poll(every, 2, None, NOON, 0.0, ARXIV, have_today=True) == NOON + 4 * every
