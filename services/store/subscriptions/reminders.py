"""Subscriptions that have matched nothing for long, and the one note that says so."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, or_, select, update

from services.domain.subscriptions.no_match_report import MAX_SILENCE
from services.store.db.database import Row, first
from services.store.db.tables import match, subscription


def due(now: datetime) -> Any:
    """SQL: living, unpaused subscriptions without a match since long, that were not told since the last one."""
    mine = match.c.subscription_id == subscription.c.id
    runs = or_(subscription.c.paused_until.is_(None), subscription.c.paused_until <= now)
    watches = and_(subscription.c.deleted_at.is_(None), subscription.c.trending.is_(None), runs)
    dry = and_(
        subscription.c.watched_since <= now - MAX_SILENCE, ~exists().where(mine, match.c.created_at > now - MAX_SILENCE)
    )
    matched_since = exists().where(mine, match.c.created_at > subscription.c.reminded_at)
    return and_(watches, dry, or_(subscription.c.reminded_at.is_(None), matched_since))


def next_due(tx: Connection, now: datetime) -> Row | None:
    return first(tx, select(subscription).where(due(now)).order_by(subscription.c.id).limit(1))


def take(tx: Connection, subscription_id: int, now: datetime) -> bool:
    """Notes that it is told now; False when somebody else did, or something changed meanwhile."""
    mine = and_(subscription.c.id == subscription_id, due(now))
    return tx.execute(update(subscription).where(mine).values(reminded_at=now)).rowcount > 0
