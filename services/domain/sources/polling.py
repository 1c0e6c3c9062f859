"""When a source is polled next."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.sources.feed_hints import NO_HINTS, FeedHints, not_in_skipped_time

MAX_LATENESS = timedelta(minutes=5)
"""The first polls after an announcement are spread over this time."""
MAX_POLL_PAUSE = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When a source announces, in its time zone."""

    timezone: str = "UTC"
    weekdays: frozenset[int] = frozenset(range(7))
    """0 = Monday."""
    at: time = time(0)
    """The local time from which the day's list is available."""
    grows: bool = False
    """Whether the day's list gets longer until midnight, so that it is complete only on the next day."""
    states_days: bool = False
    """Whether each listing belongs to one day, so that a day without a listing is missing. Plain feeds have no days."""


def next_poll(
    every: timedelta,
    failures: int,
    retry_after: float | None,
    now: datetime,
    jitter: float,
    timetable: Timetable | None = None,
    *,
    have_today: bool = False,
    feed_hints: FeedHints = NO_HINTS,
) -> datetime:
    """When a source is due again: its interval, doubled for each failure in a row up to six hours.

    `retry_after` (seconds) is never undercut. `jitter` in 0…1 adds up to a tenth of the pause. A source with a
    timetable is due at its next announcement once its list of today is complete (`have_today`) and on days without an
    announcement, but at the latest after a day. A source without one follows its `feed_hints`.
    """
    pause = min(every * (1 << min(failures, 8)), max(every, MAX_POLL_PAUSE))
    pause += pause * 0.1 * jitter
    if retry_after is not None:
        pause = max(pause, timedelta(seconds=min(retry_after, 86_400)))
    if timetable is not None and timetable.states_days and failures == 0:
        pause = max(pause, _until_next_announcement(timetable, now, have_today) + MAX_LATENESS * jitter)
    return not_in_skipped_time(feed_hints, now + max(pause, timedelta(minutes=feed_hints.minutes)))


def _until_next_announcement(timetable: Timetable, now: datetime, have_today: bool) -> timedelta:
    """At most a day; zero while today's list is expected or grows."""
    zone = ZoneInfo(timetable.timezone)
    today = now.astimezone(zone).date()
    announces_today = today.weekday() in timetable.weekdays
    if announces_today and (timetable.grows or not have_today):
        return timedelta()
    day = timedelta(days=1)
    next_announcement = datetime.combine(today + day, timetable.at, zone)
    while next_announcement.weekday() not in timetable.weekdays:
        next_announcement += day
    return min(next_announcement - now, day)
