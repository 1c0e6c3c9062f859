"""Match runs: the events of one ingestion, which are embedded together and then matched once in every shard."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
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
from services.store.db.tables import event, match_job, paper_vector, run, shard
from services.store.subscriptions.records import MatchJob, RunToEmbed

MAX_ATTEMPTS = 5
MAX_BATCH_ATTEMPTS = 2
"""Attempts at matching in batches. Further attempts match each paper alone, to find the one that ends workers."""
MAX_ISOLATED_ATTEMPTS = 2
"""Attempts at matching a suspected paper alone before it is quarantined."""


def open_run(tx: Connection, events: Iterable[tuple[int, str]]) -> int:
    """Stores a run of (paper id, kind of event), which waits to be embedded."""
    run_id = int(tx.scalars(insert(run).returning(run.c.id)).one())
    ids, kinds = zip(*events, strict=True)
    pairs = func.unnest(cast(list(ids), ARRAY(BigInteger)), cast(list(kinds), ARRAY(Text)))
    rows = pairs.table_valued("paper_id", "what").render_derived()
    query = select(literal(run_id), rows.c.paper_id, rows.c.what)
    tx.execute(insert(event).from_select(["run_id", "paper_id", "what"], query))
    return run_id


def events_of(tx: Connection, run_id: int) -> dict[int, set[str]]:
    """The kinds of events by paper id."""
    kinds = defaultdict[int, set[str]](set)
    for row in tx.execute(select(event).where(event.c.run_id == run_id)):
        kinds[row.paper_id].add(row.what)
    return dict(kinds)


# ── embedding ─────────────────────────────────────────────────────────────────────────────────────────────────


def is_unembedded(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a run waits to be embedded and no worker has its lease."""
    return and_(run.c.embedded_at.is_(None), leases.free(run, now))


def claim_unembedded(tx: Connection, now: datetime, lease: timedelta) -> RunToEmbed | None:
    due, attempts = is_unembedded(now), run.c.attempts + 1
    return leases.claim(tx, run, RunToEmbed, due, order=run.c.id, until=now + lease, attempts=attempts)


def papers_without_vector(tx: Connection, run_id: int, model: str, limit: int) -> list[int]:
    """Papers of the run that have no vector of this model."""
    has_vector = exists().where(paper_vector.c.paper_id == event.c.paper_id, paper_vector.c.model == model)
    query = select(event.c.paper_id).where(event.c.run_id == run_id, ~has_vector).distinct().limit(limit)
    return list(tx.scalars(query))


def finish_embedding(tx: Connection, claimed: RunToEmbed, now: datetime) -> None:
    """Adds a job in every shard. Raises LeaseLost."""
    leases.release(tx, run, claimed, embedded_at=now)
    jobs = select(literal(claimed.id), shard.c.id)
    tx.execute(upsert(match_job).from_select(["run_id", "shard"], jobs).on_conflict_do_nothing())


def release_unfinished(tx: Connection, claimed: RunToEmbed) -> None:
    """Ends the lease of a run of which more is to be embedded. Raises LeaseLost."""
    leases.release(tx, run, claimed, attempts=0)


def matched_without_vector(tx: Connection, ids: Sequence[int], model: str) -> list[int]:
    """The given papers that were handed to matching without a vector of any model but this one.

    A paper with a vector of another model is left out: interests have been matched against it, and embedding the
    archive with a new model announces nothing.
    """
    has_other = exists().where(paper_vector.c.paper_id == event.c.paper_id, paper_vector.c.model != model)
    query = (
        select(event.c.paper_id)
        .join(run, run.c.id == event.c.run_id)
        .where(event.c.paper_id.in_(ids), ~has_other, run.c.embedded_at.is_not(None))
        .distinct()
    )
    return list(tx.scalars(query))


# ── matching ──────────────────────────────────────────────────────────────────────────────────────────────────


def is_unmatched(now: datetime, shards: Sequence[int] | None = None) -> ColumnElement[bool]:
    """SQL: whether a job, of any or of these shards, waits and no worker has its lease."""
    in_shards = match_job.c.shard.in_(shards) if shards is not None else true()
    return and_(match_job.c.done_at.is_(None), leases.free(match_job, now), in_shards)


def unfinished_ids() -> CompoundSelect[tuple[int]]:
    """SQL: ids of the runs to be embedded or matched, by `ix_run_unembedded` and `ix_match_job_waiting`."""
    unembedded = select(run.c.id).where(run.c.embedded_at.is_(None))
    return unembedded.union_all(select(match_job.c.run_id).where(match_job.c.done_at.is_(None)))


def any_unfinished(tx: Connection) -> bool:
    return bool(tx.scalars(select(unfinished_ids().exists())).one())


def claim_job(tx: Connection, shards: Sequence[int], now: datetime, lease: timedelta) -> MatchJob | None:
    """Claims the oldest waiting job of these shards, and counts the attempt."""
    due, attempts = is_unmatched(now, shards), match_job.c.attempts + 1
    order = match_job.c.run_id
    return leases.claim(tx, match_job, MatchJob, due, order=order, until=now + lease, attempts=attempts)


def isolate(tx: Connection, job: MatchJob, paper_id: int, until: datetime) -> MatchJob:
    """Records that a paper is about to be matched alone, and extends the lease. Raises LeaseLost.

    Each new suspect is progress, so the number of attempts is set back to that of the first attempt at single papers.
    """
    changed: dict[str, Any] = {"suspect": paper_id, "suspected": 1, "attempts": MAX_BATCH_ATTEMPTS + 1}
    if paper_id == job.suspect:
        changed = {"suspected": job.suspected + 1}
    leases.fenced(tx, match_job, job, lease_until=until, **changed)
    return replace(job, **changed)


def clear_suspect(tx: Connection, job: MatchJob) -> MatchJob:
    """Records that the suspected paper was quarantined. Raises LeaseLost."""
    leases.fenced(tx, match_job, job, suspected=0, error="")
    return replace(job, suspected=0, error="")


def record_error(tx: Connection, job: MatchJob, error: str) -> None:
    """Records why an attempt failed. The lease stays, as after the loss of a worker. Raises LeaseLost."""
    leases.fenced(tx, match_job, job, error=error)


def extend_lease(tx: Connection, job: MatchJob, until: datetime) -> None:
    """Raises LeaseLost."""
    leases.fenced(tx, match_job, job, lease_until=until)


def finish_job(tx: Connection, job: MatchJob, now: datetime, error: str = "") -> None:
    """Ends a job. The run is matched when its last job ends. Raises LeaseLost."""
    # Without the lock on the run, two last jobs that end together would each see the other as unfinished.
    tx.execute(select(run.c.id).where(run.c.id == job.run_id).with_for_update())
    leases.release(tx, match_job, job, done_at=now, error=error)
    unfinished = exists().where(match_job.c.run_id == job.run_id, match_job.c.done_at.is_(None))
    matched_at = func.coalesce(run.c.matched_at, now)
    tx.execute(update(run).where(run.c.id == job.run_id, ~unfinished).values(matched_at=matched_at))
