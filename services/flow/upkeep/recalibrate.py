"""Recalibrate: interests that wait for the embedder are compiled, and thresholds are calibrated once a day."""

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.learning import Interest
from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import Matcher
from services.errors import EmbedderError, NotFound, QueryError
from services.ports import Embedder
from services.store.db.database import Database, wake
from services.store.interests import embedder_health, sentence_vectors, thresholds, training_set
from services.store.papers import papers
from services.store.sources import sources
from services.store.subscriptions import calibration_queue, matches, subscriptions
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions.records import NewMatch, Subscription
from services.telemetry import log

BATCH_SIZE = 20
"""Subscriptions calibrated in one call."""


def compile_waiting(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Compiles one interest that is not compiled with this embedder's model, and matches the papers it has missed.

    False if no interest waits, or if the embedder fails.
    """
    now = db.now()
    with db.transaction() as tx:
        subscription_id = calibration_queue.next_to_compile(tx, embedder.name)
        if subscription_id is None or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        row = subscriptions.find(tx, subscription_id)
        draft = subscriptions.draft_of(tx, row)
    compiled = thresholds.compile(db, embedder, draft)
    with db.transaction() as tx:
        if compiled.failed is not None:
            embedder_health.failed(tx, embedder.name, compiled.failed, now, scale)
            return False
        embedder_health.answered(tx, embedder.name)
        calibration_queue.set_threshold(tx, row, compiled)
        earlier_model = row.model if row.weights is not None else ""
        _match_missed_papers(tx, embedder, subscription_id, earlier_model)
    return True


def recalibrate_due(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Calibrates some thresholds that are older than a day; False if there are none, or if the embedder fails.

    An interest that was compiled while the archive was too young is compiled again once it can be learned.
    """
    now = db.now()
    with db.transaction() as tx:
        due = calibration_queue.next_to_calibrate(tx, embedder.name, now, BATCH_SIZE)
        if not due or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        can_be_learned = training_set.can_be_learned_on(tx, embedder.name)
    try:
        thresholds.awake(embedder)
    except EmbedderError as error:
        with db.transaction() as tx:
            embedder_health.failed(tx, embedder.name, error, now, scale)
        return False
    for subscription_id in due:
        try:
            _recalibrate(db, embedder, subscription_id, can_be_learned)
        except NotFound:
            log.info("subscription or example deleted meanwhile", subscription=subscription_id)
            _postpone(db, subscription_id)
        except QueryError as error:
            log.warning("query no longer compiles", subscription=subscription_id)
            _postpone(db, subscription_id, f"this query no longer compiles, please change it: {error}")
    return True


def _recalibrate(db: Database, embedder: Embedder, subscription_id: int, can_be_learned: bool) -> None:
    with db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id)
        draft = subscriptions.draft_of(tx, row)
    is_unlearned = can_be_learned and not row.terms
    compiled = thresholds.compile(db, embedder, draft) if is_unlearned else thresholds.Compiled()
    with db.transaction() as tx:
        if not is_unlearned or compiled.error:
            compiled = _calibrated(tx, db, embedder, row, draft)
        calibration_queue.set_threshold(tx, row, compiled)


def _postpone(db: Database, subscription_id: int, error: str = "") -> None:
    """Keeps the threshold for another day, so that the subscription does not block the others in the queue."""
    with db.transaction() as tx:
        calibration_queue.postpone(tx, subscription_id)
        if error:
            subscriptions.set_error(tx, subscription_id, error)


def _calibrated(
    tx: Connection, db: Database, embedder: Embedder, row: Subscription, draft: Draft
) -> thresholds.Compiled:
    interest = Interest(np.asarray(row.weights, np.float32), row.terms)
    delivered = thresholds.delivered(tx, row.id, row.created_at, db.now())
    calibrated = thresholds.calibrate(tx, embedder, interest, draft, delivered)
    return thresholds.Compiled(
        threshold=calibrated.thresholds[0],
        relaxed_thresholds=calibrated.thresholds[1:],
        estimated=calibrated.estimated,
    )


def _match_missed_papers(tx: Connection, embedder: Embedder, subscription_id: int, earlier_model: str) -> None:
    """Matches a subscription against the papers announced since it was saved.

    Papers with a vector of `earlier_model` are left out: they were judged with it, and are not sent again.
    """
    row = subscriptions.find(tx, subscription_id)
    compiled = compile_subscription(row)
    if compiled is None or row.model != embedder.name:
        return
    matcher = Matcher()
    matcher.put(compiled)
    missed = set(sources.heard_since(tx, row.watched_since))
    missed -= papers.vectors(tx, missed, earlier_model).keys() if earlier_model else set()
    candidates = {candidate.paper.id: candidate for candidate in candidate_store.load(tx, missed, embedder.name)}
    hits = matcher.match(list(candidates.values()))
    sentence_vectors.request(tx, {hit.paper_id for hit in hits if hit.score is not None}, embedder.name)
    matched = [
        NewMatch(
            account_id=row.account_id,
            subscription_id=subscription_id,
            paper_id=hit.paper_id,
            score=hit.score,
            reason=describe_match(compiled, candidates[hit.paper_id], hit.score),
            revision=row.revision,
        )
        for hit in hits
    ]
    matches.store(tx, matched)
    wake(tx, "notify")
