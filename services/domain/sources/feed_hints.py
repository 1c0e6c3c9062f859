"""When a feed asks not to be polled: RSS 2.0's ttl, skipDays and skipHours, and the syndication module of RSS 1.0."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_MINUTES = 24 * 60
"""A feed is asked once a day, whatever it says,"""
MAX_SKIP = timedelta(days=3)
"""or after a long weekend."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PERIODS = {"hourly": 60, "daily": 24 * 60, "weekly": 7 * 24 * 60, "monthly": 30 * 24 * 60, "yearly": 365 * 24 * 60}
_TTL = re.compile(r"<ttl>\s*(\d{1,12})\s*</ttl>", re.I)
_PERIOD = re.compile(r"<(?:\w+:)?updatePeriod>\s*(\w{1,10})\s*</", re.I)
_FREQUENCY = re.compile(r"<(?:\w+:)?updateFrequency>\s*(\d{1,6})\s*</", re.I)
_DAY = re.compile(r"<day>\s*(\w{6,9})\s*</day>", re.I)
_HOUR = re.compile(r"<hour>\s*(\d{1,2})\s*</hour>", re.I)


@dataclass(frozen=True, slots=True)
class FeedHints:
    """`minutes` after each answer, `days` of the week (0 = Monday) and `hours` of the day, both in UTC."""

    minutes: int = 0
    days: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()


NO_HINTS = FeedHints()


def read_hints(head: str) -> FeedHints:
    """What a feed says before its first item.

    rssboard.org/rss-specification; web.resource.org/rss/1.0/modules/syndication
    """
    ttl, period, frequency = _TTL.search(head), _PERIOD.search(head), _FREQUENCY.search(head)
    minutes = int(ttl[1]) if ttl else 0
    if period and not ttl:
        minutes = _PERIODS.get(period[1].lower(), 0) // max(1, int(frequency[1]) if frequency else 1)
    days = {_DAYS.index(name.lower()) for name in _DAY.findall(head) if name.lower() in _DAYS}
    hours = {int(hour) % 24 for hour in _HOUR.findall(head) if int(hour) <= 24}
    return FeedHints(min(minutes, MAX_MINUTES), tuple(sorted(days)), tuple(sorted(hours)))


def not_in_skipped_time(feed_hints: FeedHints, due: datetime) -> datetime:
    """`due` (UTC), or the end of the skipped hours and days that it falls into; a feed that skips all is not obeyed."""
    later = due
    while later.weekday() in feed_hints.days or later.hour in feed_hints.hours:
        later = later.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        if later - due > MAX_SKIP:
            return due
    return later
