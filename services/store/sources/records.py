"""Rows of sources as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Source:
    """A row of `source`."""

    id: int
    kind: str
    location: str
    account_id: int | None
    polled: bool
    announce_first: bool
    every: timedelta | None
    next_poll_at: datetime | None
    lease_token: UUID | None
    lease_until: datetime | None
    rate_limit_key: str | None
    rate_limit_pause: timedelta | None
    etag: str
    last_modified: str
    digest: bytes
    moved_to: str
    failures: int
    error: str
    feed_hints: dict[str, Any]
    polled_at: datetime | None
    succeeded_at: datetime | None
    failing_since: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListingRow:
    """A row of `listing`."""

    id: int
    source_id: int
    fetched_at: datetime
    body: bytes | None
    day: date | None
    url: str
    silent: bool
    attempts: int
    lease_token: UUID | None
    lease_until: datetime | None
    error: str
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A row of `batch`."""

    id: int
    source_id: int
    announced_on: date
    announced: int | None
    fetched: int
    new: int
    known: int
    updated: int
    skipped: int
    reading: int
    state: str
    note: str
    updated_at: datetime | None
    silent: bool
    reads: int
    next_read_at: datetime | None
    next_url: str
    lease_token: UUID | None
    lease_until: datetime | None
