"""Batches: for each source and announcement day what was announced, read and new, and which days are missing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.sources import batches as domain
from services.domain.sources.batches import Batch, BatchPage, BatchState
from services.domain.sources.polling import Timetable
from services.store.db import leases
from services.store.db.database import pairs
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import batch, paper_appearance, rate_limit, source
from services.store.sources import sources
from services.store.sources.records import BatchOfPapers, ClaimedBatch, Source

_KEY = (batch.c.source_id, batch.c.announced_on)
_CHANGING = (
    *("announced", "fetched", "new", "known", "updated", "skipped", "read_so_far", "state", "note", "look_backs"),
    *("next_read_at", "next_url", "updated_at"),
)


def record_pages(tx: Connection, pages: Sequence[BatchPage], now: datetime) -> None:
    """Adds pages of announcements to their batches, in their order."""
    batches = _lock_or_create(tx, {(page.source_id, page.day) for page in pages})
    papers_of_day = _count_papers(tx, batches)
    for page in pages:
        key = page.source_id, page.day
        batches[key] = domain.add_page(batches[key], page, papers_of_day.get(key, 0), now)
    _store(tx, batches.values())


def record_failure(
    tx: Connection, source_id: int, day: date, note: str, timetable: Timetable, now: datetime, *, looked_back: bool
) -> None:
    """Notes in the day's batch that a listing could not be fetched or read."""
    (current,) = _lock_or_create(tx, [(source_id, day)]).values()
    changed = domain.add_failure(current, note, timetable, now, looked_back=looked_back)
    if changed != current:
        _store(tx, [changed])


def _lock_or_create(tx: Connection, keys: Collection[tuple[int, date]]) -> dict[tuple[int, date], Batch]:
    """The batches of these sources and days, locked in the order of their ids."""
    if not keys:
        return {}
    values = [{"source_id": source_id, "announced_on": day} for source_id, day in sorted(keys)]
    tx.execute(upsert(batch).on_conflict_do_nothing(), values)
    query = (
        select(*columns_for(batch, Batch))
        .where(tuple_(*_KEY).in_(keys))
        .order_by(batch.c.id)
        .with_for_update()
    )  # fmt: skip
    return {(row.source_id, row.announced_on): row for row in fetch_all(tx, Batch, query)}


def _count_papers(tx: Connection, keys: Collection[tuple[int, date]]) -> dict[tuple[int, date], int]:
    """How many papers each source first listed for each day."""
    if not keys:
        return {}
    columns = paper_appearance.c.source_id, paper_appearance.c.announced_on
    query = select(*columns, func.count()).where(tuple_(*columns).in_(keys)).group_by(*columns)
    return {(row[0], row[1]): row[2] for row in tx.execute(query)}


def _store(tx: Connection, changed: Iterable[Batch]) -> None:
    rows = [{f"new_{name}": getattr(row, name) for name in ("id", *_CHANGING)} for row in changed]
    if rows:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _CHANGING}
        tx.execute(update(batch).where(batch.c.id == bindparam("new_id")).values(values), rows)


def state_of(tx: Connection, source_id: int, day: date) -> BatchState | None:
    """The state of a day's batch; None when it has none."""
    query = select(batch.c.state).where(batch.c.source_id == source_id, batch.c.announced_on == day)
    state: BatchState | None = tx.scalars(query).first()
    return state


# ── looking back ──────────────────────────────────────────────────────────────────────────────────────────────


def add_missing(tx: Connection, source_id: int, days: Iterable[date], now: datetime, *, announced_from: date) -> int:
    """Creates a missing batch, due now, for each of the days that has none; returns their number.

    Days before `announced_from` are read silently.
    """
    values = [
        {"source_id": source_id, "announced_on": day, "next_read_at": now, "silent": day < announced_from}
        for day in days
    ]
    if not values:
        return 0
    statement = upsert(batch).on_conflict_do_nothing().returning(batch.c.id)
    return len(tx.scalars(statement, values).all())


def look_back_due(now: datetime) -> ColumnElement[bool]:
    """Selects the batches to fetch again whose source is polled and whose rate limit is free (index `ix_batch_due`)."""
    of_polled = sources.rate_limit_is_free(now).where(source.c.id == batch.c.source_id, source.c.polled)
    return and_(batch.c.next_read_at <= now, leases.free(batch, now), of_polled)


def claim_look_back(tx: Connection, now: datetime, lease: timedelta) -> tuple[ClaimedBatch, Source] | None:
    """Claims a batch to fetch again, the newest day first, and its source's rate limit under the same token."""
    order = batch.c.announced_on.desc()
    claimed = leases.claim(tx, batch, ClaimedBatch, look_back_due(now), order=order, until=now + lease)
    if claimed is None:
        return None
    of_batch = sources.get(tx, claimed.source_id)
    query = (
        update(rate_limit)
        .where(rate_limit.c.key == of_batch.rate_limit_key, leases.free(rate_limit, now))
        .values(lease_token=claimed.lease_token, lease_until=now + lease)
    )
    if tx.execute(query).rowcount == 0:
        leases.release(tx, batch, claimed)
        return None
    return claimed, of_batch


def finish_look_back(tx: Connection, claimed: ClaimedBatch, of_batch: Source, now: datetime) -> None:
    """Ends the claim of the batch, and that of its rate limit, which is available after its pause."""
    leases.release(tx, batch, claimed, next_read_at=None)
    query = (
        update(rate_limit)
        .where(rate_limit.c.key == of_batch.rate_limit_key, rate_limit.c.lease_token == claimed.lease_token)
        .values(
            lease_token=None,
            lease_until=None,
            available_at=now + (of_batch.rate_limit_pause or timedelta()),
            acquired_at=now,
        )
    )
    tx.execute(query)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────


def of_source(tx: Connection, source_id: int, limit: int = 60) -> list[Batch]:
    """The newest batches of a source."""
    query = (
        select(*columns_for(batch, Batch))
        .where(batch.c.source_id == source_id)
        .order_by(batch.c.announced_on.desc())
        .limit(limit)
    )
    return fetch_all(tx, Batch, query)


def of_papers(tx: Connection, papers: Mapping[int, Collection[int]], limit: int = 6) -> dict[int, list[BatchOfPapers]]:
    """For each key the batches in which its papers were announced, the newest first, without imports."""
    wanted = pairs("key", "paper_id", ((key, paper_id) for key, ids in papers.items() for paper_id in ids))
    same_batch = and_(
        batch.c.source_id == paper_appearance.c.source_id, batch.c.announced_on == paper_appearance.c.announced_on
    )
    query = (
        select(
            wanted.c.key,
            source.c.kind,
            source.c.location,
            batch.c.announced_on,
            batch.c.announced,
            batch.c.fetched,
            func.count().label("papers"),
        )
        .select_from(wanted)
        .join(paper_appearance, paper_appearance.c.paper_id == wanted.c.paper_id)
        .join(batch, same_batch)
        .join(source, source.c.id == batch.c.source_id)
        .where(or_(source.c.location != "", source.c.polled))
        .group_by(wanted.c.key, batch.c.id, source.c.kind, source.c.location)
        .order_by(batch.c.announced_on.desc(), func.count().desc())
    )
    by_key: dict[int, list[BatchOfPapers]] = {key: [] for key in papers}
    for key, *columns in tx.execute(query):
        by_key[key].append(BatchOfPapers(*columns))
    return {key: batches[:limit] for key, batches in by_key.items()}
