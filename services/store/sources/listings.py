"""Fetched listings: their bytes from the poll until ingestion has read them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, or_, select, update

from services.domain.sources.moves import after_reading
from services.errors import LeaseLost
from services.store.db import leases
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import listing, source
from services.store.sources.records import ClaimedListing

MAX_PARSE_ATTEMPTS = 3
READ_AGAIN_AFTER = timedelta(hours=1)
"""A listing that could not be read is read once more after this time: memory may have been short."""
MAX_KEPT = 5
"""Bodies of unreadable listings that are kept for one source; a broken source sends another one at each poll."""
MAX_LISTINGS_TOGETHER = 64
"""Listings that one transaction ingests. A commit and its lookups cost more than a small feed does."""
MAX_BYTES_TOGETHER = 2**21
"""Bytes of the listings that one transaction ingests."""
_OF_SOURCE = (
    *(source.c.kind, source.c.location, source.c.polled, source.c.feed_hints),
    *(source.c.moved_to, source.c.redirect_to, source.c.redirect_reads),
)


def is_first(tx: Connection, source_id: int, added_at: datetime) -> bool:
    """Whether no listing of the source has been read since it was added."""
    was_read = exists().where(
        listing.c.source_id == source_id,
        listing.c.done_at.is_not(None),
        listing.c.error == "",
        listing.c.fetched_at >= added_at,
    )
    return not tx.scalars(select(was_read)).one()


def add(
    tx: Connection,
    source_id: int,
    body: bytes,
    now: datetime,
    *,
    silent: bool,
    content_type: str = "",
    day: date | None = None,
    url: str = "",
    address: str = "",
) -> None:
    """Stores fetched bytes until they are ingested.

    `day`: the announcement day that was requested; `url`: the address of a further page of an announcement; `address`:
    where permanent redirects lead to.
    """
    values = {
        "source_id": source_id,
        "body": body,
        "content_type": content_type,
        "fetched_at": now,
        "silent": silent,
        "day": day,
        "url": url,
        "address": address,
    }
    tx.execute(insert(listing).values(values))


def due(now: datetime) -> ColumnElement[bool]:
    """Selects the listings that are not ingested and that no worker has claimed (index `ix_listing_waiting`)."""
    may_be_read = or_(listing.c.read_again_at.is_(None), listing.c.read_again_at <= now)
    return and_(listing.c.done_at.is_(None), leases.free(listing, now), may_be_read)


def claim(tx: Connection, now: datetime, lease: timedelta) -> list[ClaimedListing]:
    """Claims the oldest fetched listings, in their order.

    Several if they are small. A listing that was tried before is claimed alone, since it may end the process that reads
    it. Attempts are counted before any work.
    """
    oldest = (
        select(listing.c.id, listing.c.attempts, func.octet_length(listing.c.body).label("size"))
        .where(due(now))
        .order_by(listing.c.id)
        .limit(MAX_LISTINGS_TOGETHER)
        .with_for_update(skip_locked=True)
    )
    ids = _together([(row.id, row.attempts, row.size) for row in tx.execute(oldest)])
    if not ids:
        return []
    own = columns_for(listing, ClaimedListing)
    claimed = (
        update(listing)
        .where(listing.c.id.in_(ids), source.c.id == listing.c.source_id)
        .values(lease_token=uuid4(), lease_until=now + lease, attempts=listing.c.attempts + 1)
        .returning(*own, *_OF_SOURCE)
    )
    return sorted(fetch_all(tx, ClaimedListing, claimed), key=lambda row: row.id)


def _together(waiting: Sequence[tuple[int, int, int]]) -> list[int]:
    """The ids of the first of (id, attempts, size in bytes) that one transaction ingests."""
    ids: list[int] = []
    total = 0
    for id, attempts, size in waiting:
        total += size
        if ids and (attempts or total > MAX_BYTES_TOGETHER):
            break
        ids.append(id)
        if attempts:
            break
    return ids


def finish(tx: Connection, claimed: Sequence[ClaimedListing], now: datetime) -> None:
    """Ends the reading of listings claimed together, and drops their bytes. Raises LeaseLost."""
    _release(tx, claimed, done_at=now, error="", body=None)
    present = [row for row in claimed if row.day is None]
    _end_failure(tx, present)
    _record_moves(tx, present)


def _end_failure(tx: Connection, read: Sequence[ClaimedListing]) -> None:
    """Marks the sources as working, unless a later poll has failed."""
    query = (
        update(source)
        .where(
            listing.c.id.in_([row.id for row in read]),
            source.c.id == listing.c.source_id,
            or_(source.c.polled_at.is_(None), source.c.polled_at <= listing.c.fetched_at),
            or_(source.c.failures != 0, source.c.failing_since.is_not(None), source.c.error != ""),
        )
        .values(failures=0, failing_since=None, error="")
    )
    tx.execute(query)


def _record_moves(tx: Connection, read: Sequence[ClaimedListing]) -> None:
    before = {row.source_id: row.move for row in read}
    after = dict(before)
    for row in read:
        after[row.source_id] = after_reading(after[row.source_id], row.location, row.address)
    for source_id, move in after.items():
        if move != before[source_id]:
            tx.execute(update(source).where(source.c.id == source_id).values(asdict(move)))


# ── listings that cannot be read ──────────────────────────────────────────────────────────────────────────────


def finish_unreadable(tx: Connection, claimed: ClaimedListing, reason: str, now: datetime, pause: timedelta) -> None:
    """Ends the reading of a listing that could not be read, and keeps its bytes. Raises LeaseLost.

    It is read once more after `pause`. A listing that was requested by its day is not: the day is requested again.
    """
    if claimed.day is not None:
        _release(tx, [claimed], done_at=now, error=reason, body=None)
        tx.execute(update(source).where(source.c.id == claimed.source_id).values(error=reason))
    elif claimed.read_again_at is not None:
        _release(tx, [claimed], done_at=now, error=reason)
        _drop_oldest_kept(tx, claimed.source_id)
    elif _is_kept_already(tx, claimed):
        _release(tx, [claimed], done_at=now, error=reason, body=None)
    else:
        _release(tx, [claimed], read_again_at=now + pause, error=reason, attempts=MAX_PARSE_ATTEMPTS - 1)


def read_kept_again(tx: Connection, source_ids: Collection[int]) -> None:
    """Makes the listings due again whose bytes were kept because they could not be read."""
    is_kept = and_(listing.c.source_id.in_(source_ids), listing.c.error != "", listing.c.body.is_not(None))
    again = {"read_again_at": func.now(), "done_at": None, "attempts": MAX_PARSE_ATTEMPTS - 1}
    tx.execute(update(listing).where(is_kept, listing.c.lease_token.is_(None)).values(again))


def _is_kept_already(tx: Connection, claimed: ClaimedListing) -> bool:
    """Whether the same bytes of the source could not be read before; a server may send them at every poll."""
    earlier = listing.alias()
    same = exists().where(
        listing.c.id == claimed.id,
        earlier.c.source_id == listing.c.source_id,
        earlier.c.id < listing.c.id,
        earlier.c.error != "",
        earlier.c.body == listing.c.body,
    )
    return bool(tx.scalars(select(same)).one())


def _drop_oldest_kept(tx: Connection, source_id: int) -> None:
    """Drops the bytes of all but the newest `MAX_KEPT` unreadable listings of the source."""
    superfluous = (
        select(listing.c.id)
        .where(
            listing.c.source_id == source_id,
            listing.c.error != "",
            listing.c.done_at.is_not(None),
            listing.c.body.is_not(None),
        )
        .order_by(listing.c.id.desc())
        .offset(MAX_KEPT)
    )
    tx.execute(update(listing).where(listing.c.id.in_(superfluous)).values(body=None))


# ── claims ────────────────────────────────────────────────────────────────────────────────────────────────────


def release(tx: Connection, claimed: Sequence[ClaimedListing]) -> None:
    """Makes listings due again for which there was no time, without counting the attempt. Raises LeaseLost."""
    _release(tx, claimed, attempts=listing.c.attempts - 1)


def _release(tx: Connection, claimed: Sequence[ClaimedListing], **values: Any) -> None:
    if not claimed:
        return
    query = (
        update(listing)
        .where(
            listing.c.id.in_([row.id for row in claimed]),
            listing.c.lease_token == claimed[0].lease_token,
        )
        .values(lease_token=None, lease_until=None, **values)
    )
    if tx.execute(query).rowcount < len(claimed):
        raise LeaseLost("a listing was taken over")
