from datetime import UTC, datetime, timedelta

from services.domain.delivery.retention import parse_days, until_next_cleanup


def test_a_retention_is_a_number_of_days() -> None:
    assert (parse_days("30d"), parse_days("0d")) == (timedelta(days=30), timedelta(0))


def test_the_next_night_is_within_a_day_and_never_now() -> None:
    for hour in range(24):
        now = datetime(2026, 12, 31, hour, 0, tzinfo=UTC)
        pause = until_next_cleanup(now)
        assert timedelta(0) < pause <= timedelta(days=1)
        assert (now + pause).hour == 3
