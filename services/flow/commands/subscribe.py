"""Subscribe: a draft is checked, its interest compiled, and both saved so that the next paper is matched against it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from services import plugins
from services.domain.interests.calibration import CompiledInterest, Delivered
from services.domain.interests.learning import Interest
from services.domain.subscriptions.draft import Draft, check
from services.domain.subscriptions.matcher import Matcher
from services.errors import ConfigError, EmbedderError, NotFound, QueryError
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.store.accounts import accounts
from services.store.db.database import Database, Row, wake
from services.store.delivery import channels
from services.store.interests import embedder_health, sentence_vectors, thresholds, training_set
from services.store.papers import appearances, vectors
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import matches, subscriptions
from services.telemetry import log

CALIBRATED_AT_ONCE = 20
"""Subscriptions calibrated between two looks at the clock."""
DELIVERED_WINDOW = timedelta(days=28)
"""A calibration corrects for what the subscription matched within this time."""

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Paused until somebody says otherwise."""


def save(
    db: Database,
    embedder: Embedder,
    account_id: int,
    draft: Draft,
    channel_ids: Sequence[int],
    subscription_id: int | None = None,
) -> int:
    """Saves a new subscription, or changes one of the account's; its id. Raises QueryError, ConfigError, NotFound."""
    draft = check(draft)
    for kind in draft.sources:
        plugins.source(kind)
    compiled = compile_interest.compile(db, embedder, draft)
    with db.transaction() as tx:
        for channel_id in channel_ids:
            channels.find(tx, channel_id, account_id)
        return subscriptions.save(tx, account_id, draft, compiled, channel_ids, subscription_id)


def pause(db: Database, subscription_id: int, day: str = "", account_id: int | None = None) -> datetime | None:
    """Keeps back what a subscription matches until `day` begins where its account lives, or until further notice.

    A day that has begun ends a pause; then the answer is None, else the moment. Raises ConfigError, NotFound.
    """
    now = db.now()
    with db.transaction() as tx:
        row = subscriptions.find(tx, subscription_id, account_id)
        account = accounts.by_id(tx, row["account_id"])
        until = start_of(day, account.timezone) if day and account else FOREVER
        ends = until if until > now else None
        subscriptions.pause(tx, subscription_id, row["account_id"], ends)
    return ends


def resume(db: Database, subscription_id: int, account_id: int) -> None:
    with db.transaction() as tx:
        subscriptions.pause(tx, subscription_id, account_id, None)


def start_of(day: str, timezone: str) -> datetime:
    """The first moment of a day in a time zone. Raises ConfigError."""
    try:
        return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(timezone))
    except ValueError:
        raise ConfigError(f"a pause ends on a day such as 2026-01-31, not {day[:20]!r}") from None


def recompile(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Compiles one interest that waited for the embedder, or was compiled with the one before; False when none can be.

    It is run over the papers that it has missed.
    """
    now = db.now()
    with db.transaction() as tx:
        waiting = thresholds.waiting_for_embedder(tx, embedder.name)
        if waiting is None or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        row = subscriptions.find(tx, waiting)
        draft = draft_of(row, *subscriptions.examples_of(tx, waiting))
    compiled = compile_interest.compile(db, embedder, draft)
    with db.transaction() as tx:
        if compiled.failed is not None:
            embedder_health.record_failure(tx, embedder.name, compiled.failed, now, scale)
            return False
        embedder_health.record_success(tx, embedder.name)
        thresholds.set_threshold(tx, row["id"], row["shard"], row["revision"], compiled)
        _catch_up(tx, embedder, waiting, before=row["model"] if row["weights"] is not None else "")
    return True


def recalibrate(db: Database, embedder: Embedder, scale: float = 1.0) -> bool:
    """Calibrates some of the thresholds that are older than a day; False when there are none.

    An interest that was compiled when the archive was young is compiled anew as soon as there is something to learn on.
    """
    now = db.now()
    with db.transaction() as tx:
        due = thresholds.to_calibrate(tx, embedder.name, now, CALIBRATED_AT_ONCE)
        if not due or embedder_health.is_backing_off(tx, embedder.name, now):
            return False
        learnable = training_set.can_be_learned_on(tx, embedder.name)
    try:
        compile_interest.load_model_facts(embedder)
    except EmbedderError as error:
        with db.transaction() as tx:
            embedder_health.record_failure(tx, embedder.name, error, now, scale)
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
    compiled = compile_interest.compile(db, embedder, draft) if young else CompiledInterest()
    with db.transaction() as tx:
        if not young or compiled.error:
            compiled = _calibrated(tx, db, embedder, row, draft)
        thresholds.set_threshold(tx, row["id"], row["shard"], row["revision"], compiled)


def _postpone(db: Database, one: int, error: str = "") -> None:
    """Leaves the threshold as it is for a day, so that the others have their turn."""
    with db.transaction() as tx:
        thresholds.set_calibrated(tx, one)
        if error:
            subscriptions.note_error(tx, one, error)


def _calibrated(tx: Connection, db: Database, embedder: Embedder, row: Row, draft: Draft) -> CompiledInterest:
    interest = Interest(np.asarray(row["weights"], np.float32), row["terms"])
    now = db.now()
    since = max(now - DELIVERED_WINDOW, row["created_at"])
    delivered = Delivered(thresholds.matches_since(tx, row["id"], since), (now - since) / timedelta(days=1))
    calibration = compile_interest.calibrate(tx, embedder, interest, draft, delivered)
    return CompiledInterest(
        threshold=calibration.thresholds[0],
        relaxed_thresholds=calibration.thresholds[1:],
        estimated=calibration.estimated,
    )


def _catch_up(tx: Connection, embedder: Embedder, subscription_id: int, before: str) -> None:
    """Matches a subscription against what was announced since it was saved, but for what it has seen with the model
    that it had before: the new one's judgement of that is no news."""
    row = subscriptions.find(tx, subscription_id)
    asked = candidate_store.compiled(row)
    if asked is None or row["model"] != embedder.name:
        return
    matcher = Matcher()
    matcher.put(asked)
    missed = set(appearances.announced_since(tx, row["watched_since"]))
    missed -= vectors.load(tx, missed, before).keys() if before else set()
    candidates = {one.paper.id: one for one in candidate_store.candidates(tx, missed, embedder.name)}
    hits = matcher.match(list(candidates.values()))
    sentence_vectors.request(tx, {one.paper for one in hits if one.score is not None}, embedder.name)
    found = [
        {
            "account_id": row["account_id"],
            "subscription_id": subscription_id,
            "paper_id": match.paper,
            "score": match.score,
            "decided": {"why": candidate_store.why(asked, candidates[match.paper], match.score)},
            "revision": row["revision"],
        }
        for match in hits
    ]
    matches.store(tx, found)
    wake(tx, "notify")


def draft_of(row: Row, liked: tuple[int, ...], disliked: tuple[int, ...]) -> Draft:
    """A stored subscription as the draft it came from."""
    names = ("name", "for_whom", "query", "interest", "trending", "volume", "min_upvotes", "cadence")
    values = {name: row[name] for name in names}
    return Draft(**values, sources=tuple(row["sources"]), liked=liked, disliked=disliked)
