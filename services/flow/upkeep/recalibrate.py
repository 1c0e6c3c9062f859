"""Recalibrate: interests that wait for the embedder are compiled, and thresholds are calibrated once a day."""

from datetime import timedelta

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.calibration import CompiledInterest, Delivered
from services.domain.interests.learning import Interest
from services.domain.subscriptions.criteria import compile_subscription
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import Matcher
from services.errors import EmbedderError, NotFound, QueryError
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.store.db.database import Database, wake
from services.store.interests import embedder_health, sentence_vectors, thresholds, training_set
from services.store.papers import appearances, vectors
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import matches, subscriptions
from services.store.subscriptions.records import NewMatch, Subscription
from services.telemetry import log

BATCH_SIZE = 20
"""Subscriptions calibrated in one call."""
DELIVERED_WINDOW = timedelta(days=28)
"""A calibration corrects for what the subscription matched within this time."""


def compile_waiting(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Compiles one interest that is not compiled with this embedder's model, and matches the papers it has missed.

    False if no interest waits, or if the embedder fails.
    """
    now = db.now()
    with db.transaction() as tx:
        subscription_id = thresholds.waiting_for_embedder(tx, embedder.name)
        if subscription_id is None or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        row = subscriptions.find(tx, subscription_id)
        draft = subscriptions.draft_of(tx, row)
    compiled = compile_interest.compile(db, embedder, draft)
    with db.transaction() as tx:
        if compiled.failed is not None:
            embedder_health.record_failure(tx, embedder.name, compiled.failed, now, scale)
            return False
        embedder_health.record_success(tx, embedder.name)
        thresholds.set_threshold(tx, row.id, row.shard, row.revision, compiled)
        earlier_model = row.model if row.weights is not None else ""
        _match_missed_papers(tx, embedder, subscription_id, earlier_model)
    return True


def recalibrate_due(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Calibrates some thresholds that are older than a day; False if there are none, or if the embedder fails.

    An interest that was compiled while the archive was too young is compiled again once it can be learned.
    """
    now = db.now()
    with db.transaction() as tx:
        due = thresholds.to_calibrate(tx, embedder.name, now, BATCH_SIZE)
        if not due or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        can_be_learned = training_set.can_be_learned_on(tx, embedder.name)
    try:
        compile_interest.load_model_facts(embedder)
    except EmbedderError as error:
        with db.transaction() as tx:
            embedder_health.record_failure(tx, embedder.name, error, now, scale)
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
    is_unlearned = row.examples_changed or (can_be_learned and not row.terms)
    compiled = compile_interest.compile(db, embedder, draft) if is_unlearned else CompiledInterest()
    with db.transaction() as tx:
        if not is_unlearned or compiled.error:
            compiled = _calibrated(tx, db, embedder, row, draft)
        thresholds.set_threshold(tx, row.id, row.shard, row.revision, compiled)


def _postpone(db: Database, subscription_id: int, error: str = "") -> None:
    """Keeps the threshold for another day, so that the subscription does not block the others in the queue."""
    with db.transaction() as tx:
        thresholds.set_calibrated(tx, subscription_id)
        if error:
            subscriptions.set_error(tx, subscription_id, error)


def _calibrated(tx: Connection, db: Database, embedder: Embedder, row: Subscription, draft: Draft) -> CompiledInterest:
    interest = Interest(np.asarray(row.weights, np.float32), row.terms)
    now = db.now()
    since = max(now - DELIVERED_WINDOW, row.created_at)
    delivered = Delivered(thresholds.matches_since(tx, row.id, since), (now - since) / timedelta(days=1))
    calibration = compile_interest.calibrate(tx, embedder, interest, draft, delivered)
    return CompiledInterest(
        threshold=calibration.thresholds[0],
        relaxed_thresholds=calibration.thresholds[1:],
        estimated=calibration.estimated,
    )


def _match_missed_papers(tx: Connection, embedder: Embedder, subscription_id: int, earlier_model: str) -> None:
    """Matches a subscription against the papers announced since it was saved.

    Papers with a vector of `earlier_model` are left out: that model has already matched them.
    """
    row = subscriptions.find(tx, subscription_id)
    compiled = compile_subscription(row)
    if compiled is None or row.model != embedder.name:
        return
    matcher = Matcher()
    matcher.put(compiled)
    missed = set(appearances.announced_since(tx, row.watched_since))
    missed -= vectors.load(tx, missed, earlier_model).keys() if earlier_model else set()
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
