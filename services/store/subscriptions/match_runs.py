"""Runs of events: what one ingestion changed, to be embedded and then matched once in every shard."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CompoundSelect,
    Connection,
    Text,
    and_,
    cast,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db import leases
from services.store.db.database import Row
from services.store.db.tables import event, match_job, paper_vector, run, shard

MAX_ATTEMPTS = 5
TOGETHER = 2
"""Attempts at papers together; each worker lost beyond them makes the paper it had in hand suspect."""
MAX_SUSPECTED = 2


def open_run(tx: Connection, events: Iterable[tuple[int, str]]) -> int:
    """A run of `(paper, what)` events, waiting to be embedded."""
    run_id = int(tx.scalars(insert(run).returning(run.c.id)).one())
    ids, whats = zip(*events, strict=True)
    pairs = func.unnest(cast(list(ids), ARRAY(BigInteger)), cast(list(whats), ARRAY(Text)))
    rows = pairs.table_valued("paper_id", "what").render_derived()
    query = select(literal(run_id), rows.c.paper_id, rows.c.what)
    tx.execute(insert(event).from_select(["run_id", "paper_id", "what"], query))
    return run_id


def events_of(tx: Connection, run_id: int) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in tx.execute(select(event).where(event.c.run_id == run_id)):
        found.setdefault(row.paper_id, set()).add(row.what)
    return found


# ── embedding ─────────────────────────────────────────────────────────────────────────────────────────────────


def unembedded(now: datetime) -> Any:
    return and_(run.c.embedded_at.is_(None), leases.free(run, now))


def claim_unembedded(tx: Connection, now: datetime, lease: timedelta) -> Row | None:
    return leases.claim(tx, run, unembedded(now), order=run.c.id, until=now + lease, attempts=run.c.attempts + 1)


def lacking(tx: Connection, run_id: int, model: str, limit: int) -> list[int]:
    """The run's papers that this model has not embedded yet."""
    has = exists().where(paper_vector.c.paper_id == event.c.paper_id, paper_vector.c.model == model)
    return list(tx.scalars(select(event.c.paper_id).where(event.c.run_id == run_id, ~has).distinct().limit(limit)))


def finish_embedding(tx: Connection, row: Row, now: datetime) -> None:
    """Hands the run to every shard."""
    leases.release(tx, run, row, embedded_at=now)
    tx.execute(
        upsert(match_job)
        .from_select(["run_id", "shard"], select(literal(row["id"]), shard.c.id))
        .on_conflict_do_nothing()
    )


def put_back(tx: Connection, row: Row) -> None:
    """More of the run is to be embedded; this part went well."""
    leases.release(tx, run, row, attempts=0)


def late(tx: Connection, ids: Sequence[int], model: str) -> list[int]:
    """Those of the papers whose words have been handed to matching already, without a vector of any other model.

    Another model's interests have seen the paper: it is no news when the archive is embedded anew.
    """
    seen = exists().where(paper_vector.c.paper_id == event.c.paper_id, paper_vector.c.model != model)
    query = select(event.c.paper_id).join(run, run.c.id == event.c.run_id).where(event.c.paper_id.in_(ids), ~seen)
    return list(tx.scalars(query.where(run.c.embedded_at.is_not(None)).distinct()))


# ── matching ──────────────────────────────────────────────────────────────────────────────────────────────────


def unmatched(now: datetime, shards: Sequence[int] | None = None) -> Any:
    mine = match_job.c.shard.in_(shards) if shards is not None else true()
    return and_(match_job.c.done_at.is_(None), leases.free(match_job, now), mine)


def unfinished() -> CompoundSelect[tuple[int]]:
    """SQL: ids of the runs whose papers are still to be embedded or matched, by the indexes of what waits."""
    embedding = select(run.c.id).where(run.c.embedded_at.is_(None))
    return embedding.union_all(select(match_job.c.run_id).where(match_job.c.done_at.is_(None)))


def any_open(tx: Connection) -> bool:
    return bool(tx.scalars(select(unfinished().exists())).one())


def claim_job(tx: Connection, shards: Sequence[int], now: datetime, lease: timedelta) -> Row | None:
    return leases.claim(
        tx,
        match_job,
        unmatched(now, shards),
        order=match_job.c.run_id,
        until=now + lease,
        attempts=match_job.c.attempts + 1,
    )


def suspect(tx: Connection, row: Row, paper_id: int, until: datetime) -> None:
    """Notes which paper is now matched alone; having come to a further one counts as progress."""
    again = paper_id == row["suspect"]
    noted = {"suspect": paper_id, "suspected": row["suspected"] + 1 if again else 1}
    noted |= {} if again else {"attempts": TOGETHER + 1}
    leases.fenced(tx, match_job, row, lease_until=until, **noted)
    row.update(noted)


def note_fault(tx: Connection, row: Row, error: str) -> None:
    """Why an attempt ended, where that can be said; the lease stays, as after a lost worker."""
    leases.fenced(tx, match_job, row, error=error)


def keep_job(tx: Connection, row: Row, until: datetime) -> None:
    """Keeps the lease while the job makes progress. Raises LeaseLost."""
    leases.fenced(tx, match_job, row, lease_until=until)


def clear(tx: Connection, row: Row) -> None:
    """The suspect was set aside: the job goes on without it."""
    cleared = {"suspected": 0, "error": ""}
    leases.fenced(tx, match_job, row, **cleared)
    row.update(cleared)


def finish_job(tx: Connection, row: Row, now: datetime, error: str = "") -> None:
    """Ends a job; the run is matched when it was the last one."""
    tx.execute(select(run.c.id).where(run.c.id == row["run_id"]).with_for_update())
    leases.release(tx, match_job, row, done_at=now, error=error)
    waits = exists().where(match_job.c.run_id == row["run_id"], match_job.c.done_at.is_(None))
    tx.execute(
        update(run).where(run.c.id == row["run_id"], ~waits).values(matched_at=func.coalesce(run.c.matched_at, now))
    )
