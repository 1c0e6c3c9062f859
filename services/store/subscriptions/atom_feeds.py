"""A subscription's feed: who knows its address may read it, until it is given another one."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, select, update

from services.errors import NotFound
from services.store.db.database import Row, first, rows
from services.store.db.secrets import SecretBox
from services.store.db.tables import match, paper, subscription
from services.store.subscriptions import subscriptions


def token(secrets: SecretBox, row: Row) -> str:
    """The secret part of the address; nothing of it is stored."""
    return f"{row['id']}-{secrets.sign('feed', row['id'], row['feed_address_version'])}"


def by_token(tx: Connection, secrets: SecretBox, text: str) -> Row:
    """The living subscription of an address. Raises NotFound, also for an address that was changed."""
    number, _, signature = text.partition("-")
    if number.isascii() and number.isdigit() and len(number) < 19:
        wanted = and_(subscription.c.id == int(number), subscription.c.deleted_at.is_(None))
        row = first(tx, select(subscription).where(wanted))
        if row is not None and secrets.verify(signature, "feed", row["id"], row["feed_address_version"]):
            return row
    raise NotFound("there is no feed at this address (any more)")


def change_address(tx: Connection, subscription_id: int, account_id: int | None = None) -> None:
    """From now on the feed has another address, and none at the old one. Raises NotFound."""
    subscriptions.find(tx, subscription_id, account_id)
    turned = subscription.c.feed_address_version + 1
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(feed_address_version=turned))


def newest(tx: Connection, subscription_id: int, limit: int) -> Sequence[Row]:
    """The latest matches, without papers that were withdrawn."""
    columns = (match.c.id, match.c.paper_id, match.c.decided, match.c.created_at)
    query = select(*columns).join(paper, paper.c.id == match.c.paper_id)
    living = and_(paper.c.merged_into.is_(None), ~paper.c.withdrawn)
    query = query.where(match.c.subscription_id == subscription_id, living)
    return rows(tx, query.order_by(match.c.id.desc()).limit(limit))
