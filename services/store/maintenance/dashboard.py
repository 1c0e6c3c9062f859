"""Figures and lists that the pages show of one account. Read-only."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select

from services.store.db.records import fetch
from services.store.db.tables import match, subscription, subscription_channel
from services.store.subscriptions.matches import OF_CURRENT_PAPER
from services.store.subscriptions.records import MatchReason


def reasons(tx: Connection, account_id: int, paper_ids: Collection[int]) -> dict[int, list[MatchReason]]:
    """The reasons by paper, one for each undeleted subscription that matched."""
    why, held = match.c.decided["why"].astext, match.c.decided["held"].astext
    reason = func.concat_ws("; ", func.nullif(why, ""), held).label("reason")
    query = (
        select(match.c.paper_id, subscription.c.name, subscription.c.for_whom, reason)
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(_is_of(account_id), match.c.paper_id.in_(paper_ids))
        .order_by(match.c.id)
    )
    by_paper = defaultdict[int, list[MatchReason]](list)
    for row in fetch(tx, MatchReason, query):
        by_paper[row.paper_id].append(row)
    return dict(by_paper)


def match_counts(tx: Connection, account_id: int, since: datetime) -> dict[int, int]:
    """Subscription → the number of papers that it matched since a moment."""
    rows = tx.execute(
        select(match.c.subscription_id, func.count())
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(_is_of(account_id), match.c.created_at >= since, OF_CURRENT_PAPER)
        .group_by(match.c.subscription_id)
    )
    return {subscription_id: int(count) for subscription_id, count in rows}


def subscriptions_per_channel(tx: Connection, account_id: int) -> dict[int, int]:
    """Channel → the number of subscriptions that send to it."""
    rows = tx.execute(
        select(subscription_channel.c.channel_id, func.count())
        .join(subscription, subscription.c.id == subscription_channel.c.subscription_id)
        .where(_is_of(account_id))
        .group_by(subscription_channel.c.channel_id)
    )
    return {channel_id: int(count) for channel_id, count in rows}


def _is_of(account_id: int) -> ColumnElement[bool]:
    return and_(subscription.c.account_id == account_id, subscription.c.deleted_at.is_(None))
