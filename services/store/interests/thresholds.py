"""Thresholds of interests: which ones are stale, how many papers a subscription matched, and the new values."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from services.domain.interests.calibration import MIN_CALIBRATION_DAYS, CompiledInterest
from services.store.db.revisions import next_revision
from services.store.db.tables import match, paper, subscription
from services.store.papers import papers

CALIBRATION_INTERVAL = timedelta(days=1)
"""A threshold is calibrated again when it is older than this."""
ESTIMATE_INTERVAL = timedelta(minutes=10)
"""The same for an estimated threshold, once the archive is old enough."""


def matches_since(tx: Connection, subscription_id: int, since: datetime) -> int:
    """How many papers a subscription matched since a moment."""
    return tx.scalars(
        select(func.count())
        .select_from(match)
        .where(match.c.subscription_id == subscription_id, match.c.created_at >= since)
    ).one()


def waiting_for_embedder(tx: Connection, model: str) -> int | None:
    """A subscription whose interest is not compiled with this model."""
    return tx.scalars(select(subscription.c.id).where(_is_uncompiled(model)).limit(1)).first()


def any_waiting_for_embedder(model: str) -> ColumnElement[bool]:
    """SQL: whether the interest of any subscription is not compiled with this model."""
    return exists(select(subscription.c.id).where(_is_uncompiled(model)))


def uncalibrated(now: datetime) -> ColumnElement[bool]:
    """SQL: whether the threshold of a subscription is older than `CALIBRATION_INTERVAL`.

    An estimated one is also stale as soon as the archive is old enough, which an import may make it at once.
    """
    first, last = (
        select(end(paper.c.announced_on)).where(*papers.CURRENT).scalar_subquery() for end in (func.min, func.max)
    )
    is_estimate = and_(
        subscription.c.estimated,
        subscription.c.calibrated_at < now - ESTIMATE_INTERVAL,
        last - first >= MIN_CALIBRATION_DAYS - 1,
    )
    is_old = subscription.c.calibrated_at < now - CALIBRATION_INTERVAL
    is_stale = or_(subscription.c.calibrated_at.is_(None), is_old, is_estimate)
    return and_(subscription.c.deleted_at.is_(None), subscription.c.weights.is_not(None), is_stale)


def to_calibrate(tx: Connection, model: str, now: datetime, limit: int) -> list[int]:
    """Subscriptions that are compiled with this model and whose threshold is stale, the oldest first."""
    return list(
        tx.scalars(
            select(subscription.c.id)
            .where(uncalibrated(now), subscription.c.model == model)
            .order_by(subscription.c.calibrated_at)
            .limit(limit)
        )
    )


def set_threshold(
    tx: Connection, subscription_id: int, shard_id: int, revision: int, compiled: CompiledInterest
) -> None:
    """Stores new thresholds, and new weights if there are any; not if the subscription was saved after `revision`."""
    values: dict[str, Any] = {
        "threshold": compiled.threshold,
        "relaxed_thresholds": compiled.relaxed_thresholds,
        "estimated": compiled.estimated,
        "calibrated_at": func.now(),
    }
    if compiled.weights is not None:
        values |= {"weights": compiled.weights, "terms": compiled.terms, "model": compiled.model, "error": ""}
        values |= {"examples_changed": False}
    new_revision = next_revision(tx, shard_id)
    tx.execute(
        update(subscription)
        .where(subscription.c.id == subscription_id, subscription.c.revision == revision)
        .values(revision=new_revision, **values)
    )


def compile_at_next_calibration(tx: Connection, subscription_id: int) -> None:
    """Makes the calibration due that compiles the interest again. Matching goes on as before until then."""
    values = {"calibrated_at": None, "examples_changed": True}
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(values))


def set_calibrated(tx: Connection, subscription_id: int) -> None:
    """Postpones the next calibration. The revision stays, since matching is not affected."""
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(calibrated_at=func.now()))


def _is_uncompiled(model: str) -> ColumnElement[bool]:
    other_model = or_(subscription.c.weights.is_(None), subscription.c.model != model)
    return and_(subscription.c.deleted_at.is_(None), subscription.c.volume != "", other_model)
