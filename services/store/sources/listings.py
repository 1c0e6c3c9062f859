"""Fetched listings: their bytes from the poll until ingestion has read them."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, select, update

from services.errors import LeaseLost
from services.store.db import leases
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import listing, source
from services.store.sources.records import ClaimedListing

MAX_PARSE_ATTEMPTS = 3
MAX_LISTINGS_TOGETHER = 64
"""Listings that one transaction ingests. A commit and its lookups cost more than a small feed does."""
MAX_BYTES_TOGETHER = 2**21
"""Bytes of the listings that one transaction ingests."""


def is_first(tx: Connection, source_id: int) -> bool:
    """Whether no listing of the source has been ingested yet."""
    ingested = exists().where(listing.c.source_id == source_id, listing.c.done_at.is_not(None))
    return not tx.scalars(select(ingested)).one()


def add(
    tx: Connection, source_id: int, body: bytes, now: datetime, *, silent: bool, day: date | None = None, url: str = ""
) -> None:
    """Stores fetched bytes until they are ingested.

    `day`: the announcement day that was requested; `url`: the address of a further page of an announcement.
    """
    values = {"source_id": source_id, "body": body, "fetched_at": now, "silent": silent, "day": day, "url": url}
    tx.execute(insert(listing).values(values))


def due(now: datetime) -> ColumnElement[bool]:
    """Selects the listings that are not ingested and that no worker has claimed (index `ix_listing_waiting`)."""
    return and_(listing.c.done_at.is_(None), leases.free(listing, now))


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
        .returning(*own, source.c.kind, source.c.location, source.c.polled, source.c.feed_hints)
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


def finish(tx: Connection, claimed: Sequence[ClaimedListing], now: datetime, error: str = "") -> None:
    """Ends the reading of listings claimed together, and drops their bytes. Raises LeaseLost."""
    _release(tx, claimed, done_at=now, error=error, body=None)
    of_source = source.c.id.in_({row.source_id for row in claimed})
    if error:
        tx.execute(update(source).where(of_source).values(error=error, digest=b""))
    else:
        tx.execute(update(source).where(of_source, source.c.error != "").values(error=""))


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
