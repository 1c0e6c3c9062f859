"""Notices by mail about a problem that a person has to solve: one for each problem."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, true

from services.domain.delivery.state_machine import DeliveryKind
from services.store.db.records import fetch_first
from services.store.db.tables import account, channel
from services.store.delivery import deliveries
from services.store.delivery.records import Channel, NewDelivery


def send(
    tx: Connection,
    account_id: int | None,
    key: str,
    text: str,
    host: str,
    notes: Sequence[str] = (),
    failed_channel: int | None = None,
) -> bool:
    """Sends a notice to the first usable e-mail channel of an account; None: of an operator.

    `key` names the problem: a second notice with the same key is not sent. `notes` are further lines. A notice about
    `failed_channel` goes to another channel, to Slack where the account has no other address. Returns False when there
    is no such channel, or when the notice was sent before.
    """
    where = _channel(tx, account_id, failed_channel)
    if where is None:
        return False
    notice = NewDelivery(
        account_id=where.account_id,
        channel_id=where.id,
        kind=DeliveryKind.NOTICE,
        idem_key=f"notice:{key}",
        subject=text,
        notes=notes,
    )
    return deliveries.create(tx, notice, host) is not None


def can_reach_operator(tx: Connection) -> bool:
    return _channel(tx, None, None) is not None


def _channel(tx: Connection, account_id: int | None, failed_channel: int | None) -> Channel | None:
    kinds = ["email"] if failed_channel is None else ["email", "slack"]
    return fetch_first(
        tx,
        Channel,
        select(channel)
        .join(account, account.c.id == channel.c.account_id)
        .where(
            channel.c.kind.in_(kinds),
            channel.c.id != failed_channel if failed_channel is not None else true(),
            channel.c.verified,
            channel.c.deleted_at.is_(None),
            channel.c.account_id == account_id if account_id is not None else account.c.operator,
            channel.c.disabled_because == "",
            channel.c.unsubscribed_at.is_(None),
        )
        .order_by(channel.c.kind, channel.c.account_id, channel.c.id)
        .limit(1),
    )
