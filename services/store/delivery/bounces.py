"""Returned mails, each recorded once, and failures to read the mailbox they arrive in."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.bounce import Bounce, is_hard
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
            hard=is_hard(returned.status),
            diagnostic=returned.reason,
        )
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(bounce.c.id)
    ).first()
    if bounce_id is None:
        return False
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(error=error))
    return True


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
