"""The batch ledger: for each source and announcement what was announced, read and new, and which days are missing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.sources import batches as domain
from services.domain.sources.batches import Line
from services.domain.sources.polling import Timetable
from services.store.db import leases
from services.store.db.database import Row, first, pairs, rows
from services.store.db.tables import batch, paper_appearance, rate_limit, source

_KEY = (batch.c.source_id, batch.c.announced_on)
_ENTERED = (
    *("announced", "fetched", "new", "known", "updated", "skipped", "reading", "state", "note", "reads"),
    *("next_read_at", "next_url", "updated_at"),
)


def enter(tx: Connection, lines: Sequence[Line], now: datetime) -> None:
    """Enters pages of announcements, in their order."""
    batches = _locked(tx, {(line.source_id, line.day) for line in lines})
    of_days = _of_days(tx, batches)
    for line in lines:
        key = line.source_id, line.day
        batches[key] |= domain.entered(batches[key], line, of_days.get(key, 0), now)
    if batches:
        changed = [{f"new_{name}": row[name] for name in ("id", *_ENTERED)} for row in batches.values()]
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _ENTERED}
        tx.execute(update(batch).where(batch.c.id == bindparam("new_id")).values(values), changed)


def enter_failure(
    tx: Connection, source_id: int, day: date, note: str, timetable: Timetable, now: datetime, *, looked_back: bool
) -> None:
    """A listing that could not be fetched or read; what was read of its day before stays."""
    row = _locked(tx, [(source_id, day)])[source_id, day]
    if not looked_back and row["fetched"]:
        return  # The present list failed once more; the batch is as good as it was.
    state = "failed" if row["fetched"] == 0 else "partial"
    reads = row["reads"] + (1 if looked_back else 0)
    look = domain.next_read(state, timetable, day, now, counted=False, reads=reads) if timetable.states_days else None
    failed = {"state": state, "note": note, "next_url": "", "reads": reads, "next_read_at": look, "updated_at": now}
    tx.execute(update(batch).where(batch.c.id == row["id"]).values(failed))


def _locked(tx: Connection, keys: Collection[tuple[int, date]]) -> dict[tuple[int, date], Row]:
    """The batches of these sources and days, made where there are none."""
    if not keys:
        return {}
    values = [{"source_id": source_id, "announced_on": day} for source_id, day in sorted(keys)]
    tx.execute(upsert(batch).on_conflict_do_nothing(), values)
    query = select(batch).where(tuple_(*_KEY).in_(keys)).order_by(batch.c.id).with_for_update()
    return {(row["source_id"], row["announced_on"]): row for row in rows(tx, query)}


def _of_days(tx: Connection, keys: Collection[tuple[int, date]]) -> dict[tuple[int, date], int]:
    """How many papers each source had first for each day."""
    columns = paper_appearance.c.source_id, paper_appearance.c.announced_on
    query = select(*columns, func.count()).where(tuple_(*columns).in_(keys)).group_by(*columns)
    return {(row[0], row[1]): row[2] for row in tx.execute(query)} if keys else {}


def state_of(tx: Connection, source_id: int, day: date) -> str | None:
    """The state of a day's batch; None when it has none."""
    mine = and_(batch.c.source_id == source_id, batch.c.announced_on == day)
    return tx.scalars(select(batch.c.state).where(mine)).first()


# ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def note_gaps(tx: Connection, source_id: int, days: Iterable[date], now: datetime, *, loud_from: date) -> int:
    """Enters the days that have no batch as missing, to be looked at now; before `loud_from` they are read silently."""
    values = [
        {"source_id": source_id, "announced_on": day, "next_read_at": now, "silent": day < loud_from} for day in days
    ]
    if not values:
        return 0
    statement = upsert(batch).on_conflict_do_nothing().returning(batch.c.id)
    return len(tx.scalars(statement, values).all())


def gaps_due(now: datetime) -> Any:
    """Batches to be looked at again while their source is polled and its gate is free."""
    open_gate = exists().where(
        source.c.id == batch.c.source_id,
        source.c.polled,
        rate_limit.c.key == source.c.rate_limit_key,
        or_(rate_limit.c.available_at.is_(None), rate_limit.c.available_at <= now),
        leases.free(rate_limit, now),
    )
    return and_(batch.c.next_read_at <= now, leases.free(batch, now), open_gate)


def claim_gap(tx: Connection, now: datetime, lease: timedelta) -> tuple[Row, Row] | None:
    """A batch to be looked at, the newest day first, with its source; its gate is held under the same token."""
    row = leases.claim(tx, batch, gaps_due(now), order=batch.c.announced_on.desc(), until=now + lease)
    if row is None:
        return None
    where = rows(tx, select(source).where(source.c.id == row["source_id"]))[0]
    taken = and_(rate_limit.c.key == where["rate_limit_key"], leases.free(rate_limit, now))
    held = {"lease_token": row["lease_token"], "lease_until": row["lease_until"]}
    if tx.execute(update(rate_limit).where(taken).values(held)).rowcount == 0:
        leases.release(tx, batch, row)
        return None
    return row, where


def finish_read(tx: Connection, row: Row, where: Row, now: datetime, **values: Any) -> None:
    """Frees the batch, and the gate after its pause."""
    leases.release(tx, batch, row, **values)
    mine = and_(rate_limit.c.key == where["rate_limit_key"], rate_limit.c.lease_token == row["lease_token"])
    freed = {"lease_token": None, "lease_until": None, "available_at": now + (where["rate_limit_pause"] or timedelta())}
    tx.execute(update(rate_limit).where(mine).values(freed))


# ── what people see ───────────────────────────────────────────────────────────────────────────────────────────


def of_source(tx: Connection, source_id: int, limit: int = 60) -> list[Row]:
    """The newest announcements of a source."""
    query = select(batch).where(batch.c.source_id == source_id).order_by(batch.c.announced_on.desc()).limit(limit)
    return rows(tx, query)


def of_papers(tx: Connection, wanted: Mapping[int, Collection[int]], limit: int = 6) -> dict[int, list[Row]]:
    """For each key the batches that its papers were announced in: `kind`, `location` and `mine`, how many of them."""
    same = and_(
        batch.c.source_id == paper_appearance.c.source_id, batch.c.announced_on == paper_appearance.c.announced_on
    )
    mine = pairs("key", "paper_id", ((key, one) for key, ids in wanted.items() for one in ids))
    query = (
        select(mine.c.key, batch, source.c.kind, source.c.location, func.count().label("mine"))
        .select_from(mine)
        .join(paper_appearance, paper_appearance.c.paper_id == mine.c.paper_id)
        .join(batch, same)
        .join(source, source.c.id == batch.c.source_id)
        .group_by(mine.c.key, batch.c.id, source.c.kind, source.c.location)
        .order_by(batch.c.announced_on.desc(), func.count().desc())
    )
    found: dict[int, list[Row]] = {key: [] for key in wanted}
    for row in rows(tx, query):
        found[row.pop("key")].append(row)
    return {key: of_key[:limit] for key, of_key in found.items()}


def one(tx: Connection, source_id: int, day: date) -> Row | None:
    mine = and_(batch.c.source_id == source_id, batch.c.announced_on == day)
    return first(tx, select(batch).where(mine))
