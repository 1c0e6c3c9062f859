"""When: the next poll of a source, and the moment from which a match may be told."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.sources.feed_hints import NO_HINTS, FeedHints, not_in_skipped_time

CADENCES = ("immediate", "daily", "weekly")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GROUP_CLOSES_AFTER = timedelta(minutes=2)
LATE_AFTER = timedelta(minutes=30)
"""A slot decided later than this was missed: the service, or the laptop, slept."""
CATCH_UP = timedelta(minutes=10)
"""What the digest that makes up for it waits, once, so that it has what is being read."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestSchedule:
    """A channel's hours, in its account's time zone."""

    timezone: str
    at: time = time(8)
    weekday: int = 0
    """0 = Monday, as datetime.weekday()."""
    quiet_from: time | None = None
    quiet_to: time | None = None


def not_before(
    cadence: str, rhythm: DigestSchedule, now: datetime, last_digest_on: date | None, paused_until: datetime | None
) -> datetime:
    """The moment from which a match may be told; `last_digest_on` is the local date of the channel's last digest."""
    start = max(now, paused_until) if paused_until else now
    if cadence == "immediate":
        return after_quiet_hours(start, rhythm)
    return digest_slot(rhythm, start, last_digest_on, weekly=cadence == "weekly")


def digest_slot(
    rhythm: DigestSchedule, now: datetime, last_digest_on: date | None, *, weekly: bool = False
) -> datetime:
    """The first digest instant (UTC) at or after `now` on a local date later than `last_digest_on`.

    A local time that a clock change skips comes as much later; one that comes twice is its first coming; a local date
    that does not exist (Apia, 2011-12-30) is passed over.
    """
    zone = ZoneInfo(rhythm.timezone)
    day = now.astimezone(zone).date()
    if last_digest_on is not None:
        day = max(day, last_digest_on + timedelta(days=1))
    for _ in range(370):
        slot = _instant(rhythm, day)
        if slot is not None and slot >= now and (not weekly or day.weekday() == rhythm.weekday):
            return slot
        day += timedelta(days=1)
    raise AssertionError("a year without a slot")


def missed_slot(rhythm: DigestSchedule, now: datetime, last_digest_on: date | None) -> datetime | None:
    """The latest digest instant up to `now` on a local date later than `last_digest_on`; None when there is none.

    After an outage that is the only one made up for: what waited for earlier ones comes with it.
    """
    today = local_date(now, rhythm.timezone)
    slots = (_instant(rhythm, today - timedelta(days=back)) for back in range(4))
    past = (slot for slot in slots if slot is not None and slot <= now)
    return next(
        (one for one in past if last_digest_on is None or local_date(one, rhythm.timezone) > last_digest_on), None
    )


def has_weekday(rhythm: DigestSchedule, day: date, last_digest_on: date | None) -> bool:
    """Whether the weekly digest is among those that the digest of `day` makes up for."""
    missed = min((day - last_digest_on).days, 7) if last_digest_on is not None else 1
    return any((day - timedelta(days=back)).weekday() == rhythm.weekday for back in range(missed))


def is_late(planned: datetime, now: datetime, scale: float = 1.0) -> bool:
    """Whether a slot was missed: then what was announced meanwhile is read first, for a little while."""
    return now - planned > LATE_AFTER * scale


def _instant(rhythm: DigestSchedule, day: date) -> datetime | None:
    """The digest instant (UTC) of a local date; None when the date does not exist."""
    slot = datetime.combine(day, rhythm.at, ZoneInfo(rhythm.timezone)).astimezone(ZoneInfo("UTC"))
    return slot if local_date(slot, rhythm.timezone) == day else None


def local_date(moment: datetime, timezone: str) -> date:
    return moment.astimezone(ZoneInfo(timezone)).date()


def after_quiet_hours(moment: datetime, rhythm: DigestSchedule) -> datetime:
    """`moment`, or the end of the quiet hours that it falls into (they may span midnight)."""
    if rhythm.quiet_from is None or rhythm.quiet_to is None or rhythm.quiet_from == rhythm.quiet_to:
        return moment
    zone = ZoneInfo(rhythm.timezone)
    local = moment.astimezone(zone)
    clock, start, end = local.time(), rhythm.quiet_from, rhythm.quiet_to
    quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not quiet:
        return moment
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, zone).astimezone(ZoneInfo("UTC"))


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
