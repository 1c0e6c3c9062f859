"""Rows of sources as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from services.domain.sources.batches import BatchState
from services.domain.sources.feed_hints import FeedHints
from services.domain.sources.moves import Move


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
    lease_token: UUID | None
    rate_limit_key: str | None
    rate_limit_pause: timedelta | None
    etag: str
    last_modified: str
    digest: bytes
    moved_to: str
    redirect_to: str
    redirect_reads: int
    failures: int
    feed_hints: FeedHints
    succeeded_at: datetime | None
    failing_since: datetime | None
    created_at: datetime

    @property
    def move(self) -> Move:
        return Move(self.moved_to, self.redirect_to, self.redirect_reads)


@dataclass(frozen=True, slots=True)
class SourceWithNewestBatch:
    """A source as people see it. The fields from `day` on are of its newest batch, None when it has none."""

    id: int
    kind: str
    location: str
    polled: bool
    every: timedelta | None
    polled_at: datetime | None
    next_poll_at: datetime | None
    failures: int
    error: str
    day: date | None
    found: int | None
    new: int | None
    skipped: int | None
    state: BatchState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedState:
    """What the next poll compares its answer with."""

    etag: str
    last_modified: str
    digest: bytes | None = None
    """Of a new listing; None when the body is that of the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSuccess:
    """What a successful poll changes in its source."""

    next_poll_at: datetime
    fetched: FetchedState | None = None
    """None when the server answered that nothing has changed."""
    move: Move | None = None
    """None leaves the stored one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailure:
    """What a failed poll changes in its source."""

    next_poll_at: datetime
    failures: int
    failing_since: datetime
    error: str
    gone: bool
    """The server says that the address is gone for good: the source is polled no more."""


@dataclass(frozen=True, slots=True)
class SourceOfListing:
    """What ingestion reads of a listing's source."""

    id: int
    kind: str
    location: str
    polled: bool
    feed_hints: FeedHints


@dataclass(frozen=True, slots=True)
class ClaimedListing:
    """A fetched listing that a worker has claimed, with columns of its source."""

    id: int
    source_id: int
    kind: str
    location: str
    polled: bool
    feed_hints: FeedHints
    fetched_at: datetime
    body: bytes
    content_type: str
    day: date | None
    """The announcement day that was requested; None for the present list."""
    url: str
    """The address of a further page of an announcement; empty for a first page."""
    address: str
    """Where permanent redirects lead to; empty for sources that are not named by an address."""
    silent: bool
    attempts: int
    read_again_at: datetime | None
    """Set when a first reading failed: this reading is the last one."""
    moved_to: str
    redirect_to: str
    redirect_reads: int
    lease_token: UUID

    @property
    def move(self) -> Move:
        return Move(self.moved_to, self.redirect_to, self.redirect_reads)

    @property
    def source(self) -> SourceOfListing:
        return SourceOfListing(self.source_id, self.kind, self.location, self.polled, self.feed_hints)


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A batch whose day a worker is to fetch again."""

    id: int
    source_id: int
    announced_on: date
    silent: bool
    next_url: str
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class BatchOfPapers:
    """A batch in which some given papers were announced."""

    kind: str
    location: str
    announced_on: date
    announced: int | None
    fetched: int
    papers: int
    """How many of the given papers."""
