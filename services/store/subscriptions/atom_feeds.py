"""A subscription's Atom feed. Anyone who knows its address can read it, until the address is changed."""

from sqlalchemy import Connection, and_, func, select, update

from services.errors import NotFound
from services.store.db import change_log
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.secrets import SecretBox
from services.store.db.tables import account, match, paper, subscription
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import FeedEntry, Subscription


def token(secrets: SecretBox, row: Subscription) -> str:
    """The secret part of the address. It is calculated from the row and not stored."""
    return f"{row.id}-{secrets.sign('feed', row.id, row.feed_key)}"


def find_by_token(tx: Connection, secrets: SecretBox, text: str) -> Subscription:
    """The undeleted subscription with this token. Raises NotFound, also for the token of an old address."""
    number, _, signature = text.partition("-")
    if number.isascii() and number.isdigit() and len(number) < 19:
        is_open = and_(account.c.disabled_at.is_(None), account.c.delete_at.is_(None))
        query = (
            select(*columns_for(subscription, Subscription))
            .join(account, account.c.id == subscription.c.account_id)
            .where(subscription.c.id == int(number), subscription.c.deleted_at.is_(None), is_open)
        )
        row = fetch_first(tx, Subscription, query)
        if row is not None and secrets.verify(signature, "feed", row.id, row.feed_key):
            return row
    raise NotFound("there is no feed at this address (any more)")


def change_address(tx: Connection, subscription_id: int, account_id: int | None = None) -> None:
    """Gives the feed a new address. The old one stops working at once. Raises NotFound."""
    row = subscriptions.find(tx, subscription_id, account_id)
    change_log.record(tx, row.account_id, "gave the feed a new address", row.name)
    tx.execute(
        update(subscription)
        .where(subscription.c.id == subscription_id)
        .values(feed_key=func.gen_random_uuid())
    )  # fmt: skip


def newest(tx: Connection, subscription_id: int, limit: int) -> list[FeedEntry]:
    """The latest matches, without papers that were withdrawn or merged into another."""
    reason = func.coalesce(match.c.decided["why"].astext, "").label("reason")
    query = (
        select(match.c.id, match.c.paper_id, reason, match.c.created_at)
        .join(paper, paper.c.id == match.c.paper_id)
        .where(match.c.subscription_id == subscription_id, paper.c.merged_into.is_(None), ~paper.c.withdrawn)
        .order_by(match.c.id.desc())
        .limit(limit)
    )
    return fetch_all(tx, FeedEntry, query)
