"""How many papers several subscriptions have in common."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from services.store.db.database import any_id
from services.store.db.tables import match


def matched_among(tx: Connection, subscription_ids: Collection[int], paper_ids: Collection[int]) -> dict[int, int]:
    """Subscription → how many of the papers it has matched."""
    query = (
        select(match.c.subscription_id, func.count())
        .where(match.c.subscription_id == any_id(subscription_ids), match.c.paper_id == any_id(paper_ids))
        .group_by(match.c.subscription_id)
    )
    return {row[0]: int(row[1]) for row in tx.execute(query)}
