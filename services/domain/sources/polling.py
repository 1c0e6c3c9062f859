"""When a source is polled next."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.sources.feed_hints import NO_HINTS, FeedHints, not_in_skipped_time

MAX_LATENESS = timedelta(minutes=5)
"""Spread of the first polls after an announcement."""
MAX_POLL_PAUSE = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When a source announces: local days of the week (0 = Monday), and from what local time the day's list is there.

    `grows`: the day's list gets longer until midnight, so that it is complete only on the next day.
    """

    timezone: str = "UTC"
    weekdays: frozenset[int] = frozenset(range(7))
    at: time = time(0)
    grows: bool = False
    states_days: bool = False
    """Whether each listing belongs to one day, so that a day without one is a gap; plain feeds have no days."""


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
    """When a source is due again: its interval, doubled for each failure in a row up to six hours, never before
    Retry-After (seconds). `jitter` in 0…1 spreads up to a tenth of the pause.

    A source with a timetable rests until its next announcement once it has today's whole list (`have_today`), and on
    days without one; at the latest it is asked again after a day. Another rests when it asks to.
    """
    pause = min(every * (1 << min(failures, 8)), max(every, MAX_POLL_PAUSE))
    pause += pause * 0.1 * jitter
    if retry_after is not None:
        pause = max(pause, timedelta(seconds=min(retry_after, 86_400)))
    if timetable is not None and timetable.states_days and failures == 0:
        pause = max(pause, _rest(timetable, now, have_today) + MAX_LATENESS * jitter)
    return not_in_skipped_time(feed_hints, now + max(pause, timedelta(minutes=feed_hints.minutes)))


def _rest(timetable: Timetable, now: datetime, have_today: bool) -> timedelta:
    """Until the next announcement, a day at most; nothing while today's is still to come or grows."""
    zone = ZoneInfo(timetable.timezone)
    today = now.astimezone(zone).date()
    announces = today.weekday() in timetable.weekdays
    if announces and (timetable.grows or not have_today):
        return timedelta()
    tomorrow = datetime.combine(today + timedelta(days=1), timetable.at, zone)
    day = timedelta(days=1)
    while tomorrow.weekday() not in timetable.weekdays:
        tomorrow += day
    return min(tomorrow - now, day)
