"""Sources, their politeness gates, fetched listings and the batch ledger."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import NotFound
from services.ports import Source
from services.store import leases
from services.store.database import Row, rows
from services.store.tables import batch, gate, listing, paper_appearance, source

MOST_PARSE_ATTEMPTS = 3


def add(tx: Connection, plugin: Source, location: str, every: timedelta | None, *, announce_first: bool = False) -> int:
    """Adds a source, or makes one polled that only imports have used; due at once."""
    key, pause = plugin.gate(location)
    tx.execute(upsert(gate).values(key=key).on_conflict_do_nothing())
    polled = {
        "polled": True,
        "announce_first": announce_first,
        "every": every,
        "gate": key,
        "gate_pause": pause,
        "next_poll_at": func.now(),
        "failures": 0,
        "error": "",
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


def kind_of(tx: Connection, source_id: int) -> str:
    return str(tx.scalars(select(source.c.kind).where(source.c.id == source_id)).one())


def location_of(tx: Connection, source_id: int) -> str | None:
    """Where a polled source polls; None for one that only imports use."""
    return tx.scalars(select(source.c.location).where(source.c.id == source_id, source.c.polled)).first()


def heard_since(tx: Connection, moment: datetime) -> list[int]:
    """Papers announced, not silently, since a moment."""
    loud = and_(paper_appearance.c.first_seen_at >= moment, ~paper_appearance.c.silent)
    return list(tx.scalars(select(paper_appearance.c.paper_id).where(loud).distinct()))


# ── polling ───────────────────────────────────────────────────────────────────────────────────────────────────


def due(now: datetime) -> Any:
    """Sources whose poll is due while their gate is free."""
    open_gate = exists().where(
        gate.c.key == source.c.gate,
        or_(gate.c.next_free_at.is_(None), gate.c.next_free_at <= now),
        leases.free(gate, now),
    )
    return and_(source.c.polled, source.c.next_poll_at <= now, leases.free(source, now), open_gate)


def claim(tx: Connection, now: datetime, lease: timedelta) -> Row | None:
    """The source that is due longest, together with its gate; None when none is due or every gate is busy."""
    row = leases.claim(tx, source, due(now), order=source.c.next_poll_at, until=now + lease)
    if row is None:
        return None
    taken = and_(gate.c.key == row["gate"], leases.free(gate, now))
    values = {"lease_token": row["lease_token"], "lease_until": now + lease}
    if tx.execute(update(gate).where(taken).values(values)).rowcount == 0:
        leases.release(tx, source, row)
        return None
    return row


def finish_poll(tx: Connection, row: Row, now: datetime, **values: Any) -> None:
    """Ends a poll: frees source and gate, the gate after its pause."""
    leases.release(tx, source, row, polled_at=now, **values)
    mine = and_(gate.c.key == row["gate"], gate.c.lease_token == row["lease_token"])
    freed = {"lease_token": None, "lease_until": None, "next_free_at": now + (row["gate_pause"] or timedelta())}
    tx.execute(update(gate).where(mine).values(freed))


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


def claim_listing(tx: Connection, now: datetime, lease: timedelta) -> Row | None:
    """The oldest fetched listing that nobody reads, with its source's kind; attempts are counted before any work."""
    row = leases.claim(
        tx, listing, listing_due(now), order=listing.c.id, until=now + lease, attempts=listing.c.attempts + 1
    )
    if row is None:
        return None
    return {**row, "kind": kind_of(tx, row["source_id"])}


def finish_listing(tx: Connection, row: Row, now: datetime, error: str = "") -> None:
    leases.release(tx, listing, row, done_at=now, error=error, body=None)
    tx.execute(update(source).where(source.c.id == row["source_id"]).values(error=error))
