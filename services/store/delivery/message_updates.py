"""Sent messages that may still be updated: when to check each for changes, and what it shows now."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from services.domain.delivery.state_machine import DeliveryKind, State
from services.domain.digests.updates import UPDATE_DELAY, UPDATED_FOR, Snapshot
from services.store.db.records import columns_for, fetch_first
from services.store.db.tables import channel, delivery, delivery_item
from services.store.delivery import channels
from services.store.delivery.records import Channel, Delivery

_UNFINISHED = (State.PENDING, State.CLAIMED, State.SENDING, State.UNCERTAIN)


def schedule_checks_for(tx: Connection, paper_ids: Collection[int], now: datetime) -> None:
    """Schedules a check of the sent messages that contain these papers, where none is scheduled yet."""
    with_papers = select(delivery_item.c.delivery_id).where(delivery_item.c.paper_id.in_(paper_ids))
    query = (
        select(delivery.c.id)
        .where(
            delivery.c.id.in_(with_papers),
            delivery.c.state == State.SENT,
            delivery.c.snapshot.is_not(None),
            delivery.c.sent_at > now - UPDATED_FOR,
            delivery.c.check_for_changes_at.is_(None),
        )
        # All workers lock messages in the order of their ids, so that two workers cannot deadlock.
        .order_by(delivery.c.id)
        .with_for_update()
    )
    ids = tx.scalars(query).all()
    if ids:
        tx.execute(update(delivery).where(delivery.c.id.in_(ids)).values(check_for_changes_at=now + UPDATE_DELAY))


def reschedule_check(tx: Connection, delivery_id: int, check_for_changes_at: datetime | None) -> None:
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(check_for_changes_at=check_for_changes_at))


def store_snapshot(tx: Connection, delivery_id: int, snapshot: Snapshot | None) -> None:
    """Records what a message says after an update of it was sent."""
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(snapshot=snapshot))


def is_check_due(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a message is to be checked now: its channel can be sent to, and no update of it is unfinished."""
    message_update = delivery.alias()
    unfinished_update = exists().where(
        message_update.c.about == delivery.c.id,
        message_update.c.kind == DeliveryKind.UPDATE,
        message_update.c.state.in_(_UNFINISHED),
    )
    can_send = exists().where(channel.c.id == delivery.c.channel_id, channels.sendable())
    return and_(delivery.c.check_for_changes_at <= now, ~unfinished_update, can_send)


def claim_check(tx: Connection, now: datetime) -> Delivery | None:
    """Locks the message whose check has been due longest, and unschedules the check."""
    query = (
        select(*columns_for(delivery, Delivery))
        .where(is_check_due(now))
        .order_by(delivery.c.check_for_changes_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    message = fetch_first(tx, Delivery, query)
    if message is not None:
        reschedule_check(tx, message.id, None)
    return message


def last_receipt(tx: Connection, channel_id: int) -> str:
    """The receipt of the message that was sent last on a channel; empty when there is none."""
    query = (
        select(delivery.c.receipt)
        .where(delivery.c.channel_id == channel_id, delivery.c.state == State.SENT, delivery.c.receipt != "")
        .order_by(delivery.c.sent_at.desc())
        .limit(1)
    )
    return str(tx.scalars(query).first() or "")


def drop_given_up(tx: Connection, now: datetime, after: timedelta) -> bool:
    """Drops the items and deliveries of one channel that was disabled for longer than `after`; False without one."""
    query = (
        select(*columns_for(channel, Channel)).where(is_given_up(now, after)).limit(1).with_for_update(skip_locked=True)
    )
    given_up = fetch_first(tx, Channel, query)
    if given_up is None:
        return False
    reason = f"the channel was disabled for {after.days} days: {given_up.disabled_because}"
    channels.drop_unsent(tx, given_up.id, reason)
    return True


def is_given_up(now: datetime, after: timedelta) -> ColumnElement[bool]:
    """SQL: whether a channel was disabled for longer than `after` and something still waits for it."""
    waiting_item = exists().where(
        delivery_item.c.channel_id == channel.c.id,
        delivery_item.c.dropped_because == "",
        delivery_item.c.delivery_id.is_(None),
    )
    waiting_delivery = exists().where(delivery.c.channel_id == channel.c.id, delivery.c.state == State.PENDING)
    return and_(
        channel.c.disabled_because != "",
        channel.c.disabled_at <= now - after,
        channel.c.deleted_at.is_(None),
        or_(waiting_item, waiting_delivery),
    )
