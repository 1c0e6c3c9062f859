"""TODO: one line."""

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.learning import Interest
from services.domain.subscriptions import criteria, match_reason
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.matcher import Matcher
from services.errors import EmbedderError, NotFound, QueryError
from services.flow.upkeep.recalibrate import (
    BATCH_SIZE,
    _calibrated,
    _match_missed_papers,
    _postpone,
    _recalibrate,
    compile_waiting,
    recalibrate_due,
)
from services.ports import Embedder
from services.store.db.database import Database, Row, wake
from services.store.interests import embedder_health, sentence_vectors, thresholds, training_set
from services.store.papers import papers
from services.store.sources import sources
from services.store.subscriptions import calibration_queue, matches, subscriptions
from services.store.subscriptions import candidates as candidate_store
from services.telemetry import log

BATCH_SIZE = 20
"""Subscriptions calibrated between two looks at the clock."""


def compile_waiting(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Compiles one interest that waited for the embedder, or was compiled with the one before; False when none can be.

    It is run over the papers that it has missed.
    """
    now = db.now()
    with db.transaction() as tx:
        waiting = calibration_queue.next_to_compile(tx, embedder.name)
        if waiting is None or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        row = subscriptions.find(tx, waiting)
        draft = draft_of(row, *subscriptions.examples_of(tx, waiting))
    compiled = thresholds.compile(db, embedder, draft)
    with db.transaction() as tx:
        if compiled.failed is not None:
            embedder_health.failed(tx, embedder.name, compiled.failed, now, scale)
            return False
        embedder_health.answered(tx, embedder.name)
        calibration_queue.set_threshold(tx, row, compiled)
        _match_missed_papers(tx, embedder, waiting, before=row["model"] if row["weights"] is not None else "")
    return True


def recalibrate_due(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Calibrates some of the thresholds that are older than a day; False when there are none.

    An interest that was compiled when the archive was young is compiled anew as soon as there is something to learn on.
    """
    now = db.now()
    with db.transaction() as tx:
        due = calibration_queue.next_to_calibrate(tx, embedder.name, now, BATCH_SIZE)
        if not due or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        learnable = training_set.can_be_learned_on(tx, embedder.name)
    try:
        thresholds.awake(embedder)
    except EmbedderError as error:
        with db.transaction() as tx:
            embedder_health.failed(tx, embedder.name, error, now, scale)
        return False
    for one in due:
        try:
            _recalibrate(db, embedder, one, learnable)
        except NotFound:
            log.info("subscription or example deleted meanwhile", subscription=one)
            _postpone(db, one)
        except QueryError as error:
            log.warning("query no longer compiles", subscription=one)
            _postpone(db, one, f"this query no longer compiles, please change it: {error}")
    return True


def _recalibrate(db: Database, embedder: Embedder, one: int, learnable: bool) -> None:
    with db.transaction() as tx:
        row = subscriptions.find(tx, one)
        draft = draft_of(row, *subscriptions.examples_of(tx, one))
    young = learnable and not row["terms"]
    compiled = thresholds.compile(db, embedder, draft) if young else thresholds.Compiled()
    with db.transaction() as tx:
        if not young or compiled.error:
            compiled = _calibrated(tx, db, embedder, row, draft)
        calibration_queue.set_threshold(tx, row, compiled)


def _postpone(db: Database, one: int, error: str = "") -> None:
    """Leaves the threshold as it is for a day, so that the others have their turn."""
    with db.transaction() as tx:
        calibration_queue.postpone(tx, one)
        if error:
            subscriptions.set_error(tx, one, error)


def _calibrated(tx: Connection, db: Database, embedder: Embedder, row: Row, draft: Draft) -> thresholds.Compiled:
    interest = Interest(np.asarray(row["weights"], np.float32), row["terms"])
    lately = thresholds.delivered(tx, row, db.now())
    found = thresholds.calibrate(tx, embedder, interest, draft, lately)
    return thresholds.Compiled(
        threshold=found.thresholds[0], relaxed_thresholds=found.thresholds[1:], estimated=found.estimated
    )


def _match_missed_papers(tx: Connection, embedder: Embedder, subscription_id: int, before: str) -> None:
    """Matches a subscription against what was announced since it was saved, but for what it has seen with the model
    that it had before: the new one's judgement of that is no news."""
    row = subscriptions.find(tx, subscription_id)
    asked = criteria.compile_subscription(row)
    if asked is None or row["model"] != embedder.name:
        return
    matcher = Matcher()
    matcher.put(asked)
    missed = set(sources.heard_since(tx, row["watched_since"]))
    missed -= papers.vectors(tx, missed, before).keys() if before else set()
    candidates = {one.paper.id: one for one in candidate_store.load(tx, missed, embedder.name)}
    hits = matcher.match(list(candidates.values()))
    sentence_vectors.request(tx, {one.paper for one in hits if one.score is not None}, embedder.name)
    found = [
        {
            "account_id": row["account_id"],
            "subscription_id": subscription_id,
            "paper_id": match.paper,
            "score": match.score,
            "decided": {"why": match_reason.describe_match(asked, candidates[match.paper], match.score)},
            "revision": row["revision"],
        }
        for match in hits
    ]
    matches.store(tx, found)
    wake(tx, "notify")
