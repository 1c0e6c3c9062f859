"""When a source is polled next."""

from datetime import UTC, datetime, timedelta

from services.domain.sources.polling import next_poll


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_interval_grows_with_failures_up_to_a_limit() -> None:
    now, every = at("2026-05-04T12:00"), timedelta(minutes=15)
    pauses = [next_poll(every, failures, None, now, 0.0) - now for failures in range(8)]
    assert pauses[:3] == [every, 2 * every, 4 * every]
    assert pauses[-1] == timedelta(hours=6)


def test_retry_after_is_honoured_for_at_most_a_day() -> None:
    now = at("2026-05-04T12:00")
    assert next_poll(timedelta(minutes=1), 0, 600, now, 0.0) == now + timedelta(minutes=10)
    assert next_poll(timedelta(minutes=1), 0, 1e12, now, 0.0) == now + timedelta(days=1)
