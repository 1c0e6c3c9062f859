"""Messages that are sent and may still change: which of them to look at again, and what they say now."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, exists, select, update

from services import plugins
from services.domain.digests import updates
from services.domain.digests.digest import Digest
from services.domain.digests.updates import FOLLOWED_FOR, GATHERED, Shown
from services.store.db.database import Row, first
from services.store.db.tables import channel, delivery, delivery_item
from services.store.delivery import channels, deliveries

_OPEN = ("pending", "claimed", "sending", "uncertain")


def schedule_checks_for(tx: Connection, paper_ids: Collection[int], now: datetime) -> None:
    """Has the messages that show these papers looked at in a while, with whatever changes until then."""
    shows = select(delivery_item.c.delivery_id).where(delivery_item.c.paper_id.in_(paper_ids))
    followed = and_(
        delivery.c.state == "sent", delivery.c.snapshot.is_not(None), delivery.c.sent_at > now - FOLLOWED_FOR
    )
    mine = and_(delivery.c.id.in_(shows), followed, delivery.c.check_for_changes_at.is_(None))
    # In one order, so that two who note changes never wait for each other.
    found = tx.scalars(select(delivery.c.id).where(mine).order_by(delivery.c.id).with_for_update()).all()
    if found:
        tx.execute(update(delivery).where(delivery.c.id.in_(found)).values(check_for_changes_at=now + GATHERED))


def reschedule_check(tx: Connection, delivery_id: int, check_for_changes_at: datetime | None) -> None:
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(check_for_changes_at=check_for_changes_at))


def snapshot_columns(row: Row, where: Row, digest: Digest) -> Row:
    """What the message of a delivery says that an update of it may change, as columns; noted in `row` too."""
    follows = plugins.follow_ups(where["kind"], where["target"])
    if "update" not in follows or digest.kind not in ("message", "digest", "update"):
        return {}
    row["snapshot"] = updates.shown({one.paper.id: one.paper for one in digest.papers})
    return {"snapshot": row["snapshot"]}


def note_sent(tx: Connection, row: Row, where: Row, now: datetime, scale: float, host: str) -> None:
    """In the transaction that records a message as sent: its thread is a delivery of its own, and it is followed."""
    if row["kind"] == "update":
        says_now(tx, row["about"], row["snapshot"])
    follows = plugins.follow_ups(where["kind"], where["target"])
    if row["kind"] not in ("message", "digest") or not follows:
        return
    if "thread" in follows:
        deliveries.create(tx, where, "thread", f"thread:{row['id']}", host, about=row["id"])
    if "update" in follows:  # Also for what changed while it was on its way.
        reschedule_check(tx, row["id"], now + updates.GATHERED * scale)


def says_now(tx: Connection, delivery_id: int, snapshot: Shown) -> None:
    """What a message says after its update."""
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(snapshot=snapshot))


def due(now: datetime) -> Any:
    """Messages to be looked at whose channel may be told and that no update is on its way to."""
    follow_up = delivery.alias()
    on_its_way = exists().where(
        follow_up.c.about == delivery.c.id, follow_up.c.kind == "update", follow_up.c.state.in_(_OPEN)
    )
    usable = exists().where(channel.c.id == delivery.c.channel_id, channels.usable())
    return and_(delivery.c.check_for_changes_at <= now, ~on_its_way, usable)


def claim(tx: Connection, now: datetime) -> tuple[Row, Row] | None:
    """Takes a message to be looked at, with its channel; it is looked at once."""
    row = first(
        tx,
        select(delivery)
        .where(due(now))
        .order_by(delivery.c.check_for_changes_at)
        .limit(1)
        .with_for_update(skip_locked=True),
    )
    if row is None:
        return None
    reschedule_check(tx, row["id"], None)
    return row, channels.find(tx, row["channel_id"])


def last_receipt(tx: Connection, channel_id: int) -> str:
    """What the channel's receiver answered last."""
    sent = and_(delivery.c.channel_id == channel_id, delivery.c.state == "sent", delivery.c.receipt != "")
    found = tx.scalars(select(delivery.c.receipt).where(sent).order_by(delivery.c.sent_at.desc()).limit(1)).first()
    return str(found or "")


def receipt_of(tx: Connection, delivery_id: int) -> str:
    return str(tx.scalars(select(delivery.c.receipt).where(delivery.c.id == delivery_id)).one())


def give_up(tx: Connection, now: datetime, after: timedelta) -> bool:
    """Drops what has waited too long for one disabled channel to be enabled; False when none has anything."""
    row = first(tx, select(channel).where(given_up(now, after)).limit(1).with_for_update(skip_locked=True))
    if row is None:
        return False
    because = f"the channel was disabled for {after.days} days: {row['disabled_because']}"
    channels.drop_waiting(tx, row["id"], because)
    return True


def given_up(now: datetime, after: timedelta) -> Any:
    """Channels disabled for so long that still have something waiting."""
    item = and_(
        delivery_item.c.channel_id == channel.c.id,
        delivery_item.c.dropped_because == "",
        delivery_item.c.delivery_id.is_(None),
    )
    waits = and_(delivery.c.channel_id == channel.c.id, delivery.c.state == "pending")
    too_long = and_(
        channel.c.disabled_because != "", channel.c.disabled_at <= now - after, channel.c.deleted_at.is_(None)
    )
    return and_(too_long, exists().where(item) | exists().where(waits))
