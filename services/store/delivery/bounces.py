"""Returned mails, each recorded once, and failures to read the mailbox they arrive in."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, exists, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.bounce import Bounce
from services.domain.delivery.state_machine import State
from services.store.db import circuit_breaker
from services.store.db.records import fetch_first
from services.store.db.tables import bounce, channel, delivery
from services.store.delivery.records import ReturnedDelivery, SoftBounces

MAILBOX = "bounces"
"""The key of the row of `transport` that says why the mailbox cannot be read. No channel has this transport."""


def find_delivery(tx: Connection, message_ids: Collection[str]) -> ReturnedDelivery | None:
    """The sent delivery with one of these Message-IDs. They are random, so only a receiver of the mail knows one."""
    return fetch_first(
        tx,
        ReturnedDelivery,
        select(delivery.c.id, delivery.c.channel_id)
        .where(delivery.c.message_id.in_(message_ids), delivery.c.sent_at.is_not(None)),
    )  # fmt: skip


def record(
    tx: Connection, digest: bytes, returned: Bounce, channel_id: int, delivery_id: int | None, error: str
) -> bool:
    """Records a returned mail by the digest of its bytes; False when it was recorded before."""
    bounce_id = tx.scalars(
        upsert(bounce)
        .values(
            digest=digest,
            channel_id=channel_id,
            delivery_id=delivery_id,
            status=returned.status,
            hard=returned.is_hard,
            diagnostic=returned.reason,
        )
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(bounce.c.id)
    ).first()
    if bounce_id is None:
        return False
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(error=error))
    return True


def refused_in_a_row(tx: Connection, channel_id: int, last_id: int | None, most: int) -> int:
    """How many messages of a channel in a row were refused for good or came back, `most` at most.

    Counts back from the delivery `last_id`, or from the latest message. Messages from before the channel was enabled
    or got its address do not count. A returned mail whose delivery is unknown counts for a sent one. A mail that came
    back and then was sent again counts by what became of it the last time.
    """
    came_back = exists().where(
        bounce.c.delivery_id == delivery.c.id,
        bounce.c.status.startswith("5."),
        bounce.c.created_at >= delivery.c.sent_at,
    )
    latest = tx.execute(
        select(delivery.c.created_at, or_(delivery.c.state == State.DEAD, came_back).label("refused"))
        .join(channel, channel.c.id == delivery.c.channel_id)
        .where(
            delivery.c.channel_id == channel_id,
            delivery.c.state.in_([State.SENT, State.DEAD]),
            delivery.c.id <= last_id if last_id is not None else true(),
            or_(channel.c.refusals_since.is_(None), delivery.c.created_at > channel.c.refusals_since),
        )
        .order_by(delivery.c.id.desc())
        .limit(most)
    ).all()
    if not latest:
        return 0
    unknown = tx.scalars(
        select(func.count()).where(
            bounce.c.channel_id == channel_id,
            bounce.c.delivery_id.is_(None),
            bounce.c.status.startswith("5."),
            bounce.c.created_at >= latest[-1].created_at,
        )
    ).one()
    in_a_row = 0
    for row in latest:
        if not row.refused:
            if not unknown:
                break
            unknown -= 1
        in_a_row += 1
    return in_a_row


def soft_bounces(tx: Connection, account_id: int, since: datetime) -> dict[int, SoftBounces]:
    """By channel: how many mails came back for a reason that may pass, and the last reason."""
    by_channel: dict[int, SoftBounces] = {}
    for channel_id, diagnostic in tx.execute(
        select(bounce.c.channel_id, bounce.c.diagnostic)
        .join(channel, channel.c.id == bounce.c.channel_id)
        .where(channel.c.account_id == account_id, ~bounce.c.hard, bounce.c.created_at >= since)
        .order_by(bounce.c.id)
    ):
        earlier = by_channel.get(channel_id)
        by_channel[channel_id] = SoftBounces(count=earlier.count + 1 if earlier else 1, last_reason=diagnostic)
    return by_channel


def record_mailbox_failure(tx: Connection, reason: str) -> int:
    """Records that the mailbox could not be read; returns how often in a row."""
    return circuit_breaker.count_failure(tx, MAILBOX, reason)


def clear_mailbox_failure(tx: Connection) -> None:
    circuit_breaker.close(tx, MAILBOX)


def mailbox_failure(tx: Connection) -> str:
    """Why the mailbox cannot be read; empty when it can be."""
    return circuit_breaker.reason(tx, MAILBOX)
