"""Opt-in: requests for it, its confirmation, unsubscribing, and addresses that get no mail in any account."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db import change_log
from services.store.db.database import wake
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import channel, confirmation, suppression
from services.store.delivery import ended_channels
from services.store.delivery.records import Channel, OptInRequest

REFUSED = "its owner does not want to be asked"
"""Why an address is suppressed that was unsubscribed before it was confirmed."""

# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────


def requests_since(
    tx: Connection, address: str, ip: str, account_id: int | None, since: datetime
) -> Sequence[OptInRequest]:
    """The requests to an address (lower case), from an IP address or of an account."""
    return fetch_all(
        tx,
        OptInRequest,
        select(*columns_for(confirmation, OptInRequest)).where(
            or_(
                confirmation.c.address == address,
                confirmation.c.ip == ip,
                confirmation.c.account_id == account_id,
            ),
            confirmation.c.created_at > since,
        ),
    )


def count_requests(tx: Connection, since: datetime) -> int:
    """How many requests there were since a moment, to any address."""
    return tx.scalars(select(func.count()).where(confirmation.c.created_at > since)).one()


def record_request(tx: Connection, address: str, ip: str, account_id: int | None, now: datetime) -> None:
    tx.execute(insert(confirmation).values(address=address, ip=ip, account_id=account_id, created_at=now))


def confirm(tx: Connection, channel_id: int) -> None:
    """What has waited for the channel is sent."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(verified=True, unsubscribed_at=None))
    wake(tx, "deliver")


def require_confirmation(tx: Connection, channel_id: int) -> None:
    """From now on only the opt-in request is sent to the channel, and no link of an earlier request counts."""
    anew = {"verified": False, "unsubscribed_at": None, "requests_since": func.now()}
    tx.execute(update(channel).where(channel.c.id == channel_id).values(anew))


# ── unsubscribing ─────────────────────────────────────────────────────────────────────────────────────────────


def unsubscribe(tx: Connection, where: Channel) -> None:
    """Drops the items that wait for the channel; claimed deliveries are not sent.

    An address that was never confirmed also gets no opt-in request any more, from any account.
    """
    ended_channels.lock_with_deliveries(tx, where.id)
    change_log.record(tx, where.account_id, "unsubscribed the channel", where.label)
    tx.execute(
        update(channel)
        .where(channel.c.id == where.id, channel.c.unsubscribed_at.is_(None))
        .values(unsubscribed_at=func.now())
    )
    ended_channels.drop_unsent(tx, where.id, ended_channels.UNSUBSCRIBED)
    if not where.verified:
        suppress(tx, where.label, REFUSED, refused=True)


def subscribe_again(tx: Connection, channel_id: int) -> None:
    """New matches are sent again; what was dropped stays dropped."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(unsubscribed_at=None))


# ── suppressed addresses ──────────────────────────────────────────────────────────────────────────────────────


def suppress(tx: Connection, address: str, reason: str, *, refused: bool = False) -> None:
    """Stops mail to an address in all accounts. `refused`: its owner asked for it, and only an operator may undo it."""
    tx.execute(
        upsert(suppression)
        .values(address=address.lower(), because=reason, refused=refused)
        .on_conflict_do_update(
            index_elements=["address"],
            set_={"because": reason, "refused": or_(suppression.c.refused, literal(refused))},
        )
    )


def suppression_reason(tx: Connection, address: str) -> str:
    """Why an address gets no mail; empty when it may get mail."""
    because = select(suppression.c.because).where(suppression.c.address == address.lower())
    return tx.scalars(because).first() or ""


def has_refused(tx: Connection, address: str) -> bool:
    """Whether the owner of an address wants no mail from here at all."""
    refused = select(suppression.c.address).where(suppression.c.address == address.lower(), suppression.c.refused)
    return tx.scalars(refused).first() is not None


def lift_suppression(tx: Connection, address: str, *, refused: bool = False) -> None:
    """Allows mail to an address again. An address whose owner refused stays suppressed unless `refused` is given."""
    tx.execute(
        delete(suppression).where(
            suppression.c.address == address.lower(), or_(~suppression.c.refused, literal(refused))
        )
    )
