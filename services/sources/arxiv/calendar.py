"""arXiv's calendar: the announcement day of each submission, as arXiv's feeds date it.

https://info.arxiv.org/help/availability.html: submissions until 14:00 Eastern are announced at 20:00, Sunday to
Thursday. Feeds, OAI and this module date that announcement with the next day, Monday to Friday.
"""

from datetime import date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from services.domain.papers.paper import Identifier
from services.domain.sources.polling import Timetable

TIMETABLE = Timetable(timezone="America/New_York", weekdays=frozenset(range(5)), states_days=True)
CLOSES_AT = time(14)
MAX_HOLD = timedelta(days=30)
"""Moderation may delay a paper so long. A paper submitted earlier is listed for another reason than being new."""

_CLOCK = ZoneInfo(TIMETABLE.timezone)
_UTC = ZoneInfo("UTC")
MINUTE = timedelta(minutes=1)

_DAY = timedelta(days=1)
_FRIDAY = 4


def day_of(stamp: str) -> date | None:
    """The day on arXiv's clock of an RFC 822 or ISO 8601 time."""
    moment = moment_of(stamp)
    return moment.astimezone(_CLOCK).date() if moment else None


def moment_of(stamp: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(stamp).astimezone(_UTC)
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def announced_after(submitted: datetime) -> date:
    """The announcement day of a submission without moderation; holidays are ignored."""
    local = submitted.astimezone(_CLOCK)
    deadline = local.date() if local.time() < CLOSES_AT else local.date() + _DAY
    while deadline.weekday() > _FRIDAY:
        deadline += _DAY
    return _next_weekday(deadline)


def announced_by(day: date) -> date:
    """The latest announcement that is not after `day`."""
    while day.weekday() > _FRIDAY:
        day -= _DAY
    return day


def submissions(day: date, announcements: int = 1) -> tuple[datetime, datetime]:
    """The first and last time of submission (UTC) of the announcement of `day` and of those before it.

    `announcements`: how many announcements together.
    """
    last = _weekday_before(announced_by(day))
    first = last
    for _ in range(announcements):
        first = _weekday_before(first)
    start, end = (datetime.combine(deadline, CLOSES_AT, _CLOCK).astimezone(_UTC) for deadline in (first, last))
    return start, end


def latest_first_announcement(identifier: Identifier, day: date) -> date:
    """The latest day up to `day` on which a paper can have been new. An id begins with its year and month."""
    digits = identifier.value.rpartition("/")[2]
    year, month = int(digits[:2]), int(digits[2:4])
    # arXiv began in August 1991.
    century = 1900 if year >= 91 else 2000
    after = date(century + year + month // 12, month % 12 + 1, 1)
    return min(day, after - _DAY)


def _next_weekday(day: date) -> date:
    day += _DAY
    while day.weekday() > _FRIDAY:
        day += _DAY
    return day


def _weekday_before(day: date) -> date:
    return announced_by(day - _DAY)
