"""Notices to an owner about something that went wrong and stays wrong: by mail, once a matter."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, select

from services.domain.delivery.state_machine import DeliveryKind
from services.store.db.database import first
from services.store.db.tables import account, channel
from services.store.delivery import deliveries
from services.store.delivery.records import Channel, NewDelivery


def tell(tx: Connection, account_id: int | None, key: str, text: str, host: str, notes: Sequence[str] = ()) -> bool:
    """Tells the account (None: the first operator) by its first mail channel; False when it has none or knows already.

    `key` names the matter: the same one is told once. `notes` are lines that say more.
    """
    whose = channel.c.account_id == account_id if account_id is not None else account.c.operator
    usable = and_(channel.c.kind == "email", channel.c.verified, channel.c.deleted_at.is_(None), whose)
    usable = and_(usable, channel.c.disabled_because == "", channel.c.unsubscribed_at.is_(None))
    query = select(channel).join(account, account.c.id == channel.c.account_id).where(usable)
    where = first(tx, query.order_by(channel.c.account_id, channel.c.id).limit(1))
    if where is None:
        return False
    notice = NewDelivery(
        account_id=where["account_id"],
        channel_id=where["id"],
        kind=DeliveryKind.NOTICE,
        idem_key=f"notice:{key}",
        subject=text,
        notes=notes,
    )
    return deliveries.create(tx, notice, host) is not None


def tell_operator(tx: Connection, where: Channel, because: str, now: datetime, host: str) -> bool:
    """That a transport waits for a person, once for each time that it does."""
    text = f"Sending to {where.kind} waits, nothing is lost: {because}"
    return tell(tx, None, f"transport:{where.transport}:{now:%s}", text, host)
