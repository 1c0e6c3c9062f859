"""Channels that were removed or unsubscribed, and what becomes of their unsent deliveries and items."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, func, or_, select, update

from services.store.db import change_log
from services.store.db.database import any_id
from services.store.db.tables import channel, delivery, delivery_item
from services.store.delivery.channels import by_id

REMOVED = "channel removed"
"""The reason of an item or delivery whose channel was removed."""
UNSUBSCRIBED = "unsubscribed"
"""The reason of an item or delivery whose channel was unsubscribed."""


def remove(tx: Connection, channel_id: int) -> None:
    """Deletes a channel: waiting items are dropped and deliveries cancelled; sent ones stay on record."""
    lock_with_deliveries(tx, channel_id)
    if removed := by_id(tx, channel_id):
        change_log.record(tx, removed.account_id, "removed the channel", removed.label)
    tx.execute(update(channel).where(channel.c.id == channel_id).values(deleted_at=func.now(), secret=None))
    drop_unsent(tx, channel_id, REMOVED)


def lock_with_deliveries(tx: Connection, channel_id: int) -> None:
    """Locks the open deliveries of a channel, then the channel.

    Recording an outcome locks in the same order, so the two cannot deadlock.
    """
    tx.execute(
        select(delivery.c.id)
        .where(
            delivery.c.channel_id == channel_id,
            delivery.c.state.in_(("pending", "claimed", "sending", "uncertain")),
        )
        .order_by(delivery.c.id)
        .with_for_update()
    )
    tx.execute(select(channel.c.id).where(channel.c.id == channel_id).with_for_update())


def drop_unsent(tx: Connection, channel_id: int, reason: str) -> None:
    """Cancels the deliveries that are not being sent and drops the items that were not sent.

    An uncertain delivery keeps its state and is not sent again.
    """
    on_channel = delivery.c.channel_id == channel_id
    tx.execute(
        update(delivery)
        .where(on_channel, delivery.c.state.in_(["pending", "claimed"]))
        .values(state="cancelled", error=reason, next_attempt_at=None, lease_token=None, lease_until=None)
    )
    tx.execute(update(delivery).where(on_channel, delivery.c.state == "uncertain").values(next_attempt_at=None))
    cancelled = select(delivery.c.id).where(on_channel, delivery.c.state == "cancelled")
    tx.execute(
        update(delivery_item)
        .where(
            delivery_item.c.channel_id == channel_id,
            or_(delivery_item.c.delivery_id.is_(None), delivery_item.c.delivery_id.in_(cancelled)),
            delivery_item.c.dropped_because == "",
        )
        .values(dropped_because=reason, delivery_id=None)
    )


def filter_ended(tx: Connection, ids: Collection[int]) -> Sequence[int]:
    """The ids of the given channels that were removed or unsubscribed."""
    if not ids:
        return []
    return tx.scalars(
        select(channel.c.id)
        .where(
            channel.c.id == any_id(ids),
            or_(channel.c.deleted_at.is_not(None), channel.c.unsubscribed_at.is_not(None)),
        )
        .order_by(channel.c.id)
    ).all()


def drop_if_ended(tx: Connection, channel_id: int) -> None:
    """Cancels retries after a send during which the channel was removed or unsubscribed."""
    ended = by_id(tx, channel_id)
    if ended is not None and (ended.deleted_at or ended.unsubscribed_at):
        drop_unsent(tx, channel_id, REMOVED if ended.deleted_at else UNSUBSCRIBED)
