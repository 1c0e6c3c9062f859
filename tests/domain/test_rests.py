"""A feed is left alone when it asks for it, though never for good."""

from datetime import UTC, datetime

import pytest

from services.domain.rests import NO_RESTS, Rests, after, stated

WEEKEND = "<skipDays><day>Saturday</day><day>sunday</day></skipDays>"
FRIDAY = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("head", "rests"),
    [
        ("<rss><channel><title>Lab</title>", NO_RESTS),
        ("<ttl> 90 </ttl>", Rests(90)),
        ("<ttl>5256000</ttl>", Rests(24 * 60)),
        ("<ttl>100000</ttl>", Rests(24 * 60)),
        ("<ttl>soon</ttl>", NO_RESTS),
        (WEEKEND, Rests(0, (5, 6))),
        ("<skipDays><day>Samstag</day></skipDays>", NO_RESTS),
        ("<skipHours><hour>0</hour><hour>24</hour><hour>7</hour><hour>99</hour></skipHours>", Rests(0, (), (0, 7))),
        ("<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>", Rests(30)),
        ("<sy:updatePeriod>\n\tdaily\t</sy:updatePeriod>", Rests(24 * 60)),
        ("<sy:updatePeriod>weekly</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency>", Rests(24 * 60)),
        ("<sy:updatePeriod>whenever</sy:updatePeriod>", NO_RESTS),
        ("<ttl>60</ttl><sy:updatePeriod>daily</sy:updatePeriod>", Rests(60)),
    ],
)
def test_a_feed_says_when_it_rests(head: str, rests: Rests) -> None:
    assert stated(head) == rests


def test_what_falls_into_a_skipped_day_waits_for_its_end() -> None:
    weekend = Rests(0, (5, 6))
    assert after(weekend, FRIDAY) == FRIDAY
    assert after(weekend, datetime(2026, 11, 21, 0, 10, tzinfo=UTC)) == datetime(2026, 11, 23, tzinfo=UTC)


def test_skipped_hours_go_on_into_skipped_days() -> None:
    assert after(Rests(0, (5, 6), (23, 0)), FRIDAY) == datetime(2026, 11, 23, 1, tzinfo=UTC)


def test_a_feed_that_skips_every_day_or_hour_is_asked_all_the_same() -> None:
    for never in (Rests(0, tuple(range(7))), Rests(0, (), tuple(range(24)))):
        assert after(never, FRIDAY) == FRIDAY
