"""Batches: whether the list of one announcement day is complete, and when to fetch that day again."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.domain.sources.polling import Timetable

ARCHIVE_DAYS = 60
"""Days before today for which a source's missing announcements are fetched."""
STALE_SHARE = 0.1
"""A list is the previous list again when less than this share of its papers was first seen for its day."""
SETTLED_AFTER = timedelta(hours=6)
"""After the end of a day, the time until the source's own count of that day is final; arXiv's OAI is hours late."""
FIRST_RETRY = timedelta(minutes=30)
MAX_RETRY = timedelta(hours=24)
MAX_LOOK_BACKS = 10


class BatchState(StrEnum):
    MISSING = "missing"
    """No listing of the day was read."""
    COMPLETE = "complete"
    PARTIAL = "partial"
    STALE = "stale"
    """The source still lists its previous announcement."""
    EMPTY = "empty"
    """The source announced nothing."""
    FAILED = "failed"
    """The listing could not be fetched or read."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The record of one source on one announcement day."""

    id: int
    source_id: int
    announced_on: date
    announced: int | None
    """The source's own count of the announcement; None when it states none."""
    fetched: int
    new: int
    known: int
    updated: int
    skipped: int
    read_so_far: int
    """Entries in the pages of the current pass, the damaged ones included."""
    state: BatchState
    note: str
    look_backs: int
    """How often the day was requested by its date, all pages."""
    silent: bool
    next_read_at: datetime | None
    next_url: str
    """The address of the next page of the current pass; empty after the last page."""
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPass:
    """One pass over the pages of an announcement, as far as it has come."""

    read: int
    """Entries in all pages so far."""
    skipped: int
    """Damaged entries among those."""
    of_day: int
    """Papers first seen for this announcement day."""
    announced: int | None
    """The source's own count; None when it states none."""
    more: bool
    """Further pages are to come."""
    looked_back: bool
    """The day was requested by its date, not met in the present list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """What one page of an announcement brought."""

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


def add_page(batch: Batch, page: BatchPage, of_day: int, now: datetime) -> Batch:
    """The batch with one more page. `of_day`: how many papers were first seen for the day of the batch."""
    skipped = page.skipped + (0 if page.first_page else batch.skipped)
    read = page.found + page.skipped + (0 if page.first_page else batch.read_so_far)
    announced = batch.announced if page.announced is None else page.announced
    more = bool(page.next_url)
    reading = ReadingPass(
        read=read, skipped=skipped, of_day=of_day, announced=announced, more=more, looked_back=page.looked_back
    )
    state, note = judge(reading, page.timetable, page.day, now)
    look_backs = batch.look_backs + (1 if page.looked_back and not more else 0)
    next_read_at = now if more else None
    if not more and page.can_look_back:
        counted = announced is not None
        next_read_at = next_read(state, page.timetable, page.day, now, counted=counted, look_backs=look_backs)
    return replace(
        batch,
        announced=announced,
        fetched=max(batch.fetched, read - skipped, of_day),
        new=batch.new + page.new,
        known=page.known,
        updated=batch.updated + page.updated,
        skipped=skipped,
        read_so_far=read,
        state=state,
        note=note,
        look_backs=look_backs,
        next_read_at=next_read_at,
        next_url=page.next_url,
        updated_at=now,
    )


def add_failure(batch: Batch, note: str, timetable: Timetable, now: datetime, *, looked_back: bool) -> Batch:
    """The batch after a listing that could not be fetched or read; what earlier listings brought is kept."""
    if not looked_back and batch.fetched:
        return batch
    state = BatchState.PARTIAL if batch.fetched else BatchState.FAILED
    look_backs = batch.look_backs + (1 if looked_back else 0)
    next_read_at = None
    if timetable.states_days:
        next_read_at = next_read(state, timetable, batch.announced_on, now, counted=False, look_backs=look_backs)
    return replace(
        batch,
        state=state,
        note=note,
        next_url="",
        look_backs=look_backs,
        next_read_at=next_read_at,
        updated_at=now,
    )


def judge(reading: ReadingPass, timetable: Timetable, day: date, now: datetime) -> tuple[BatchState, str]:
    """The batch's state and, where it is not complete, a note for people."""
    if reading.more:
        return BatchState.PARTIAL, "more pages are to be read"
    if reading.announced is not None and reading.read < reading.announced:
        return BatchState.PARTIAL, f"{reading.read} of {reading.announced} read"
    if reading.read == 0:
        if day.weekday() in timetable.weekdays:
            return BatchState.EMPTY, "nothing was announced: a holiday, or late"
        return BatchState.EMPTY, "nothing is announced on this weekday"
    if not reading.looked_back and timetable.states_days and reading.of_day < STALE_SHARE * reading.read:
        return BatchState.STALE, "the same list as last time"
    if timetable.grows and now < ends_at(timetable, day):
        return BatchState.PARTIAL, "the list grows until the day is over"
    if reading.skipped:
        return BatchState.PARTIAL, f"{reading.skipped} entries could not be read"
    return BatchState.COMPLETE, ""


def next_read(
    state: BatchState, timetable: Timetable, day: date, now: datetime, *, counted: bool, look_backs: int
) -> datetime | None:
    """When to request the announcement by its day; None when it is settled, or after `MAX_LOOK_BACKS` requests.

    `counted`: the source's own count is known. `look_backs`: how often the day was requested already.
    """
    if state in (BatchState.COMPLETE, BatchState.EMPTY) and (counted or look_backs > 0):
        return None
    if look_backs >= MAX_LOOK_BACKS:
        return None
    pause = min(FIRST_RETRY * (1 << min(look_backs, 8)), MAX_RETRY)
    settled = ends_at(timetable, day) + SETTLED_AFTER
    return max(settled, now + pause if look_backs else now)


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
