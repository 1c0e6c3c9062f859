"""Match: the papers of one run against every subscription of a shard. Each match is stored with its reason."""

import gc
import os
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.domain.papers import display_text
from services.domain.papers.paper import upvote_step
from services.domain.query.parser import Query
from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, Matcher
from services.errors import LeaseLost, QueryError
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import sentence_vectors
from services.store.papers import merging
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import match_runs, matches, quarantine, subscriptions
from services.store.subscriptions.records import MatchJob, NewMatch, SubscriptionChange
from services.telemetry import fault_point, log

LEASE = timedelta(minutes=5)
BATCH_SIZE = 64
"""Papers matched between two writes."""
WRITERS = 2
"""Threads that store matches. A write takes as long as matching a batch; half of it is waiting for the GIL."""
GC_THRESHOLD = 50_000
"""Net allocations between two collections of the youngest generation, once many subscriptions are loaded."""


# ── subscriptions in memory ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LoadedSubscription:
    compiled: CompiledSubscription
    account_id: int
    revision: int
    relevant_events: frozenset[str]
    """Kinds of events, beside `new`, that can turn a non-match into a match."""


@dataclass(slots=True)
class Shard:
    """The subscriptions of one shard in memory, as of a revision."""

    number: int
    revision: int = 0
    matchers: dict[str, Matcher] = field(default_factory=dict)
    """By embedding model. Subscriptions without an interest are under the empty name."""
    loaded: dict[int, LoadedSubscription] = field(default_factory=dict)
    heartbeat: Callable[[], None] = lambda: None
    """Called during long work: loading a million subscriptions takes longer than a worker may be silent."""

    def refresh(self, tx: Connection) -> None:
        """Reads what was saved or deleted since the last refresh."""
        count = 0
        for count, change in enumerate(subscriptions.changed_since(tx, self.number, self.revision), start=1):
            if count % subscriptions.FETCH_SIZE == 1:
                self.heartbeat()
            self._apply(tx, change)
            self.revision = change.revision
        if count >= subscriptions.FETCH_SIZE:
            _freeze_garbage_collector()
        for matcher in self.matchers.values():
            matcher.prepare()

    def _apply(self, tx: Connection, change: SubscriptionChange) -> None:
        for matcher in self.matchers.values():
            matcher.remove(change.id)
        self.loaded.pop(change.id, None)
        if change.deleted_at is not None:
            return
        try:
            compiled = compile_subscription(change)
        except QueryError as error:
            log.warning("query no longer compiles", subscription=change.id)
            subscriptions.set_error(tx, change.id, f"this query no longer compiles, please change it: {error}")
            return
        if compiled is None:
            return
        model = change.model if compiled.weights is not None else ""
        self.matchers.setdefault(model, Matcher(threads=os.cpu_count() or 1)).put(compiled)
        depends_on_place = bool(change.sources) or "source:" in change.query or "cat:" in change.query
        events = _relevant_events(depends_on_place, change.min_upvotes > 0, bool(change.volume))
        self.loaded[change.id] = LoadedSubscription(compiled, change.account_id, change.revision, events)


@cache  # Subscriptions share the sets.
def _relevant_events(depends_on_place: bool, depends_on_upvotes: bool, has_interest: bool) -> frozenset[str]:
    place = {"source", "category"} if depends_on_place else set()
    upvotes = {"upvotes"} if depends_on_upvotes or has_interest else set()
    return frozenset(place | upvotes | ({"vector"} if has_interest else set()))


def _freeze_garbage_collector() -> None:
    """Loaded subscriptions live as long as the process, and batches create no reference cycles.

    The garbage collector would only cost time: 20 % of a burst.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


# ── one job ───────────────────────────────────────────────────────────────────────────────────────────────────


def work(db: Database, settings: Settings, shards: Sequence[Shard]) -> bool:
    """Matches one waiting job of these shards; False if no job waits."""
    lease, by_number = LEASE * settings.time_scale, {shard.number: shard for shard in shards}
    with db.transaction() as tx:
        job = match_runs.claim_job(tx, list(by_number), db.now(), lease)
    if job is None:
        return False
    if job.attempts > match_runs.MAX_ATTEMPTS:
        _give_up(db, job)
        return True
    shard = by_number[job.shard]
    with db.transaction() as tx:
        shard.refresh(tx)
        events = _events(tx, job)
    try:
        if job.attempts <= match_runs.MAX_BATCH_ATTEMPTS:
            _match_in_batches(db, shard, job, events, lease)
        else:
            _match_one_by_one(db, shard, job, events, lease)
    except (LeaseLost, SQLAlchemyError):
        raise
    except Exception as error:  # Recorded for `paperwire why` and the quarantine. The attempt counts as a lost worker.
        with db.transaction() as tx:
            match_runs.record_error(tx, job, f"{type(error).__name__}: {error}"[:500])
        raise
    with db.transaction() as tx:
        match_runs.finish_job(tx, job, db.now())
    fault_point("matched")
    return True


def _events(tx: Connection, job: MatchJob) -> dict[int, set[str]]:
    """The kinds of events by paper, without quarantined papers."""
    events = match_runs.events_of(tx, job.run_id)
    quarantined = quarantine.filter_quarantined(tx, job.shard, events)
    return {paper_id: kinds for paper_id, kinds in events.items() if paper_id not in quarantined}


def _give_up(db: Database, job: MatchJob) -> None:
    """Quarantines all papers that are not matched yet, since the paper that ends workers was not found."""
    error = f"given up: run {job.run_id} ended {job.attempts - 1} workers{_last_error(job)}"
    log.error("a run's papers are quarantined", run=job.run_id, shard=job.shard)
    with db.transaction() as tx:
        unmatched = [paper_id for paper_id in _events(tx, job) if paper_id >= (job.suspect or 0)]
        quarantine.add(tx, job.shard, unmatched, error)
        match_runs.finish_job(tx, job, db.now(), error=error)


def _last_error(job: MatchJob) -> str:
    return f", the last by {job.error}" if job.error else ""


def _match_in_batches(
    db: Database, shard: Shard, job: MatchJob, events: Mapping[int, set[str]], lease: timedelta
) -> None:
    """Matches a batch while up to `WRITERS` batches before it are stored. Each write extends the lease."""
    paper_ids, writes = sorted(events), deque[Future[None]]()
    with ThreadPoolExecutor(WRITERS) as writers:
        for start in range(0, len(paper_ids), BATCH_SIZE):
            batch = {paper_id: events[paper_id] for paper_id in paper_ids[start : start + BATCH_SIZE]}
            matched = _match_papers(db, shard, job, batch)
            while len(writes) >= WRITERS:
                writes.popleft().result()
            writes.append(writers.submit(_store, db, matched, job, lease))
            shard.heartbeat()
        for write in writes:
            write.result()


def _match_one_by_one(db: Database, shard: Shard, job: MatchJob, events: dict[int, set[str]], lease: timedelta) -> None:
    """Records each paper as the suspect before it is matched, and quarantines a paper that ended two workers."""
    if job.suspect is not None and job.suspected >= match_runs.MAX_ISOLATED_ATTEMPTS:
        log.error("paper quarantined: it ends its workers", paper=job.suspect, run=job.run_id)
        error = f"{job.suspected} workers were lost while they matched it alone{_last_error(job)}"
        events.pop(job.suspect, None)
        with db.transaction() as tx:
            quarantine.add(tx, job.shard, [job.suspect], error)
            job = match_runs.clear_suspect(tx, job)
    # Papers before the suspect were matched in earlier attempts.
    for paper_id in sorted(paper_id for paper_id in events if paper_id >= (job.suspect or 0)):
        with db.transaction() as tx:
            job = match_runs.isolate(tx, job, paper_id, db.now() + lease)
        _store(db, _match_papers(db, shard, job, {paper_id: events[paper_id]}), job, lease)


def _store(db: Database, matched: Sequence[NewMatch], job: MatchJob, lease: timedelta) -> None:
    with db.transaction() as tx:
        matches.store(tx, matched)
        match_runs.extend_lease(tx, job, db.now(tx) + lease)


def _match_papers(db: Database, shard: Shard, job: MatchJob, events: Mapping[int, set[str]]) -> list[NewMatch]:
    """The matches of some papers with all subscriptions of the shard."""
    kinds = defaultdict[int, set[str]](set)
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        for paper_id, current_id in merging.current_ids(tx, events).items():
            kinds[current_id] |= events[paper_id]
        candidates = candidate_store.load(tx, kinds)
    fault_point("matching", *(candidate.paper.title for candidate in candidates))
    # A paper that was matched before its upvotes needs only the threshold of its step: a popular near miss.
    candidates = [
        replace(candidate, upvote_step=upvote_step(candidate.paper.upvotes))
        if "upvotes" in kinds[candidate.paper.id] and "new" not in kinds[candidate.paper.id]
        else candidate
        for candidate in candidates
    ]
    return [new for model in shard.matchers for new in _match_model(db, shard, model, job, candidates, kinds)]


def _match_model(
    db: Database,
    shard: Shard,
    model: str,
    job: MatchJob,
    candidates: Sequence[Candidate],
    kinds: Mapping[int, set[str]],
) -> list[NewMatch]:
    """The matches of the candidates with the subscriptions of one embedding model, with their reasons."""
    if model:
        with db.transaction() as tx:
            candidates = candidate_store.with_vectors(tx, candidates, model)
    hits = []
    for hit in shard.matchers[model].match(candidates):
        happened = kinds[hit.paper_id]
        if "new" in happened or not shard.loaded[hit.subscription_id].relevant_events.isdisjoint(happened):
            hits.append(hit)
    with db.transaction() as tx:
        sentence_vectors.request(tx, {hit.paper_id for hit in hits if hit.score is not None}, model)
        liked = candidate_store.liked_papers(tx, {hit.subscription_id for hit in hits if hit.score is not None}, model)
    by_id, matched = {candidate.paper.id: candidate for candidate in candidates}, []
    for paper_id, hits_of_paper in groupby(hits, attrgetter("paper_id")):
        candidate, query_reasons = by_id[paper_id], dict[Query, str]()
        for hit in hits_of_paper:
            subscription = shard.loaded[hit.subscription_id]
            liked_papers = liked.get(hit.subscription_id) if hit.score is not None else None
            liked_title = liked_papers.nearest_title(candidate) if liked_papers is not None else None
            nearest = display_text.title_text(liked_title) if liked_title else None
            reason = describe_match(subscription.compiled, candidate, hit.score, nearest, query_reasons)
            matched.append(
                NewMatch(
                    account_id=subscription.account_id,
                    subscription_id=hit.subscription_id,
                    paper_id=paper_id,
                    score=hit.score,
                    reason=reason,
                    revision=subscription.revision,
                    run_id=job.run_id,
                )
            )
    return matched
