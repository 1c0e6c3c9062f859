"""Match: a run's papers against every subscription of a shard, each match with what decided it."""

import gc
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.domain.papers.paper import upvote_step
from services.domain.query.parser import Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, Match, Matcher
from services.errors import LeaseLost, QueryError
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.interests import sentence_vectors
from services.store.papers import merging
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import match_runs, matches, quarantine, subscriptions
from services.telemetry import fault_point, log

LEASE = timedelta(minutes=5)
BATCH = 64
"""Papers matched between two writes."""
WRITERS = 2
"""The database takes as long for a batch as matching does, half of it in waiting for us."""
GC_THRESHOLD = 50_000
"""Between two looks for garbage, in a process that holds many subscriptions."""


def _nothing() -> None:
    pass


class LoadedSubscription(NamedTuple):
    """What matching needs of a subscription's row."""

    standing: CompiledSubscription
    account: int
    revision: int
    moved_by: frozenset[str]
    """Kinds of events that can change its answer; a new paper concerns everybody."""


@dataclass(slots=True)
class Shard:
    """One shard's subscriptions in memory, as of a revision."""

    number: int
    revision: int = 0
    matchers: dict[str, Matcher] = field(default_factory=dict)
    """By the model of the interests in it; queries alone stand under no model."""
    held: dict[int, LoadedSubscription] = field(default_factory=dict)
    alive: Callable[[], None] = _nothing
    """Called while reading and matching go on: a million subscriptions take longer than a worker may be silent."""

    def refresh(self, tx: Connection) -> None:
        """Reads what was saved or deleted since; afterwards everything saved before this transaction is seen."""
        number = 0
        for number, row in enumerate(subscriptions.since(tx, self.number, self.revision)):
            if number % subscriptions.AT_ONCE == 0:
                self.alive()
            self._take(tx, row)
            self.revision = row["revision"]
        if number + 1 >= subscriptions.AT_ONCE:
            _freeze_garbage_collector()
        for matcher in self.matchers.values():
            matcher.prepare()

    def _take(self, tx: Connection, row: Row) -> None:
        for matcher in self.matchers.values():
            matcher.remove(row["id"])
        self.held.pop(row["id"], None)
        if row["deleted_at"] is not None:
            return
        try:
            compiled = candidate_store.compiled(row)
        except QueryError as error:
            log.warning("query no longer compiles", subscription=row["id"])
            subscriptions.note_error(tx, row["id"], f"this query no longer compiles, please change it: {error}")
            return
        if compiled is not None:
            model = row["model"] if compiled.weights is not None else ""
            self.matchers.setdefault(model, Matcher(threads=os.cpu_count() or 1)).put(compiled)
            self.held[row["id"]] = LoadedSubscription(compiled, row["account_id"], row["revision"], _moved_by(row))


def _freeze_garbage_collector() -> None:
    """What a shard holds stays, and a batch is words and matches by the hundred thousand, none of them in a circle.

    The collector would look through all of these again and again, a fifth of a burst.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def work(db: Database, settings: Settings, shards: Sequence[Shard]) -> bool:
    """Works off one job of these shards; False when none waits."""
    by_number = {shard.number: shard for shard in shards}
    with db.transaction() as tx:
        job = match_runs.claim_job(tx, list(by_number), db.now(), LEASE * settings.time_scale)
    if job is None:
        return False
    if job["attempts"] > match_runs.MAX_ATTEMPTS:
        _give_up(db, job)
        return True
    shard = by_number[job["shard"]]
    with db.transaction() as tx:
        shard.refresh(tx)
        events = _events(tx, job)
    try:
        if job["attempts"] <= match_runs.TOGETHER:
            _together(db, shard, job, events, LEASE * settings.time_scale)
        else:
            _one_by_one(db, shard, job, events, LEASE * settings.time_scale)
    except (LeaseLost, SQLAlchemyError):
        raise
    except Exception as error:  # A fault of ours: noted for whoever asks, and as good as a lost worker.
        with db.transaction() as tx:
            match_runs.note_fault(tx, job, f"{type(error).__name__}: {error}"[:500])
        raise
    with db.transaction() as tx:
        match_runs.finish_job(tx, job, db.now())
    fault_point("matched")
    return True


def _events(tx: Connection, job: Row) -> dict[int, set[str]]:
    """What happened to the job's papers, without those that are set aside."""
    events = match_runs.events_of(tx, job["run_id"])
    aside = quarantine.among(tx, job["shard"], events)
    return {paper: what for paper, what in events.items() if paper not in aside}


def _give_up(db: Database, job: Row) -> None:
    """No paper could be told from the others, so all that were not matched wait for a person."""
    error = f"given up: run {job['run_id']} ended {job['attempts'] - 1} workers{_fault(job)}"
    log.error("a run's papers are set aside", run=job["run_id"], shard=job["shard"])
    with db.transaction() as tx:
        left = [paper for paper in _events(tx, job) if paper >= (job["suspect"] or 0)]
        quarantine.add(tx, job["shard"], left, error)
        match_runs.finish_job(tx, job, db.now(), error=error)


def _fault(job: Row) -> str:
    return f", the last by {job['error']}" if job["error"] else ""


def _together(db: Database, shard: Shard, job: Row, events: dict[int, set[str]], lease: timedelta) -> None:
    """Batch by batch; the database takes in two while the next is matched. Each keeps the lease for the next."""
    ids, writing = sorted(events), deque[Future[None]]()
    with ThreadPoolExecutor(WRITERS) as writers:
        for start in range(0, len(ids), BATCH):
            found = _match(db, shard, job, {paper: events[paper] for paper in ids[start : start + BATCH]})
            while len(writing) >= WRITERS:
                writing.popleft().result()
            writing.append(writers.submit(_store, db, found, job, lease))
            shard.alive()
        for one in writing:
            one.result()


def _one_by_one(db: Database, shard: Shard, job: Row, events: dict[int, set[str]], lease: timedelta) -> None:
    """After two lost workers each paper is noted before it is matched: one that ends two more is left out alone."""
    if job["suspected"] >= match_runs.MAX_SUSPECTED:
        log.error("paper set aside: it ends its workers", paper=job["suspect"], run=job["run_id"])
        with db.transaction() as tx:
            error = f"{job['suspected']} workers were lost while they matched it alone{_fault(job)}"
            quarantine.add(tx, job["shard"], [job["suspect"]], error)
            match_runs.clear(tx, job)
        events.pop(job["suspect"], None)
    for paper in sorted(events):
        if paper >= (job["suspect"] or 0):
            with db.transaction() as tx:
                match_runs.suspect(tx, job, paper, db.now() + lease)
            _store(db, _match(db, shard, job, {paper: events[paper]}), job, lease)


def _store(db: Database, found: Sequence[Row], job: Row, lease: timedelta) -> None:
    with db.transaction() as tx:
        matches.store(tx, found)
        match_runs.keep_job(tx, job, db.now(tx) + lease)


def _match(db: Database, shard: Shard, job: Row, events: dict[int, set[str]]) -> list[Row]:
    """The rows of all matches of some papers."""
    what: dict[int, set[str]] = {}
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        for old, now in merging.current_ids(tx, events).items():
            what.setdefault(now, set()).update(events[old])
        loaded = candidate_store.candidates(tx, what)
    fault_point("matching", *(one.paper.title for one in loaded))
    candidates = [replace(one, step=_step(one, what[one.paper.id])) for one in loaded]
    return [row for model in shard.matchers for row in _matched(db, shard, model, job, candidates, what)]


def _matched(
    db: Database, shard: Shard, model: str, job: Row, candidates: Sequence[Candidate], what: Mapping[int, set[str]]
) -> list[Row]:
    """The rows of what matches among the subscriptions of one model."""
    if model:
        with db.transaction() as tx:
            candidates = candidate_store.with_vectors(tx, candidates, model)
    hits = shard.matchers[model].match(candidates)
    found = [one for one in hits if _concerns(shard.held[one.subscription], what[one.paper])]
    with db.transaction() as tx:
        sentence_vectors.request(tx, {one.paper for one in found if one.score is not None}, model)
        liked = candidate_store.likes(tx, {one.subscription for one in found if one.score is not None}, model)
    by_id = {one.paper.id: one for one in candidates}
    return list(_rows(shard, found, by_id, liked, job["run_id"]))


def _rows(
    shard: Shard,
    found: Sequence[Match],
    papers: Mapping[int, Candidate],
    liked: Mapping[int, candidate_store.Likes],
    run: int,
) -> Iterator[Row]:
    for id, together in groupby(found, attrgetter("paper")):
        candidate, said = papers[id], dict[Query, str]()
        for one in together:
            held = shard.held[one.subscription]
            likes = liked.get(one.subscription) if one.score is not None else None
            nearest = likes.nearest(candidate) if likes is not None else None
            yield {
                "account_id": held.account,
                "subscription_id": one.subscription,
                "paper_id": id,
                "run_id": run,
                "score": one.score,
                "decided": {"why": candidate_store.why(held.standing, candidate, one.score, nearest, said)},
                "revision": held.revision,
            }


def _step(one: Candidate, what: set[str]) -> int:
    """Of upvotes, where the paper has been matched without them: then a near miss comes late."""
    return upvote_step(one.paper.upvotes) if "upvotes" in what and "new" not in what else 0


def _concerns(held: LoadedSubscription, what: set[str]) -> bool:
    return "new" in what or not held.moved_by.isdisjoint(what)


@cache
def _kinds(place: bool, upvotes: bool, interest: bool) -> frozenset[str]:
    """Of events; one set for all subscriptions of a kind."""
    asked = {"source": place, "category": place, "upvotes": upvotes or interest, "vector": interest}
    return frozenset(kind for kind, counts in asked.items() if counts)


def _moved_by(row: Row) -> frozenset[str]:
    place = bool(row["sources"]) or any(name in row["query"] for name in ("source:", "cat:"))
    return _kinds(place, row["min_upvotes"] > 0, bool(row["volume"]))
