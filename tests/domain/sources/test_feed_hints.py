"""A feed is left alone when it asks for it, though never for good."""

from datetime import UTC, datetime

import pytest

from services.domain.sources.feed_hints import NO_HINTS, FeedHints, not_in_skipped_time, read_hints

WEEKEND = "<skipDays><day>Saturday</day><day>sunday</day></skipDays>"
FRIDAY = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("head", "feed_hints"),
    [
        ("<rss><channel><title>Lab</title>", NO_HINTS),
        ("<ttl> 90 </ttl>", FeedHints(90)),
        ("<ttl>5256000</ttl>", FeedHints(24 * 60)),
        ("<ttl>100000</ttl>", FeedHints(24 * 60)),
        ("<ttl>soon</ttl>", NO_HINTS),
        (WEEKEND, FeedHints(0, (5, 6))),
        ("<skipDays><day>Samstag</day></skipDays>", NO_HINTS),
        ("<skipHours><hour>0</hour><hour>24</hour><hour>7</hour><hour>99</hour></skipHours>", FeedHints(0, (), (0, 7))),
        ("<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>", FeedHints(30)),
        ("<sy:updatePeriod>\n\tdaily\t</sy:updatePeriod>", FeedHints(24 * 60)),
        ("<sy:updatePeriod>weekly</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency>", FeedHints(24 * 60)),
        ("<sy:updatePeriod>whenever</sy:updatePeriod>", NO_HINTS),
        ("<ttl>60</ttl><sy:updatePeriod>daily</sy:updatePeriod>", FeedHints(60)),
    ],
)
def test_hints_are_read_from_the_head_of_a_feed(head: str, feed_hints: FeedHints) -> None:
    assert read_hints(head) == feed_hints


def test_a_poll_on_a_skipped_day_is_due_at_its_end() -> None:
    weekend = FeedHints(0, (5, 6))
    assert not_in_skipped_time(weekend, FRIDAY) == FRIDAY
    assert not_in_skipped_time(weekend, datetime(2026, 11, 21, 0, 10, tzinfo=UTC)) == datetime(2026, 11, 23, tzinfo=UTC)


def test_skipped_hours_may_continue_into_skipped_days() -> None:
    assert not_in_skipped_time(FeedHints(0, (5, 6), (23, 0)), FRIDAY) == datetime(2026, 11, 23, 1, tzinfo=UTC)


def test_a_feed_that_skips_every_day_or_hour_is_polled_anyway() -> None:
    for never in (FeedHints(0, tuple(range(7))), FeedHints(0, (), tuple(range(24)))):
        assert not_in_skipped_time(never, FRIDAY) == FRIDAY
