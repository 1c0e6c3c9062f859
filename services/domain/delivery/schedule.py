"""When papers are sent: digest times, quiet hours and pauses, in the account's time zone."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.subscriptions.cadence import Cadence
from services.errors import ConfigError

DEFAULT_TIME = "08:00"
"""The local time of the digests of a channel that is added without one."""
_DEFAULT_AT = time.fromisoformat(DEFAULT_TIME)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GROUP_CLOSES_AFTER = timedelta(minutes=2)
"""After this time the matches of a run are sent even when some shards have not matched the run yet."""
LATE_AFTER = timedelta(minutes=30)
"""A digest that is made later than this after its time counts as missed: the service or the computer did not run."""
CATCH_UP_DELAY = timedelta(minutes=10)
"""A missed digest waits this long, once, so that it includes the papers that are being read now."""
MAX_DATES_TRIED = 370
"""Local dates: more than a year, so that every weekday is found whatever dates a time zone skips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestSchedule:
    """The local times of a channel: `at` and `weekday` are the channel's, zone and quiet hours the account's."""

    timezone: str
    at: time = _DEFAULT_AT
    weekday: int = 0
    """0 = Monday, as datetime.weekday()."""
    quiet_from: time | None = None
    quiet_to: time | None = None


@dataclass(frozen=True, slots=True)
class ChannelHours:
    """A channel's digest time and the day of its weekly digests (0 = Monday)."""

    at: time
    weekday: int


def parse_time(text: str) -> time:
    """Reads a local time such as `08:00`. Raises ConfigError."""
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ConfigError(f"a time reads 08:00, not {text!r}")
    return time(int(match[1]), int(match[2]))


def parse_weekday(text: str) -> int:
    """Reads an English weekday such as `mon` or `Monday`; 0 = Monday. Raises ConfigError."""
    if text.lower()[:3] not in WEEKDAYS:
        raise ConfigError(f"a weekday is one of {', '.join(WEEKDAYS)}, not {text!r}")
    return WEEKDAYS.index(text.lower()[:3])


def not_before(
    cadence: str, schedule: DigestSchedule, now: datetime, last_digest_on: date | None, paused_until: datetime | None
) -> datetime:
    """The earliest time to send a match; `last_digest_on` is the local date of the channel's last digest."""
    start = max(now, paused_until) if paused_until else now
    if cadence == Cadence.IMMEDIATE:
        return after_quiet_hours(start, schedule)
    return next_digest_time(schedule, start, last_digest_on, weekly=cadence == Cadence.WEEKLY)


def next_digest_time(
    schedule: DigestSchedule, now: datetime, last_digest_on: date | None, *, weekly: bool = False
) -> datetime:
    """The first digest time (UTC) at or after `now` on a local date later than `last_digest_on`.

    When a clock change skips the local time, the digest comes as much later; when the local time occurs twice, the
    first occurrence counts. A local date that does not exist (Apia, 2011-12-30) has no digest.
    """
    day = local_date(now, schedule.timezone)
    if last_digest_on is not None:
        day = max(day, last_digest_on + timedelta(days=1))
    for _ in range(MAX_DATES_TRIED):
        digest_time = _digest_time(schedule, day)
        if digest_time is not None and digest_time >= now and (not weekly or day.weekday() == schedule.weekday):
            return digest_time
        day += timedelta(days=1)
    raise AssertionError("a year without a digest time")


def missed_digest_time(schedule: DigestSchedule, now: datetime, last_digest_on: date | None) -> datetime | None:
    """The latest digest time up to `now` on a local date later than `last_digest_on`; None when there is none.

    After an outage only this digest is made. It includes the papers that waited for earlier ones.
    """
    today = local_date(now, schedule.timezone)
    for days_back in range(4):
        digest_time = _digest_time(schedule, today - timedelta(days=days_back))
        if digest_time is None or digest_time > now:
            continue
        if last_digest_on is None or local_date(digest_time, schedule.timezone) > last_digest_on:
            return digest_time
    return None


def includes_weekday(schedule: DigestSchedule, day: date, last_digest_on: date | None) -> bool:
    """Whether the digest of `day` covers the weekday of the weekly digest, that day or one missed since the last."""
    days_covered = min((day - last_digest_on).days, 7) if last_digest_on is not None else 1
    return any((day - timedelta(days=back)).weekday() == schedule.weekday for back in range(days_covered))


def is_late(planned: datetime, now: datetime, scale: float = 1.0) -> bool:
    """Whether a planned digest was missed. The digest then waits for the papers announced meanwhile."""
    return now - planned > LATE_AFTER * scale


def local_date(moment: datetime, timezone: str) -> date:
    return moment.astimezone(ZoneInfo(timezone)).date()


def after_quiet_hours(moment: datetime, schedule: DigestSchedule) -> datetime:
    """`moment`, or the end of the quiet hours that contain it. Quiet hours may span midnight."""
    if schedule.quiet_from is None or schedule.quiet_to is None or schedule.quiet_from == schedule.quiet_to:
        return moment
    zone = ZoneInfo(schedule.timezone)
    local = moment.astimezone(zone)
    clock, start, end = local.time(), schedule.quiet_from, schedule.quiet_to
    is_quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not is_quiet:
        return moment
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, zone).astimezone(ZoneInfo("UTC"))


def _digest_time(schedule: DigestSchedule, day: date) -> datetime | None:
    """The digest time (UTC) of a local date; None when the date does not exist."""
    digest_time = datetime.combine(day, schedule.at, ZoneInfo(schedule.timezone)).astimezone(ZoneInfo("UTC"))
    return digest_time if local_date(digest_time, schedule.timezone) == day else None
