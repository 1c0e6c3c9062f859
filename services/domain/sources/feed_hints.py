"""Hints of a feed on when not to poll it: RSS 2.0's ttl, skipDays and skipHours, and RSS 1.0's syndication module."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_MINUTES = 24 * 60
"""A feed is polled at least daily, even if its `<ttl>` is longer."""
MAX_SKIP = timedelta(days=3)
"""Hints that skip more than a long weekend at a time are ignored."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PERIODS = {"hourly": 60, "daily": 24 * 60, "weekly": 7 * 24 * 60, "monthly": 30 * 24 * 60, "yearly": 365 * 24 * 60}
"""Minutes of each period."""
_TTL = re.compile(r"<ttl>\s*(\d{1,12})\s*</ttl>", re.I)
_PERIOD = re.compile(r"<(?:\w+:)?updatePeriod>\s*(\w{1,10})\s*</", re.I)
_FREQUENCY = re.compile(r"<(?:\w+:)?updateFrequency>\s*(\d{1,6})\s*</", re.I)
_DAY = re.compile(r"<day>\s*(\w{6,9})\s*</day>", re.I)
_HOUR = re.compile(r"<hour>\s*(\d{1,2})\s*</hour>", re.I)


@dataclass(frozen=True, slots=True)
class FeedHints:
    """When a feed asks not to be polled."""

    minutes: int = 0
    """After each answer."""
    days: tuple[int, ...] = ()
    """Of the week, in UTC (0 = Monday)."""
    hours: tuple[int, ...] = ()
    """Of the day, in UTC."""


NO_HINTS = FeedHints()


def read_hints(head: str) -> FeedHints:
    """The hints in what precedes the first item of a feed.

    https://www.rssboard.org/rss-specification, https://web.resource.org/rss/1.0/modules/syndication/
    """
    ttl, period, frequency = _TTL.search(head), _PERIOD.search(head), _FREQUENCY.search(head)
    minutes = int(ttl[1]) if ttl else 0
    if period and not ttl:
        minutes = _PERIODS.get(period[1].lower(), 0) // max(1, int(frequency[1]) if frequency else 1)
    days = {_DAYS.index(name.lower()) for name in _DAY.findall(head) if name.lower() in _DAYS}
    hours = {int(hour) % 24 for hour in _HOUR.findall(head) if int(hour) <= 24}
    return FeedHints(min(minutes, MAX_MINUTES), tuple(sorted(days)), tuple(sorted(hours)))


def not_in_skipped_time(feed_hints: FeedHints, due: datetime) -> datetime:
    """`due` (UTC), or the end of the skipped hours and days that contain it; `due` when they exceed `MAX_SKIP`."""
    later = due
    while later.weekday() in feed_hints.days or later.hour in feed_hints.hours:
        later = later.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        if later - due > MAX_SKIP:
            return due
    return later
