"""The batch ledger's judgement: whether an announcement was read whole, and when to look at it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.sources.polling import Timetable

ARCHIVE_DAYS = 60
"""A new source is filled, and gaps are looked for, this far back."""
STALE_SHARE = 0.1
"""A list of which less than this is of its day is the last one over again."""
SETTLED_AFTER = timedelta(hours=6)
"""After the end of its day a source's own count of it can be trusted (arXiv's OAI follows some hours behind)."""
FIRST_RETRY = timedelta(minutes=30)
MAX_RETRY = timedelta(hours=24)
MAX_READS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One pass over an announcement: `read` entries in all its pages so far, `skipped` of them for being damaged,
    `of_day` papers first seen for this day, `announced` by its own count (None: it states none), `more`: further
    pages are to come.
    """

    read: int
    skipped: int
    of_day: int
    announced: int | None
    more: bool
    looked_back: bool
    """It was asked for by its day, not met as the present list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one page of an announcement brought, to be entered in its batch."""

    source_id: int
    day: date
    timetable: Timetable
    announced: int | None
    found: int
    new: int
    known: int
    updated: int
    skipped: int
    first_page: bool = True
    next_url: str = ""
    looked_back: bool = False
    can_look_back: bool = False


def entered(batch: Mapping[str, Any], line: Line, of_day: int, now: datetime) -> dict[str, Any]:
    """What changes in a batch by one more page; `of_day`: how many papers have been first seen for its day."""
    before = {"reading": 0, "skipped": 0} if line.first_page else batch
    skipped = line.skipped + before["skipped"]
    read = line.found + line.skipped + before["reading"]
    announced = batch["announced"] if line.announced is None else line.announced
    whole = {"read": read, "skipped": skipped, "of_day": of_day, "announced": announced}
    reading = Reading(**whole, more=bool(line.next_url), looked_back=line.looked_back)
    state, note = judge(reading, line.timetable, line.day, now)
    reads = batch["reads"] + (1 if line.looked_back and not line.next_url else 0)
    look = now if line.next_url else None
    if not line.next_url and line.can_look_back:
        look = next_read(state, line.timetable, line.day, now, counted=announced is not None, reads=reads)
    return {
        "announced": announced,
        "fetched": max(batch["fetched"], read - skipped, of_day),
        "new": batch["new"] + line.new,
        "known": line.known,
        "updated": batch["updated"] + line.updated,
        "skipped": skipped,
        "reading": read,
        "state": state,
        "note": note,
        "reads": reads,
        "next_read_at": look,
        "next_url": line.next_url,
        "updated_at": now,
    }


def judge(reading: Reading, timetable: Timetable, day: date, now: datetime) -> tuple[str, str]:
    """The batch's state and, where it is not complete, a note for people."""
    if reading.more:
        return "partial", "more pages are to be read"
    if reading.announced is not None and reading.read < reading.announced:
        return "partial", f"{reading.read} of {reading.announced} read"
    if reading.read == 0:
        usual = day.weekday() in timetable.weekdays
        return "empty", "nothing was announced: a holiday, or late" if usual else "nothing is announced on this weekday"
    if not reading.looked_back and timetable.states_days and reading.of_day < STALE_SHARE * reading.read:
        return "stale", "the same list as last time"
    if timetable.grows and now < ends_at(timetable, day):
        return "partial", "the list grows until the day is over"
    if reading.skipped:
        return "partial", f"{reading.skipped} entries could not be read"
    return "complete", ""


def next_read(
    state: str, timetable: Timetable, day: date, now: datetime, *, counted: bool, reads: int
) -> datetime | None:
    """When to ask for the announcement by its day; None when it is settled or was asked for often enough.

    `counted`: the source's own count is known, or was asked for; `reads`: how often it was asked for.
    """
    settled = ends_at(timetable, day) + SETTLED_AFTER
    if state in ("complete", "empty") and (counted or reads > 0):
        return None
    if reads >= MAX_READS:
        return None
    pause = min(FIRST_RETRY * (1 << min(reads, 8)), MAX_RETRY)
    return max(settled, now + pause if reads else now)


def expected_days(timetable: Timetable, first: date, until: date) -> list[date]:
    """The days from `first` to before `until` on which the source announces."""
    days = (first + timedelta(days=offset) for offset in range((until - first).days))
    return [day for day in days if day.weekday() in timetable.weekdays]


def ends_at(timetable: Timetable, day: date) -> datetime:
    """The end of a local day, in UTC."""
    zone = ZoneInfo(timetable.timezone)
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), zone).astimezone(ZoneInfo("UTC"))


def today(timetable: Timetable, now: datetime) -> date:
    return now.astimezone(ZoneInfo(timetable.timezone)).date()
