"""Delivery items: papers that are to be sent on channels, before and after they are gathered into deliveries."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    any_,
    bindparam,
    exists,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from services.store.db.records import columns_for, fetch, fetch_all
from services.store.db.tables import account, channel, delivery, delivery_item
from services.store.delivery import digest_schedule, sending_pause
from services.store.delivery.records import DeliveryItem, DigestChannel, ItemOutcome

IS_WAITING = and_(delivery_item.c.delivery_id.is_(None), delivery_item.c.dropped_because == "")
"""SQL: whether an item is in no delivery and was not dropped."""
ITEMS_PER_CHANNEL = 16
"""The number of items, those due longest, that are read for each channel that is gathered."""
# While sending is paused nothing is gathered, so that one message follows the pause instead of one for each day.
_IS_GATHERED = and_(
    channel.c.verified, channel.c.disabled_because == "", channel.c.deleted_at.is_(None), ~sending_pause.is_active()
)


def is_due(now: datetime) -> ColumnElement[bool]:
    """SQL: whether an item can be gathered now."""
    on_channel = exists().where(channel.c.id == delivery_item.c.channel_id, _IS_GATHERED)
    return and_(IS_WAITING, delivery_item.c.not_before <= now, on_channel)


def lock_due_channels(tx: Connection, now: datetime, most: int) -> dict[int, DigestChannel]:
    """Locks channels whose items are due or, when there are none, whose digest is due. Returns them by id."""
    for query in _DUE_CHANNELS:
        parameters = {"now": now, "most": most, "candidates": most * ITEMS_PER_CHANNEL}
        locked = fetch_all(tx, DigestChannel, query, parameters)
        if locked:
            return {row.id: row for row in sorted(locked, key=lambda row: row.id)}
    return {}


def _due_channels() -> Iterator[Select[Any]]:
    """Queries that are tried in turn. Each reads an index of due rows, so that other rows cost nothing."""
    now: Any = bindparam("now", type_=TIMESTAMP(timezone=True))
    channels = (
        select(*columns_for(channel, DigestChannel), account.c.timezone, account.c.quiet_from, account.c.quiet_to)
        .join(account, account.c.id == channel.c.account_id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=channel)
    )
    due_longest = (
        select(delivery_item.c.channel_id)
        .join(channel, channel.c.id == delivery_item.c.channel_id)
        .where(IS_WAITING, delivery_item.c.not_before <= now, _IS_GATHERED)
        .order_by(delivery_item.c.not_before)
        .limit(bindparam("candidates"))
        .subquery()
    )
    has_digests = digest_schedule.has_digest_schedule()
    yield channels.where(_IS_GATHERED, channel.c.id.in_(select(due_longest.c.channel_id)))
    yield channels.where(has_digests, channel.c.next_digest_at <= now).order_by(channel.c.next_digest_at)
    yield channels.where(has_digests, channel.c.next_digest_at.is_(None))


_DUE_CHANNELS = tuple(_due_channels())


def due_on(tx: Connection, channel_ids: Collection[int], now: datetime) -> list[DeliveryItem]:
    """The items of channels that are due, in the order in which they were stored."""
    query = (
        select(*columns_for(delivery_item, DeliveryItem))
        .where(_any_of(delivery_item.c.channel_id, channel_ids), IS_WAITING, delivery_item.c.not_before <= now)
        .order_by(delivery_item.c.id)
    )
    return fetch_all(tx, DeliveryItem, query)


def postpone(tx: Connection, item_ids: Collection[int], until: datetime) -> None:
    if item_ids:
        tx.execute(update(delivery_item).where(delivery_item.c.id.in_(item_ids)).values(not_before=until))


def drop(tx: Connection, reasons: Mapping[int, str]) -> None:
    """Takes items out of their deliveries: item id → reason, which people read."""
    by_reason = defaultdict[str, list[int]](list)
    for item_id, reason in reasons.items():
        by_reason[reason].append(item_id)
    for reason, ids in by_reason.items():
        dropped = update(delivery_item).where(delivery_item.c.id.in_(ids))
        tx.execute(dropped.values(dropped_because=reason, delivery_id=None))


def of_deliveries(tx: Connection, delivery_ids: Collection[int]) -> dict[int, list[DeliveryItem]]:
    """The items of each delivery that were not dropped."""
    query = (
        select(*columns_for(delivery_item, DeliveryItem))
        .where(_any_of(delivery_item.c.delivery_id, delivery_ids), delivery_item.c.dropped_because == "")
        .order_by(delivery_item.c.id)
    )
    by_delivery: dict[int, list[DeliveryItem]] = {delivery_id: [] for delivery_id in delivery_ids}
    for item in fetch(tx, DeliveryItem, query):
        assert item.delivery_id is not None
        by_delivery[item.delivery_id].append(item)
    return by_delivery


def paper_ids(tx: Connection, delivery_id: int) -> list[int]:
    return [item.paper_id for item in of_deliveries(tx, [delivery_id])[delivery_id]]


def outcomes(tx: Connection, channel_ids: Collection[int], paper_id: int) -> Sequence[ItemOutcome]:
    """The outcome of a paper on each channel."""
    query = (
        select(*columns_for(delivery_item, ItemOutcome), *columns_for(delivery, ItemOutcome), channel.c.label)
        .join(channel, channel.c.id == delivery_item.c.channel_id)
        .outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
        .where(delivery_item.c.channel_id.in_(channel_ids), delivery_item.c.paper_id == paper_id)
    )
    return fetch_all(tx, ItemOutcome, query)


def _any_of(column: ColumnElement[Any], ids: Collection[int]) -> ColumnElement[bool]:
    """SQL: `column = ANY(ids)`, one parameter however many ids."""
    return column == any_(literal(list(ids), ARRAY(BigInteger)))
