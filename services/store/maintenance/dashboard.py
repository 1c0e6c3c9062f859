"""What the pages show of an account across its rows: read-only, always of one account."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select

from services.store.db.database import Row, rows
from services.store.db.tables import match, subscription, subscription_channel
from services.store.subscriptions.matches import LIVING


def matched(
    tx: Connection, account_id: int, *, before: int | None, subscription_id: int | None, limit: int
) -> Sequence[Row]:
    """Papers that the living subscriptions matched, the latest first: `paper_id`, `newest` (match), `found_at`.

    `before`: only papers whose newest match is older than that one; the cursor of a page.
    """
    newest = func.max(match.c.id)
    query = select(match.c.paper_id, newest.label("newest"), func.max(match.c.created_at).label("found_at"))
    query = query.where(match.c.subscription_id.in_(select(subscription.c.id).where(_living(account_id))), LIVING)
    query = query.where(match.c.subscription_id == subscription_id) if subscription_id is not None else query
    query = query.group_by(match.c.paper_id).order_by(newest.desc()).limit(limit)
    return rows(tx, query.having(newest < before) if before is not None else query)


def reasons(tx: Connection, account_id: int, paper_ids: Collection[int]) -> dict[int, list[Row]]:
    """Paper → why it was matched, one row a living subscription."""
    columns = (match.c.paper_id, match.c.subscription_id, match.c.score, match.c.decided, match.c.created_at)
    query = select(*columns, subscription.c.name, subscription.c.for_whom)
    query = query.join(subscription, subscription.c.id == match.c.subscription_id)
    found: dict[int, list[Row]] = {}
    for row in rows(tx, query.where(_living(account_id), match.c.paper_id.in_(paper_ids)).order_by(match.c.id)):
        found.setdefault(row["paper_id"], []).append(row)
    return found


def match_counts(tx: Connection, account_id: int, since: datetime) -> dict[int, int]:
    """Subscription → papers it matched since then."""
    query = select(match.c.subscription_id, func.count()).join(
        subscription, subscription.c.id == match.c.subscription_id
    )
    counted = query.where(_living(account_id), match.c.created_at >= since, LIVING).group_by(match.c.subscription_id)
    return {one: int(count) for one, count in tx.execute(counted)}


def uses(tx: Connection, account_id: int) -> dict[int, int]:
    """Channel → living subscriptions that it tells."""
    query = select(subscription_channel.c.channel_id, func.count()).join(
        subscription, subscription.c.id == subscription_channel.c.subscription_id
    )
    counted = query.where(_living(account_id)).group_by(subscription_channel.c.channel_id)
    return {one: int(count) for one, count in tx.execute(counted)}


def _living(account_id: int) -> ColumnElement[bool]:
    return and_(subscription.c.account_id == account_id, subscription.c.deleted_at.is_(None))
