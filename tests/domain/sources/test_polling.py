"""Slots in local time: one digest a local date, whatever clocks do."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.sources.polling import (
    DigestSchedule,
    after_quiet_hours,
    digest_slot,
    has_weekday,
    is_late,
    local_date,
    missed_slot,
    next_poll,
    not_before,
)

BERLIN = DigestSchedule(timezone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_before_the_hour_the_slot_is_today() -> None:
    assert digest_slot(BERLIN, at("2026-05-04T05:59"), None) == at("2026-05-04T06:00")


def test_a_paper_five_minutes_late_waits_for_tomorrow() -> None:
    assert digest_slot(BERLIN, at("2026-05-04T06:05"), None) == at("2026-05-05T06:00")


def test_a_date_that_had_its_digest_is_over() -> None:
    assert digest_slot(BERLIN, at("2026-05-04T05:00"), date(2026, 5, 4)) == at("2026-05-05T06:00")


def test_a_weekly_slot_lies_on_the_weekday() -> None:
    slot = digest_slot(BERLIN, at("2026-05-05T00:00"), None, weekly=True)
    assert slot == at("2026-05-11T06:00")


def test_an_hour_that_the_clock_skips_comes_later_on_that_day() -> None:
    slot = digest_slot(DigestSchedule(timezone="Europe/Berlin", at=time(2, 30)), at("2026-03-28T20:00"), None)
    assert slot == at("2026-03-29T01:30")


def test_an_hour_that_comes_twice_is_its_first_coming() -> None:
    slot = digest_slot(DigestSchedule(timezone="Europe/Berlin", at=time(2, 30)), at("2026-10-24T20:00"), None)
    assert slot == at("2026-10-25T00:30")


def test_a_date_that_does_not_exist_is_passed_over() -> None:
    apia = DigestSchedule(timezone="Pacific/Apia")
    first = digest_slot(apia, at("2011-12-29T12:00"), None)
    second = digest_slot(apia, first + timedelta(minutes=1), local_date(first, "Pacific/Apia"))
    assert [local_date(slot, "Pacific/Apia") for slot in (first, second)] == [date(2011, 12, 29), date(2011, 12, 31)]


def test_only_the_latest_missed_slot_is_made_up_for() -> None:
    assert missed_slot(BERLIN, at("2026-05-06T05:59"), date(2026, 5, 3)) == at("2026-05-05T06:00")
    assert missed_slot(BERLIN, at("2026-05-06T06:00"), date(2026, 5, 3)) == at("2026-05-06T06:00")


def test_a_date_that_was_decided_is_not_missed() -> None:
    assert missed_slot(BERLIN, at("2026-05-06T09:00"), date(2026, 5, 6)) is None
    assert missed_slot(BERLIN, at("2026-05-06T09:00"), date(2026, 5, 9)) is None


def test_a_slot_before_midnight_decided_after_it_is_of_its_own_date() -> None:
    late = DigestSchedule(timezone="UTC", at=time(23, 59))
    slot = missed_slot(late, at("2026-05-05T00:00:20"), date(2026, 5, 3))
    assert slot == at("2026-05-04T23:59")
    assert digest_slot(late, at("2026-05-05T00:00:20"), date(2026, 5, 4)) == at("2026-05-05T23:59")


@pytest.mark.parametrize(
    ("last_digest_on", "day", "weekly"),
    [
        (date(2026, 5, 4), date(2026, 5, 5), False),
        (date(2026, 5, 3), date(2026, 5, 4), True),
        (date(2026, 5, 2), date(2026, 5, 6), True),
        (date(2026, 1, 1), date(2026, 5, 6), True),
        (None, date(2026, 5, 4), True),
        (None, date(2026, 5, 5), False),
    ],
)
def test_a_digest_is_weekly_when_the_weekday_is_among_the_days_it_makes_up_for(
    last_digest_on: date | None, day: date, weekly: bool
) -> None:
    assert has_weekday(BERLIN, day, last_digest_on) is weekly


def test_a_slot_is_late_half_an_hour_after_it_was_planned() -> None:
    planned = at("2026-05-04T06:00")
    assert not is_late(planned, planned + timedelta(minutes=30))
    assert is_late(planned, planned + timedelta(minutes=31))
    assert is_late(planned, planned + timedelta(minutes=1), scale=0.01)


ZONES = st.sampled_from(
    ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/New_York", "Asia/Kathmandu", "UTC"]
)
TIMES = st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None))
MOMENTS = st.datetimes(datetime(2011, 12, 1), datetime(2012, 1, 31)) | st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 1, 1)
)


@given(ZONES, TIMES, MOMENTS)
def test_slots_follow_each_other_on_later_local_dates(zone: str, hour: time, moment: datetime) -> None:
    rhythm, now = DigestSchedule(timezone=zone, at=hour), moment.replace(tzinfo=UTC)
    told: date | None = None
    for _ in range(5):
        slot = digest_slot(rhythm, now, told)
        day = local_date(slot, zone)
        assert slot >= now
        assert told is None or day > told
        now, told = slot, day


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-04T19:00", "2026-05-04T19:00"),
        ("2026-05-04T21:00", "2026-05-05T05:00"),
        ("2026-05-04T03:00", "2026-05-04T05:00"),
    ],
)
def test_quiet_hours_over_midnight_delay(moment: str, expected: str) -> None:
    rhythm = DigestSchedule(timezone="Europe/Berlin", quiet_from=time(22), quiet_to=time(7))
    assert after_quiet_hours(at(moment), rhythm) == at(expected)


def test_a_pause_holds_what_is_immediate() -> None:
    until = at("2026-06-01T00:00")
    assert not_before("immediate", BERLIN, at("2026-05-04T12:00"), None, until) == until


def test_a_pause_that_is_over_holds_nothing() -> None:
    now = at("2026-05-04T12:00")
    assert not_before("immediate", BERLIN, now, None, at("2026-05-01T00:00")) == now


def test_polls_back_off_and_come_back() -> None:
    now, every = at("2026-05-04T12:00"), timedelta(minutes=15)
    pauses = [next_poll(every, failures, None, now, 0.0) - now for failures in range(8)]
    assert pauses[:3] == [every, 2 * every, 4 * every]
    assert pauses[-1] == timedelta(hours=6)


def test_retry_after_is_kept_but_not_for_ever() -> None:
    now = at("2026-05-04T12:00")
    assert next_poll(timedelta(minutes=1), 0, 600, now, 0.0) == now + timedelta(minutes=10)
    assert next_poll(timedelta(minutes=1), 0, 1e12, now, 0.0) == now + timedelta(days=1)


def test_local_dates_are_of_the_zone() -> None:
    assert (
        local_date(at("2026-05-04T23:00"), "Europe/Berlin")
        == datetime(2026, 5, 5, tzinfo=ZoneInfo("Europe/Berlin")).date()
    )
