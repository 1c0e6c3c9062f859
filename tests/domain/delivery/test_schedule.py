"""Digest times in local time: one digest a local date, whatever clock changes do."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.delivery.schedule import (
    DigestSchedule,
    after_quiet_hours,
    includes_weekday,
    is_late,
    local_date,
    missed_digest_time,
    next_digest_time,
    not_before,
)

BERLIN = DigestSchedule(timezone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_before_its_time_the_digest_is_today() -> None:
    assert next_digest_time(BERLIN, at("2026-05-04T05:59"), None) == at("2026-05-04T06:00")


def test_five_minutes_after_its_time_the_digest_is_tomorrow() -> None:
    assert next_digest_time(BERLIN, at("2026-05-04T06:05"), None) == at("2026-05-05T06:00")


def test_a_local_date_has_one_digest() -> None:
    assert next_digest_time(BERLIN, at("2026-05-04T05:00"), date(2026, 5, 4)) == at("2026-05-05T06:00")


def test_a_weekly_digest_is_on_the_weekday() -> None:
    digest_time = next_digest_time(BERLIN, at("2026-05-05T00:00"), None, weekly=True)
    assert digest_time == at("2026-05-11T06:00")


def test_a_skipped_local_time_comes_later_on_the_same_day() -> None:
    digest_time = next_digest_time(
        DigestSchedule(timezone="Europe/Berlin", at=time(2, 30)), at("2026-03-28T20:00"), None
    )
    assert digest_time == at("2026-03-29T01:30")


def test_of_a_local_time_that_occurs_twice_the_first_counts() -> None:
    digest_time = next_digest_time(
        DigestSchedule(timezone="Europe/Berlin", at=time(2, 30)), at("2026-10-24T20:00"), None
    )
    assert digest_time == at("2026-10-25T00:30")


def test_a_date_that_does_not_exist_has_no_digest() -> None:
    apia = DigestSchedule(timezone="Pacific/Apia")
    first = next_digest_time(apia, at("2011-12-29T12:00"), None)
    second = next_digest_time(apia, first + timedelta(minutes=1), local_date(first, "Pacific/Apia"))
    assert [local_date(digest_time, "Pacific/Apia") for digest_time in (first, second)] == [
        date(2011, 12, 29),
        date(2011, 12, 31),
    ]


def test_only_the_latest_missed_digest_is_made() -> None:
    assert missed_digest_time(BERLIN, at("2026-05-06T05:59"), date(2026, 5, 3)) == at("2026-05-05T06:00")
    assert missed_digest_time(BERLIN, at("2026-05-06T06:00"), date(2026, 5, 3)) == at("2026-05-06T06:00")


def test_a_date_with_a_digest_is_not_missed() -> None:
    assert missed_digest_time(BERLIN, at("2026-05-06T09:00"), date(2026, 5, 6)) is None
    assert missed_digest_time(BERLIN, at("2026-05-06T09:00"), date(2026, 5, 9)) is None


def test_a_digest_before_midnight_belongs_to_its_own_date() -> None:
    late = DigestSchedule(timezone="UTC", at=time(23, 59))
    digest_time = missed_digest_time(late, at("2026-05-05T00:00:20"), date(2026, 5, 3))
    assert digest_time == at("2026-05-04T23:59")
    assert next_digest_time(late, at("2026-05-05T00:00:20"), date(2026, 5, 4)) == at("2026-05-05T23:59")


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
def test_a_digest_is_weekly_when_it_covers_the_weekday(last_digest_on: date | None, day: date, weekly: bool) -> None:
    assert includes_weekday(BERLIN, day, last_digest_on) is weekly


def test_a_digest_is_late_half_an_hour_after_its_time() -> None:
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
def test_digests_follow_each_other_on_later_local_dates(zone: str, hour: time, moment: datetime) -> None:
    schedule, now = DigestSchedule(timezone=zone, at=hour), moment.replace(tzinfo=UTC)
    last_digest_on: date | None = None
    for _ in range(5):
        digest_time = next_digest_time(schedule, now, last_digest_on)
        day = local_date(digest_time, zone)
        assert digest_time >= now
        assert last_digest_on is None or day > last_digest_on
        now, last_digest_on = digest_time, day


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-04T19:00", "2026-05-04T19:00"),
        ("2026-05-04T21:00", "2026-05-05T05:00"),
        ("2026-05-04T03:00", "2026-05-04T05:00"),
    ],
)
def test_quiet_hours_over_midnight_delay_a_message(moment: str, expected: str) -> None:
    schedule = DigestSchedule(timezone="Europe/Berlin", quiet_from=time(22), quiet_to=time(7))
    assert after_quiet_hours(at(moment), schedule) == at(expected)


def test_a_pause_delays_an_immediate_message() -> None:
    until = at("2026-06-01T00:00")
    assert not_before("immediate", BERLIN, at("2026-05-04T12:00"), None, until) == until


def test_a_pause_that_ended_delays_nothing() -> None:
    now = at("2026-05-04T12:00")
    assert not_before("immediate", BERLIN, now, None, at("2026-05-01T00:00")) == now


def test_a_local_date_depends_on_the_time_zone() -> None:
    assert (
        local_date(at("2026-05-04T23:00"), "Europe/Berlin")
        == datetime(2026, 5, 5, tzinfo=ZoneInfo("Europe/Berlin")).date()
    )
