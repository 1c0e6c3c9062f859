"""Sources, their politeness gates, fetched listings and the batch ledger."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, and_, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.sources.feed_hints import NO_HINTS, FeedHints
from services.errors import LeaseLost, NotFound
from services.ports import Source
from services.store.db import leases
from services.store.db.database import Row, rows
from services.store.db.tables import batch, listing, paper_appearance, rate_limit, source

MAX_PARSE_ATTEMPTS = 3
MAX_LISTINGS_TOGETHER = 64
"""Listings that one transaction ingests. A commit and its lookups cost more than a small feed does."""
MAX_BYTES_TOGETHER = 2**21
"""Bytes of the listings that one transaction ingests."""


def add(tx: Connection, plugin: Source, location: str, every: timedelta | None, *, announce_first: bool = False) -> int:
    """Adds a source, or makes one polled that only imports have used; due at once."""
    key, pause = plugin.rate_limit(location)
    tx.execute(upsert(rate_limit).values(key=key).on_conflict_do_nothing())
    polled = {
        "polled": True,
        "announce_first": announce_first,
        "every": every,
        "rate_limit_key": key,
        "rate_limit_pause": pause,
        "next_poll_at": func.now(),
        "failures": 0,
        "error": "",
        "digest": b"",
    }
    statement = upsert(source).values(kind=plugin.kind, location=location, **polled)
    statement = statement.on_conflict_do_update(index_elements=["kind", "location"], set_=polled)
    return int(tx.scalars(statement.returning(source.c.id)).one())


def imported(tx: Connection, kind: str) -> int:
    """The source that imported listings of a kind belong to; never polled unless it is added."""
    tx.execute(upsert(source).values(kind=kind, location="").on_conflict_do_nothing())
    return int(tx.scalars(select(source.c.id).where(source.c.kind == kind, source.c.location == "")).one())


def all_of(tx: Connection) -> Sequence[Row]:
    """Every source with its newest batch (`day`, `found`, `new`, `skipped`, `state`)."""
    latest = select(batch).ext(distinct_on(batch.c.source_id))
    newest = latest.order_by(batch.c.source_id, batch.c.updated_at.desc()).subquery()
    columns = (
        newest.c.announced_on.label("day"),
        newest.c.fetched.label("found"),
        newest.c.new,
        newest.c.skipped,
        newest.c.state,
    )
    query = select(source, *columns).outerjoin(newest, newest.c.source_id == source.c.id)
    return rows(tx, query.order_by(source.c.id))


def remove(tx: Connection, source_id: int) -> None:
    """Stops polling; what was listed stays in the archive."""
    query = update(source).where(source.c.id == source_id, source.c.polled).values(polled=False, next_poll_at=None)
    if tx.execute(query).rowcount == 0:
        raise NotFound(f"no polled source {source_id}")


def poll_now(tx: Connection, source_id: int | None) -> int:
    """Makes one source, or all, due at once; the number of sources concerned."""
    query = update(source).where(source.c.polled).values(next_poll_at=func.now())
    return tx.execute(query.where(source.c.id == source_id) if source_id is not None else query).rowcount


def appearances_of(tx: Connection, paper_id: int) -> list[Row]:
    """Where a paper was announced, the first place first."""
    query = select(paper_appearance, source.c.kind, source.c.location).join(source)
    return rows(tx, query.where(paper_appearance.c.paper_id == paper_id).order_by(paper_appearance.c.first_seen_at))


def heard(tx: Connection, paper_id: int) -> bool:
    """Whether any appearance of the paper was not silent."""
    loud = and_(paper_appearance.c.paper_id == paper_id, ~paper_appearance.c.silent)
    return bool(tx.scalars(select(exists().where(loud))).one())


def of(tx: Connection, source_id: int) -> Row:
    return rows(tx, select(source).where(source.c.id == source_id))[0]


def heard_since(tx: Connection, moment: datetime) -> list[int]:
    """Papers announced, not silently, since a moment."""
    loud = and_(paper_appearance.c.first_seen_at >= moment, ~paper_appearance.c.silent)
    return list(tx.scalars(select(paper_appearance.c.paper_id).where(loud).distinct()))


# ── polling ───────────────────────────────────────────────────────────────────────────────────────────────────


def due(now: datetime) -> Any:
    """Sources whose poll is due while their gate is free."""
    open_gate = exists().where(
        rate_limit.c.key == source.c.rate_limit_key,
        or_(rate_limit.c.available_at.is_(None), rate_limit.c.available_at <= now),
        leases.free(rate_limit, now),
    )
    return and_(source.c.polled, source.c.next_poll_at <= now, leases.free(source, now), open_gate)


def claim(tx: Connection, now: datetime, lease: timedelta, most: int = 1) -> list[Row]:
    """The sources that are due longest, together with their gates, of which no two are the same; empty when none is due
    or every gate is busy.
    """
    query = select(source.c.id, source.c.rate_limit_key).where(due(now)).order_by(source.c.next_poll_at).limit(most)
    oldest: dict[str, int] = {}
    for row in tx.execute(query.with_for_update(skip_locked=True)):
        oldest.setdefault(row.rate_limit_key, row.id)
    if not oldest:
        return []
    held = {"lease_token": uuid4(), "lease_until": now + lease}
    free = and_(rate_limit.c.key.in_(oldest), leases.free(rate_limit, now))
    open_gates = tx.scalars(update(rate_limit).where(free).values(held).returning(rate_limit.c.key)).all()
    mine = source.c.id.in_([oldest[key] for key in open_gates])
    return rows(tx, update(source).where(mine).values(held).returning(*source.c))


def finish_poll(tx: Connection, row: Row, now: datetime, **values: Any) -> None:
    """Ends a poll; its gate is freed by `free_gates`."""
    leases.release(tx, source, row, polled_at=now, **values)


def free_gates(tx: Connection, claimed: Sequence[Row], now: datetime) -> None:
    """Frees the gates of sources claimed together, each after its pause."""
    mine = and_(rate_limit.c.lease_token == claimed[0]["lease_token"], source.c.id.in_([row["id"] for row in claimed]))
    free_at = now + func.coalesce(source.c.rate_limit_pause, timedelta())
    freed = {"lease_token": None, "lease_until": None, "available_at": free_at}
    tx.execute(update(rate_limit).where(mine, source.c.rate_limit_key == rate_limit.c.key).values(freed))


def is_first(tx: Connection, source_id: int) -> bool:
    return not tx.scalars(
        select(exists().where(listing.c.source_id == source_id, listing.c.done_at.is_not(None)))
    ).one()


def keep_listing(
    tx: Connection, source_id: int, body: bytes, now: datetime, *, silent: bool, day: date | None = None, url: str = ""
) -> None:
    """Keeps fetched bytes until they are read. `day`: they were asked for by it; `url`: of a further page."""
    values = {"source_id": source_id, "body": body, "fetched_at": now, "silent": silent, "day": day, "url": url}
    tx.execute(insert(listing).values(values))


# ── ingesting ─────────────────────────────────────────────────────────────────────────────────────────────────


def listing_due(now: datetime) -> Any:
    return and_(listing.c.done_at.is_(None), leases.free(listing, now))


def claim_listings(tx: Connection, now: datetime, lease: timedelta) -> list[Row]:
    """The oldest fetched listings that nobody reads, with what ingestion asks of their sources.

    Several when they are small, but one that was tried before is claimed alone, since it may end the process that reads
    it. Attempts are counted before any work.
    """
    size = func.octet_length(listing.c.body).label("size")
    oldest = select(listing.c.id, listing.c.attempts, size).where(listing_due(now)).order_by(listing.c.id)
    waiting = rows(tx, oldest.limit(MAX_LISTINGS_TOGETHER).with_for_update(skip_locked=True))
    leased = {"lease_token": uuid4(), "lease_until": now + lease, "attempts": listing.c.attempts + 1}
    taken = update(listing).where(listing.c.id.in_(_together(waiting)), source.c.id == listing.c.source_id)
    of_source = (source.c.kind, source.c.location, source.c.polled, source.c.feed_hints)
    claimed = rows(tx, taken.values(leased).returning(listing, *of_source)) if waiting else []
    return sorted(claimed, key=lambda row: int(row["id"]))


def _together(waiting: Sequence[Row]) -> list[int]:
    """Ids of as many listings, from the first on, as are read at once."""
    ids: list[int] = []
    size = 0
    for row in waiting:
        size += row["size"]
        if ids and (row["attempts"] or size > MAX_BYTES_TOGETHER):
            break
        ids.append(row["id"])
        if row["attempts"]:
            break
    return ids


def finish_listings(tx: Connection, claimed: Sequence[Row], now: datetime, error: str = "") -> None:
    """Ends the reading of listings claimed together. Raises LeaseLost when somebody else has one of them by now."""
    _let_go(tx, claimed, done_at=now, error=error, body=None)
    its = source.c.id.in_({row["source_id"] for row in claimed})
    if error:
        tx.execute(update(source).where(its).values(error=error, digest=b""))
    else:
        tx.execute(update(source).where(its, source.c.error != "").values(error=""))


def set_feed_hints(tx: Connection, row: Row, feed_hints: FeedHints) -> None:
    """Notes when the source asks not to be polled."""
    if feed_hints_of(row) != feed_hints:
        tx.execute(update(source).where(source.c.id == row["id"]).values(feed_hints=asdict(feed_hints)))


def feed_hints_of(row: Row) -> FeedHints:
    found = row["feed_hints"]
    return FeedHints(found["minutes"], tuple(found["days"]), tuple(found["hours"])) if found else NO_HINTS


def leave_listings(tx: Connection, claimed: Sequence[Row]) -> None:
    """Gives back listings that there was no time for."""
    _let_go(tx, claimed, attempts=listing.c.attempts - 1)


def _let_go(tx: Connection, claimed: Sequence[Row], **values: Any) -> None:
    if not claimed:
        return
    mine = and_(listing.c.id.in_([row["id"] for row in claimed]), listing.c.lease_token == claimed[0]["lease_token"])
    if tx.execute(update(listing).where(mine).values(lease_token=None, lease_until=None, **values)).rowcount < len(
        claimed
    ):
        raise LeaseLost("a listing was taken over")
