"""arXiv's calendar: what was submitted when is announced on which day, as its feeds date it.

https://info.arxiv.org/help/availability.html: what comes in until 14:00 Eastern is announced at 20:00, Sunday to
Thursday; feeds, OAI and this module call that announcement by the next day, Monday to Friday.
"""

from datetime import date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from services.domain.papers.paper import Identifier
from services.domain.sources.polling import Timetable

TIMETABLE = Timetable(timezone="America/New_York", weekdays=frozenset(range(5)), states_days=True)
CLOSES_AT = time(14)
MAX_HOLD = timedelta(days=30)
"""Moderators may hold a paper back; what was submitted longer ago than this is listed for another reason."""

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
    """The announcement that a submission makes unless it is held back; holidays are not known here."""
    local = submitted.astimezone(_CLOCK)
    closes = local.date() if local.time() < CLOSES_AT else local.date() + _DAY
    while closes.weekday() > _FRIDAY:
        closes += _DAY
    return _next_weekday(closes)


def announced_by(day: date) -> date:
    """The latest announcement that is not after `day`."""
    while day.weekday() > _FRIDAY:
        day -= _DAY
    return day


def submissions(day: date, announcements: int = 1) -> tuple[datetime, datetime]:
    """From when until when (UTC) was submitted what `day` announced, and as many announcements before it."""
    last = _weekday_before(announced_by(day))
    first = last
    for _ in range(announcements):
        first = _weekday_before(first)
    start, end = (datetime.combine(closes, CLOSES_AT, _CLOCK).astimezone(_UTC) for closes in (first, last))
    return start, end


def latest_first_announcement(identifier: Identifier, day: date) -> date:
    """The latest day, not after `day`, on which a paper can have been new: an id begins with its year and month."""
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
