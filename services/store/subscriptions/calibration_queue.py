"""Which interests are to be compiled or calibrated, and the storing of their new thresholds."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from services.store.db.tables import subscription
from services.store.interests.thresholds import Compiled
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import Subscription

CALIBRATION_INTERVAL = timedelta(days=1)


def any_to_compile(model: str) -> ColumnElement[bool]:
    """SQL: whether the interest of any undeleted subscription is not compiled with this model."""
    return exists(select(subscription.c.id).where(_is_to_compile(model)))


def next_to_compile(tx: Connection, model: str) -> int | None:
    """The id of an undeleted subscription whose interest is not compiled with this model."""
    return tx.scalars(select(subscription.c.id).where(_is_to_compile(model)).limit(1)).first()


def _is_to_compile(model: str) -> ColumnElement[bool]:
    stale = or_(subscription.c.weights.is_(None), subscription.c.model != model)
    return and_(subscription.c.deleted_at.is_(None), subscription.c.volume != "", stale)


def is_calibration_due(now: datetime) -> ColumnElement[bool]:
    """SQL: whether the subscription is undeleted and its threshold is older than `CALIBRATION_INTERVAL`."""
    old = or_(subscription.c.calibrated_at.is_(None), subscription.c.calibrated_at < now - CALIBRATION_INTERVAL)
    return and_(subscription.c.deleted_at.is_(None), subscription.c.weights.is_not(None), old)


def next_to_calibrate(tx: Connection, model: str, now: datetime, limit: int) -> list[int]:
    """Ids of the subscriptions compiled with this model whose calibration is due, the longest overdue first."""
    query = (
        select(subscription.c.id)
        .where(is_calibration_due(now), subscription.c.model == model)
        .order_by(subscription.c.calibrated_at)
        .limit(limit)
    )
    return list(tx.scalars(query))


def set_threshold(tx: Connection, row: Subscription, compiled: Compiled) -> None:
    """Stores a new threshold, and the compiled interest if there is one.

    Does nothing if the subscription was saved since `row` was read.
    """
    values: dict[str, Any] = {
        "threshold": compiled.threshold,
        "relaxed_thresholds": compiled.relaxed_thresholds,
        "estimated": compiled.estimated,
        "calibrated_at": func.now(),
    }
    if compiled.weights is not None:
        values |= {"weights": compiled.weights, "terms": compiled.terms, "model": compiled.model, "error": ""}
    revision = subscriptions.next_revision(tx, row.shard)
    unchanged = and_(subscription.c.id == row.id, subscription.c.revision == row.revision)
    tx.execute(update(subscription).where(unchanged).values(revision=revision, **values))


def postpone(tx: Connection, subscription_id: int) -> None:
    """Keeps the threshold for another `CALIBRATION_INTERVAL`. The revision stays, since matching does not change."""
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(calibrated_at=func.now()))
