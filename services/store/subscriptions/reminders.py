"""Subscriptions that have matched nothing for long, and when their owners were sent the no-match report."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from services.domain.subscriptions.no_match_report import MAX_SILENCE
from services.store.db.records import columns_for, fetch_first
from services.store.db.tables import match, subscription
from services.store.subscriptions.records import Subscription


def is_due(now: datetime) -> ColumnElement[bool]:
    """SQL: whether an undeleted, unpaused subscription has had no match for `MAX_SILENCE` and no report since the
    last match.
    """
    of_subscription = match.c.subscription_id == subscription.c.id
    quiet_since = now - MAX_SILENCE
    return and_(
        subscription.c.deleted_at.is_(None),
        subscription.c.trending.is_(None),
        or_(subscription.c.paused_until.is_(None), subscription.c.paused_until <= now),
        subscription.c.watched_since <= quiet_since,
        ~exists().where(of_subscription, match.c.created_at > quiet_since),
        or_(
            subscription.c.reminded_at.is_(None),
            exists().where(of_subscription, match.c.created_at > subscription.c.reminded_at),
        ),
    )


def next_due(tx: Connection, now: datetime) -> Subscription | None:
    query = select(*columns_for(subscription, Subscription)).where(is_due(now)).order_by(subscription.c.id).limit(1)
    return fetch_first(tx, Subscription, query)


def mark_reminded(tx: Connection, subscription_id: int, now: datetime) -> bool:
    """False if the report is not due any more: another worker has sent it, or the subscription has changed."""
    still_due = and_(subscription.c.id == subscription_id, is_due(now))
    return tx.execute(update(subscription).where(still_due).values(reminded_at=now)).rowcount > 0
