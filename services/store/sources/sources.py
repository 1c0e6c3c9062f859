"""Sources: adding and removing them, and claiming those whose poll is due, with their rate limits."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Exists, and_, case, exists, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.http.ssrf import without_secrets
from services.domain.sources.feed_hints import NO_HINTS, FeedHints
from services.domain.sources.moves import NO_MOVE
from services.errors import LeaseLost, NotFound
from services.store.db import change_log, leases, rate_limits
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import batch, rate_limit, source
from services.store.sources import listings
from services.store.sources.records import PollFailure, PollSuccess, Source, SourceWithNewestBatch

UNREAD = {"etag": "", "last_modified": "", "digest": b""}
"""Makes the next poll take any answer for new, so that a listing that was not read is fetched again."""


def add(
    tx: Connection,
    kind: str,
    location: str,
    every: timedelta | None,
    *,
    rate_limit_key: str,
    rate_limit_pause: timedelta,
    announce_first: bool = False,
) -> int:
    """Adds a source, or starts to poll one that only has imported listings; it is due at once.

    All requests with one `rate_limit_key` wait `rate_limit_pause` for each other. What earlier polls found out of the
    address (redirects, validators, hints) is forgotten. A source that was removed is as new: what it announced
    meanwhile is not announced again.
    """
    tx.execute(upsert(rate_limit).values(key=rate_limit_key).on_conflict_do_nothing())
    polled = {
        "polled": True,
        "announce_first": announce_first,
        "every": every,
        "rate_limit_key": rate_limit_key,
        "rate_limit_pause": rate_limit_pause,
        "next_poll_at": func.now(),
        "failures": 0,
        "failing_since": None,
        "error": "",
        "feed_hints": NO_HINTS,
        **UNREAD,
        **asdict(NO_MOVE),
    }
    since_added = {"created_at": case((source.c.polled, source.c.created_at), else_=func.now())}
    statement = (
        upsert(source)
        .values(kind=kind, location=location, **polled)
        .on_conflict_do_update(index_elements=["kind", "location"], set_=polled | since_added)
        .returning(source.c.id)
    )
    return int(tx.scalars(statement).one())


def any_polled(tx: Connection) -> bool:
    """Whether any source is watched, so that new papers can come."""
    return tx.scalars(select(exists().where(source.c.polled))).one()


def source_of_imports(tx: Connection, kind: str) -> int:
    """The id of the source to which imported listings of a kind belong; it is polled only if an operator adds it."""
    tx.execute(upsert(source).values(kind=kind, location="").on_conflict_do_nothing())
    return int(tx.scalars(select(source.c.id).where(source.c.kind == kind, source.c.location == "")).one())


def get(tx: Connection, source_id: int) -> Source:
    """Raises NotFound."""
    row = fetch_first(tx, Source, select(*columns_for(source, Source)).where(source.c.id == source_id))
    if row is None:
        raise NotFound(f"no source {source_id}")
    return row


def all_with_newest_batch(tx: Connection) -> list[SourceWithNewestBatch]:
    """Every source with the batch that was updated last."""
    newest = (
        select(batch)
        .ext(distinct_on(batch.c.source_id))
        .order_by(batch.c.source_id, batch.c.updated_at.desc())
        .subquery()
    )
    query = (
        select(
            *columns_for(source, SourceWithNewestBatch),
            newest.c.announced_on.label("day"),
            newest.c.fetched.label("found"),
            newest.c.new,
            newest.c.skipped,
            newest.c.state,
        )
        .outerjoin(newest, newest.c.source_id == source.c.id)
        .order_by(source.c.id)
    )
    return fetch_all(tx, SourceWithNewestBatch, query)


def remove(tx: Connection, source_id: int) -> None:
    """Stops polling. The papers of the source stay in the archive."""
    query = update(source).where(source.c.id == source_id, source.c.polled).values(polled=False, next_poll_at=None)
    removed = tx.execute(query.returning(source.c.kind, source.c.location)).first()
    if removed is None:
        raise NotFound(f"no polled source {source_id}")
    change_log.record_own(tx, "removed a source", f"{removed.kind} {without_secrets(removed.location)}")


def poll_now(tx: Connection, source_id: int | None) -> int:
    """Makes one source due at once, or all (None), and their listings that could not be read; returns their number."""
    query = update(source).where(source.c.polled).values(next_poll_at=func.now()).returning(source.c.id)
    ids = tx.scalars(query.where(source.c.id == source_id) if source_id is not None else query).all()
    listings.read_kept_again(tx, ids)
    return len(ids)


def set_feed_hints(tx: Connection, source_id: int, feed_hints: FeedHints) -> None:
    """Stores when the source asks not to be polled."""
    tx.execute(update(source).where(source.c.id == source_id).values(feed_hints=feed_hints))


# ── polling ───────────────────────────────────────────────────────────────────────────────────────────────────


def rate_limit_is_free(now: datetime) -> Exists:
    """Selects, in a query of `source`, those whose rate limit allows a request and has no claim."""
    return exists().where(
        rate_limit.c.key == source.c.rate_limit_key,
        rate_limits.is_free(now),
        leases.free(rate_limit, now),
    )


def due(now: datetime) -> ColumnElement[bool]:
    """Selects the sources whose poll is due and whose rate limit allows a request."""
    return and_(source.c.polled, source.c.next_poll_at <= now, leases.free(source, now), rate_limit_is_free(now))


def claim(tx: Connection, now: datetime, lease: timedelta, limit: int = 1) -> list[Source]:
    """Claims the sources that are due longest, no two of one rate limit, and their rate limits under the same token.

    Empty when none is due or every rate limit is taken.
    """
    query = (
        select(source.c.id, source.c.rate_limit_key)
        .where(due(now))
        .order_by(source.c.next_poll_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    oldest: dict[str, int] = {}
    for row in tx.execute(query):
        oldest.setdefault(row.rate_limit_key, row.id)
    if not oldest:
        return []
    leased = {"lease_token": uuid4(), "lease_until": now + lease}
    free = (
        update(rate_limit)
        .where(rate_limit.c.key.in_(oldest), leases.free(rate_limit, now))
        .values(leased)
        .returning(rate_limit.c.key)
    )
    ids = [oldest[key] for key in tx.scalars(free)]
    claimed = update(source).where(source.c.id.in_(ids)).values(leased).returning(*columns_for(source, Source))
    return fetch_all(tx, Source, claimed)


def finish_poll(tx: Connection, claimed: Source, result: PollSuccess | PollFailure, now: datetime) -> None:
    """Ends a poll; `release_rate_limits` ends the claim of its rate limit. Raises LeaseLost."""
    values = _after_failure(result) if isinstance(result, PollFailure) else _after_success(result, now)
    query = (
        update(source)
        .where(source.c.id == claimed.id, source.c.lease_token == claimed.lease_token)
        .values(lease_token=None, lease_until=None, polled_at=now, **values)
    )
    if tx.execute(query).rowcount == 0:
        raise LeaseLost(f"source {claimed.id} was taken over")


def _after_success(result: PollSuccess, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"succeeded_at": now, "next_poll_at": result.next_poll_at}
    if result.move is not None:
        values |= asdict(result.move)
    if result.fetched is not None and result.fetched.digest is not None:
        # Whether the source works again is known when its listing has been read.
        return values | asdict(result.fetched)
    unchanged: dict[str, Any] = {"failures": 0, "failing_since": None, "error": ""}
    if result.fetched is not None:
        unchanged |= {"etag": result.fetched.etag, "last_modified": result.fetched.last_modified}
    # The last listing may have proved unreadable during this poll. It must stay so, and be fetched again.
    is_unread = source.c.digest == b""
    return values | {name: case((is_unread, source.c[name]), else_=value) for name, value in unchanged.items()}


def record_unreadable(tx: Connection, source_id: int, error: str, now: datetime) -> tuple[Source, datetime]:
    """Counts a listing that could not be read as a failure, and has it fetched again; also since when it fails."""
    values = {
        "failures": source.c.failures + 1,
        "failing_since": func.coalesce(source.c.failing_since, now),
        "error": error,
        **UNREAD,
    }
    query = update(source).where(source.c.id == source_id).values(values).returning(*columns_for(source, Source))
    (row,) = fetch_all(tx, Source, query)
    return row, row.failing_since or now


def _after_failure(result: PollFailure) -> dict[str, Any]:
    values = asdict(result)
    return values | {"polled": False} if values.pop("gone") else values


def release_rate_limits(tx: Connection, claimed: Sequence[Source], now: datetime) -> None:
    """Ends the claims of the rate limits of sources claimed together; each is available after its source's pause."""
    query = (
        update(rate_limit)
        .where(
            rate_limit.c.lease_token == claimed[0].lease_token,
            source.c.id.in_([row.id for row in claimed]),
            source.c.rate_limit_key == rate_limit.c.key,
        )
        .values(
            lease_token=None,
            lease_until=None,
            available_at=now + func.coalesce(source.c.rate_limit_pause, timedelta()),
            acquired_at=now,
        )
    )
    tx.execute(query)
